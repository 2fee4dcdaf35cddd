package lease

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
)

// ErrLost is why a replica has to stop: it could not say in time that it lives, or another has taken over.
var ErrLost = fault.New(fault.Stale, "this replica does not hold the lease")

// dialTimeout bounds the making of a connection.
const dialTimeout = 30 * time.Second

// Fence lies around the connections of a replica that may write for a time. Its zero value is closed.
type Fence struct {
	mu    sync.Mutex
	until time.Time
	conns map[*fenced]struct{}
}

// Open reports whether the time is not up. A clock that was set forward, or that stood still while the machine slept, may
// close it too early and never too late.
func (f *Fence) Open() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open()
}

func (f *Fence) open() bool {
	now := time.Now()
	return now.Before(f.until) && now.Round(0).Before(f.until.Round(0))
}

// Dial connects, as long as the time is not up.
func (f *Fence) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open() {
		_ = conn.Close() // nothing was written
		return nil, ErrLost
	}
	c := &fenced{Conn: conn, fence: f}
	if f.conns == nil {
		f.conns = map[*fenced]struct{}{}
	}
	f.conns[c] = struct{}{}
	return c, nil
}

// extend opens the fence until a time, or for longer.
func (f *Fence) extend(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = until
}

// shut closes the fence and resets its connections: what was written and has not arrived does not arrive any more.
func (f *Fence) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = time.Time{}
	for c := range f.conns {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // fails on a connection that is closed
		}
		_ = c.Conn.Close()
	}
	clear(f.conns)
}

// fenced is a connection that takes nothing when the time is up.
type fenced struct {
	net.Conn

	fence *Fence
}

// Write sends bytes as long as the time is not up.
func (c *fenced) Write(b []byte) (int, error) {
	if !c.fence.Open() {
		return 0, ErrLost
	}
	return c.Conn.Write(b)
}

// Close ends the connection.
func (c *fenced) Close() error {
	c.fence.mu.Lock()
	delete(c.fence.conns, c)
	c.fence.mu.Unlock()
	return c.Conn.Close()
}
