package rpc

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/peer"
)

// endGrace is how long a call that was ended may take to tell its client so, before the connection is closed under it: a
// client that reads nothing must not keep a stream alive.
const endGrace = time.Second

// Calls knows who has which calls open, on any number of servers, and can end them.
type Calls struct {
	mu    sync.Mutex
	open  map[*call]struct{}
	conns map[string]net.Conn // by the peer's address
}

type call struct {
	id   Identity
	end  context.CancelCauseFunc
	conn net.Conn // nil when it is shared with others
}

// NewCalls returns an empty list of calls.
func NewCalls() *Calls {
	return &Calls{open: map[*call]struct{}{}, conns: map[string]net.Conn{}}
}

// End ends every open call of those that match: their context is done with cause. A connection that the caller opened
// with its own certificate is closed a moment later. It returns how many calls there were.
func (c *Calls) End(match func(Identity) bool, cause error) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := 0
	for one := range c.open {
		if !match(one.id) {
			continue
		}
		ended++
		one.end(cause)
		if one.conn != nil {
			time.AfterFunc(endGrace, func() { _ = one.conn.Close() }) // fails only when it is closed
		}
	}
	return ended
}

// begin enters a call. What it returns is the call's context, and what to call at its end.
func (c *Calls) begin(ctx context.Context, id Identity) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	now := &call{id: id, end: cancel}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		if _, own := PeerCertificate(ctx); own {
			now.conn = c.conns[p.Addr.String()]
		}
	}
	c.open[now] = struct{}{}
	return ctx, func() {
		cancel(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, now)
	}
}

// track returns a listener whose connections are known here while they are open.
func (c *Calls) track(listener net.Listener) net.Listener {
	return &trackedListener{Listener: listener, calls: c}
}

type trackedListener struct {
	net.Listener
	calls *Calls
}

// Accept waits for the next connection.
func (l *trackedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	address := conn.RemoteAddr().String()
	l.calls.mu.Lock()
	defer l.calls.mu.Unlock()
	l.calls.conns[address] = conn
	return &trackedConn{Conn: conn, forget: sync.OnceFunc(func() { l.calls.forget(address, conn) })}, nil
}

func (c *Calls) forget(address string, conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns[address] == conn {
		delete(c.conns, address)
	}
}

type trackedConn struct {
	net.Conn
	forget func()
}

// Close closes the connection.
func (c *trackedConn) Close() error {
	c.forget()
	return c.Conn.Close()
}
