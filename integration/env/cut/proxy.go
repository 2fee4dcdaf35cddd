package cut

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	loopbackAddress = "127.0.0.1:0"
	// dialTimeout bounds the connection to the server.
	dialTimeout = 5 * time.Second
)

// Shape is how slow a network is. The zero value passes everything at once.
type Shape struct {
	// Delay is how much later each byte arrives, in each direction.
	Delay time.Duration
	// Jitter is how much later still at most, chosen anew for each read. Bytes of a connection keep their order.
	Jitter time.Duration
	// Rate bounds each direction of each connection, in bytes per second; 0 does not.
	Rate int
}

// Proxy passes connections on to a server until Stop.
type Proxy struct {
	gates

	target   string
	listener net.Listener
	tasks    sync.WaitGroup
	stopped  chan struct{} // closed by Stop

	connsMu sync.Mutex
	conns   map[*connection]struct{}
}

// Start listens on a free loopback port and passes connections on to target, host:port.
func Start(target string) (*Proxy, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", loopbackAddress)
	if err != nil {
		return nil, fmt.Errorf("start proxy to %s: %w", target, err)
	}
	p := &Proxy{target: target, listener: listener, stopped: make(chan struct{}), conns: map[*connection]struct{}{}}
	p.changed = make(chan struct{})
	p.tasks.Go(p.accept)
	return p, nil
}

// Address is where clients dial, host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Shape changes how slow the network is, for open connections too.
func (p *Proxy) Shape(shape Shape) { p.change(func() { p.shape = shape }) }

// Hold keeps everything in a direction from now on. Connections stay open, and new ones are accepted: it is a network
// that loses packets, or a host that accepts and then says nothing.
func (p *Proxy) Hold(to Direction) { p.HoldAfter(to, 0) }

// HoldAfter lets some bytes pass and holds what follows.
func (p *Proxy) HoldAfter(to Direction, bytes int) {
	p.change(func() { p.ways[to].hold, p.ways[to].budget, p.ways[to].waits = true, bytes, false })
}

// WaitHeld waits until something in a direction is held.
func (p *Proxy) WaitHeld(ctx context.Context, to Direction) error {
	if err := p.wait(ctx, func() bool { return p.ways[to].hold && p.ways[to].waits }); err != nil {
		return fmt.Errorf("nothing came to be held on the way to %s: %w", p.target, err)
	}
	return nil
}

// Release lets everything pass again, what was held first.
func (p *Proxy) Release() {
	p.change(func() {
		for to := range p.ways {
			p.ways[to].hold, p.ways[to].waits = false, false
		}
		p.refuse = false
	})
}

// Cut ends every open connection without a goodbye. New ones are accepted.
func (p *Proxy) Cut() {
	p.connsMu.Lock()
	defer p.connsMu.Unlock()
	for c := range p.conns {
		if !c.lost.Load() {
			c.reset()
		}
	}
}

// Abandon loses every open connection without telling anybody, as a firewall or an address translation does that forgets
// them: nothing comes through any more, and nobody hears of an end until Stop. New connections are fine.
func (p *Proxy) Abandon() {
	p.connsMu.Lock()
	defer p.connsMu.Unlock()
	for c := range p.conns {
		c.lost.Store(true)
	}
}

// Refuse cuts, and ends new connections as soon as they are made, until Release.
func (p *Proxy) Refuse() {
	p.change(func() { p.refuse = true })
	p.Cut()
}

// Passed is how many bytes went through in a direction.
func (p *Proxy) Passed(to Direction) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ways[to].passed
}

// Stop ends every connection and the proxy. It is called once.
func (p *Proxy) Stop() error {
	close(p.stopped)
	err := p.listener.Close()
	p.connsMu.Lock()
	for c := range p.conns {
		c.reset()
	}
	p.connsMu.Unlock()
	p.tasks.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // the listener is closed
		}
		p.tasks.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) refuses() bool {
	select {
	case <-p.stopped:
		return true
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse
}

func (p *Proxy) serve(client net.Conn) {
	c := &connection{client: client, ended: make(chan struct{})}
	defer c.reset()
	if p.refuses() {
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	server, err := dialer.DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return // as the server would: nobody there
	}
	c.server = server
	p.add(c)
	defer p.remove(c)
	if p.refuses() { // Refuse or Stop may have looked before this one was there
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(c, Up, client, server) })
	both.Go(func() { p.pump(c, Down, server, client) })
	both.Wait()
}

func (p *Proxy) add(c *connection) {
	p.connsMu.Lock()
	defer p.connsMu.Unlock()
	p.conns[c] = struct{}{}
}

func (p *Proxy) remove(c *connection) {
	p.connsMu.Lock()
	defer p.connsMu.Unlock()
	delete(p.conns, c)
}
