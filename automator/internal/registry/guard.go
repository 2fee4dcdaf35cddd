package registry

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/samesite"
	"github.com/tandem-cd/tandem/shared/redact"
)

// Limits on what a registry can answer.
const (
	// maxBodyBytes bounds a body: a page of tags, a manifest, a token. The largest honest one is a list of all tags from a
	// registry that does not page.
	maxBodyBytes = 16 << 20
	// maxHeaderBytes bounds the headers of an answer.
	maxHeaderBytes = 64 << 10
	// maxRedirects bounds how often one request is sent elsewhere.
	maxRedirects = 5
)

// Refusals of our own, before anything is sent.
var (
	errPlainHTTP     = errors.New("refused to speak plain HTTP")
	errOnlyPlainHTTP = errors.New("configured as insecure, so HTTPS is not tried")
	errTooManyHops   = fmt.Errorf("redirected more than %d times", maxRedirects)
	errAddress       = errors.New("sent to the address of another host")
	errLinkLocal     = errors.New("the name stands for a link-local address, where no registry is")
)

// tokenServerError refuses to show credentials to somebody else.
type tokenServerError struct{ host string }

func (e tokenServerError) Error() string {
	return fmt.Sprintf("wants the credentials to be sent to %.100q, which is another site; name it in tokenServers if it is meant to have them", e.host)
}

// guard is the RoundTripper below go-containerregistry's authentication: it decides whether a request may go, waits for
// the registry's budget, and bounds what comes back. Token servers and the targets of redirects count as the registry
// that sent us there.
type guard struct {
	host     string
	insecure bool
	trusted  []string // hosts besides, and those of the same site, that may see the credentials
	budget   *budget
	metrics  *metrics
	secrets  *redact.Secrets
	inner    http.RoundTripper
}

// RoundTrip sends one request.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	req, err := g.admit(req)
	if err == nil {
		began := time.Now()
		err = g.budget.wait(req.Context())
		g.metrics.waitedFor(g.host, began)
	}
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper closes it in every case; there is nobody to tell
		}
		return nil, err
	}
	g.note(req)
	began := time.Now()
	resp, err := g.inner.RoundTrip(req)
	g.metrics.answered(g.host, began, resp)
	if err != nil {
		return nil, err
	}
	g.budget.observe(resp)
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxBodyBytes)
	return resp, nil
}

// note keeps the credentials of a request out of what is told of its answer, whoever put them there.
func (g *guard) note(req *http.Request) {
	_, password, _ := req.BasicAuth()
	_, credentials, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	g.secrets.Add(password, credentials)
}

// admit returns the request as it may be sent.
func (g *guard) admit(req *http.Request) (*http.Request, error) {
	first, hops := origin(req)
	elsewhere := req.URL.Hostname() != hostname(g.host)
	switch {
	case hops > maxRedirects:
		return req, errTooManyHops
	case req.URL.Scheme != "https" && !g.insecure:
		return req, errPlainHTTP
	case req.URL.Scheme == "https" && g.insecure && req.URL.Host == g.host:
		return req, errOnlyPlainHTTP
	case elsewhere && net.ParseIP(req.URL.Hostname()) != nil:
		// Metadata services and neighbours have addresses; registries and their storage have names.
		return req, errAddress
	case elsewhere && showsCredentials(req) && !g.mayKnow(req.URL.Hostname()):
		return req, tokenServerError{req.URL.Host}
	}
	if first.URL.Host != req.URL.Host && strings.HasPrefix(req.Header.Get("Authorization"), "Basic ") {
		// net/http and go-containerregistry already take care of it. This is the line that says so.
		req = req.Clone(req.Context())
		req.Header.Del("Authorization")
	}
	return req, nil
}

// showsCredentials tells whether a request to a token server has them: in its header, or in its body as a refresh token.
func showsCredentials(req *http.Request) bool {
	return req.Method == http.MethodPost || strings.HasPrefix(req.Header.Get("Authorization"), "Basic ")
}

// mayKnow reports whether a token server may see the credentials: one of the registry's own site, such as auth.docker.io
// of index.docker.io, or one that the configuration names.
func (g *guard) mayKnow(host string) bool {
	return slices.Contains(g.trusted, host) || samesite.Same(hostname(g.host), host)
}

// hostname returns a host without its port.
func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// refuseLinkLocal is a dialer's control: whatever a name stands for by now, metadata services of clouds are not asked.
// What a proxy resolves it does not see.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := to.Addr().Unmap().WithZone(""); ip.IsLinkLocalUnicast() || slices.Contains(metadata, ip) {
		return errLinkLocal
	}
	return nil
}

// metadata is where clouds have their metadata services besides link-local addresses: Amazon, Google, Azure, Alibaba.
var metadata = []netip.Addr{ //nolint:gochecknoglobals // a constant
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("100.100.100.200"),
}

// origin returns the request that a chain of redirects began with, and how long the chain is.
func origin(req *http.Request) (first *http.Request, hops int) {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
		hops++
	}
	return req, hops
}
