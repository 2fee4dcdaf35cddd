package relaybench

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/tandem-cd/tandem/shared/rpc"
)

// Buffers of a client's connection, in bytes: two thousand of them share a machine with what they measure.
const clientBuffer = 4 << 10

// link is the one connection of a fake synchronizer, with the real one's rule: one that could not be made is replaced by
// whichever stream tries next.
type link struct {
	address string
	tls     *tls.Config

	mu   sync.Mutex
	conn *grpc.ClientConn
	raw  net.Conn
}

// get returns the present connection.
func (l *link) get() (*grpc.ClientConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.conn.GetState() == connectivity.TransientFailure {
		_ = l.conn.Close()
		l.conn = nil
	}
	if l.conn != nil {
		return l.conn, nil
	}
	conn, err := rpc.Dial("passthrough:///"+l.address, l.tls,
		grpc.WithReadBufferSize(clientBuffer), grpc.WithWriteBufferSize(clientBuffer),
		grpc.WithContextDialer(l.dial))
	if err != nil {
		return nil, err
	}
	l.conn = conn
	return conn, nil
}

func (l *link) dial(ctx context.Context, address string) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.raw = raw
	l.mu.Unlock()
	return raw, nil
}

// drop has the next get dial anew.
func (l *link) drop(old *grpc.ClientConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == old && old != nil {
		l.conn = nil
		_ = old.Close()
	}
}

// cut breaks the connection without a word, as a router that restarts does.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if raw, ok := l.raw.(*net.TCPConn); ok {
		_ = raw.SetLinger(0) // a reset, not a farewell
		_ = raw.Close()
	}
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// pause lets time pass, or the context end.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
