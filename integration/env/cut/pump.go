package cut

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readSize is how much is taken at a time, and queued how many of those are on their way at most: a proxy that is held
	// fills up, and then its client notices.
	readSize = 16 << 10
	queued   = 64
)

// connection is a client and its server.
type connection struct {
	client, server net.Conn
	ended          chan struct{}
	once           sync.Once
	lost           atomic.Bool // nothing passes any more, not even the end
}

// reset ends both ends as a crashed host does: by RST where there was more to say.
func (c *connection) reset() {
	c.once.Do(func() {
		close(c.ended)
		for _, conn := range []net.Conn{c.client, c.server} {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // fails only where it is closed
				_ = tcp.Close()
			}
		}
	})
}

// parcel is bytes on their way.
type parcel struct {
	bytes []byte
	due   time.Time
}

// pump passes one direction on until its end, which it passes on too.
func (p *Proxy) pump(c *connection, to Direction, from, into net.Conn) {
	parcels := make(chan parcel, queued)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(parcels)
		p.read(c, from, parcels)
	})
	if !p.deliver(c, to, into, parcels) {
		c.reset()
	}
	reading.Wait()
	if c.lost.Load() {
		<-c.ended
	}
	if tcp, ok := into.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // fails only where it is closed
	}
}

// read takes what arrives, and decides when it goes on.
func (p *Proxy) read(c *connection, from net.Conn, parcels chan<- parcel) {
	var last time.Time
	for {
		buffer := make([]byte, readSize)
		n, err := from.Read(buffer)
		if n > 0 {
			last = p.due(n, last)
			select {
			case parcels <- parcel{bytes: buffer[:n], due: last}:
			case <-c.ended:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// due is when n bytes that arrive now are delivered: never before those that came before them.
func (p *Proxy) due(n int, last time.Time) time.Time {
	p.mu.Lock()
	shape := p.shape
	p.mu.Unlock()
	due := time.Now().Add(shape.Delay)
	if shape.Jitter > 0 {
		due = due.Add(rand.N(shape.Jitter))
	}
	if shape.Rate > 0 {
		took := time.Duration(n) * time.Second / time.Duration(shape.Rate)
		if last.After(due) {
			due = last
		}
		return due.Add(took)
	}
	if last.After(due) {
		return last
	}
	return due
}

// deliver writes parcels when they are due and may pass. It reports whether they came to their end.
func (p *Proxy) deliver(c *connection, to Direction, into net.Conn, parcels <-chan parcel) bool {
	for {
		var next parcel
		var more bool
		select {
		case next, more = <-parcels:
		case <-c.ended:
			return false
		}
		if !more {
			return true
		}
		if wait := time.Until(next.due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-c.ended:
				return false
			}
		}
		if c.lost.Load() {
			<-c.ended
			return false
		}
		for rest := next.bytes; len(rest) > 0; {
			n := p.allow(to, len(rest), c.ended)
			if n == 0 {
				return false
			}
			if _, err := into.Write(rest[:n]); err != nil {
				return false
			}
			rest = rest[n:]
		}
	}
}
