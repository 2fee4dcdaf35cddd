package tlsfiles

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"slices"
	"sync"
)

// Connections keeps connections for as long as they would be made in the same way. It is safe for concurrent use.
type Connections struct {
	// New returns what makes connections, and keeps them, with what Files.Client read.
	New func(*tls.Config) *http.Transport

	mu        sync.Mutex
	shown     *tls.Config // what transport was made with
	transport *http.Transport
}

// With returns what sends requests by connections that show and check what was read just now. Those that showed or checked
// something else are closed when nobody uses them any more.
func (c *Connections) With(shown *tls.Config) *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport == nil || !same(c.shown, shown) {
		c.closeIdle()
		c.shown, c.transport = shown, c.New(shown)
	}
	return c.transport
}

// CloseIdle ends the connections that nobody uses.
func (c *Connections) CloseIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeIdle()
}

func (c *Connections) closeIdle() {
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
}

// same tells whether two configurations of Files.Client, or none, show and check the same.
func same(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.RootCAs.Equal(b.RootCAs) && slices.EqualFunc(a.Certificates, b.Certificates, func(a, b tls.Certificate) bool {
		return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
	})
}
