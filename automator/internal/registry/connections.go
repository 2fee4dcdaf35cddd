package registry

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/tlsfiles"
)

const (
	// maxIdleConnections is how many connections to a host are kept for the next request.
	maxIdleConnections = 8
	// idleTimeout is how long they are kept.
	idleTimeout = 90 * time.Second
)

// connections send requests to one registry: by such as trust what its CA file has now, and show the certificate that is there
// when they are made.
type connections struct {
	registry string
	cfg      Host
	timeouts Timeouts
	kept     tlsfiles.Connections
}

func newConnections(registry string, cfg Host, timeouts Timeouts) *connections {
	c := &connections{registry: registry, cfg: cfg, timeouts: timeouts}
	c.kept.New = c.transport
	return c
}

// filesError says that nothing was sent, for want of the files that it takes.
type filesError struct{ error }

// RoundTrip sends one request.
func (c *connections) RoundTrip(req *http.Request) (*http.Response, error) {
	trusted, err := tlsfiles.Files{CAFile: c.cfg.CAFile, BesidesSystem: true}.Client()
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper closes it in every case; there is nobody to tell
		}
		return nil, filesError{err}
	}
	return c.kept.With(trusted).RoundTrip(req)
}

func (c *connections) transport(trusted *tls.Config) *http.Transport {
	trusted.GetClientCertificate = c.clientCertificate()
	connect := c.timeouts.Connect.Or(defaultConnectTimeout)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connect, Control: refuseLinkLocal}).DialContext,
		TLSClientConfig:        trusted,
		TLSHandshakeTimeout:    connect,
		ResponseHeaderTimeout:  c.timeouts.Answer.Or(defaultAnswerTimeout),
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConnsPerHost:    maxIdleConnections,
		IdleConnTimeout:        idleTimeout,
		ForceAttemptHTTP2:      true,
	}
}

// clientCertificate returns what reads the certificate that the registry is shown; nil shows none.
func (c *connections) clientCertificate() func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if c.cfg.ClientCertFile == "" {
		return nil
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.cfg.ClientCertFile, c.cfg.ClientKeyFile)
		if err != nil {
			return nil, fmt.Errorf("clientCertFile of registry %s: %w", c.registry, err)
		}
		return &pair, nil
	}
}
