package node

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds how long a relayed connection may take to be made.
const dialTimeout = 10 * time.Second

// dialer makes the other end of a connection, or nil and no error when it has
// refused the first.
type dialer func(ctx context.Context, from net.Conn) (net.Conn, error)

// relays join connections that are accepted on one side with connections to the
// other, until they are stopped.
type relays struct {
	ctx       context.Context //nolint:containedctx // what ends every relay
	cancel    context.CancelFunc
	listeners []io.Closer
	tasks     sync.WaitGroup
}

func newRelays() *relays {
	r := &relays{}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// serve relays what a listener accepts.
func (r *relays) serve(listener net.Listener, dial dialer) {
	r.listeners = append(r.listeners, listener)
	r.tasks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // stop has closed it
			}
			r.tasks.Go(func() { r.join(conn, dial) })
		}
	})
}

// join copies both ways until both ends are done. An end that is not there shows
// as a connection that is closed at once.
func (r *relays) join(from net.Conn, dial dialer) {
	defer from.Close()
	defer context.AfterFunc(r.ctx, func() { _ = from.Close() })()
	ctx, cancel := context.WithTimeout(r.ctx, dialTimeout)
	defer cancel()
	to, err := dial(ctx, from)
	if err != nil {
		return
	}
	defer to.Close()
	defer context.AfterFunc(r.ctx, func() { _ = to.Close() })()
	var both sync.WaitGroup
	both.Go(func() { half(to, from) })
	both.Go(func() { half(from, to) })
	both.Wait()
}

// half copies one way, and tells the receiver that it was all.
func half(to, from net.Conn) {
	_, _ = io.Copy(to, from) // an end that is gone ends the copy
	if closer, ok := to.(interface{ CloseWrite() error }); ok {
		_ = closer.CloseWrite() // it may be gone
	}
}

// stop cuts every connection.
func (r *relays) stop() {
	r.cancel()
	for _, listener := range r.listeners {
		_ = listener.Close() // it ends either way
	}
	r.tasks.Wait()
}
