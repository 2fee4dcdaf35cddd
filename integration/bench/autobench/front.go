package autobench

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// frontAddress is any free port of loopback.
	frontAddress = "127.0.0.1:0"
	// headerTimeout bounds how long a client may take over a request's header.
	headerTimeout = 30 * time.Second
)

// Front stands before a registry as distance and a rate limit do: every answer takes longer by the same time, and what is
// more than the limit in a second is refused with 429 and Retry-After, at once. It changes nothing else, and counts.
type Front struct {
	latency time.Duration
	limit   *rate.Limiter
	next    http.Handler
	server  *http.Server
	address string
	done    sync.WaitGroup

	mu     sync.Mutex
	counts Requests
}

// Requests are those that a registry was sent, by what they ask for.
type Requests struct {
	// Pings are handshakes.
	Pings int `json:"pings"`
	// Lists are first pages of tags, and Pages those that follow.
	Lists int `json:"lists"`
	Pages int `json:"pages"`
	// Digests are manifests asked for by HEAD, Manifests and Blobs those by GET: an image that is inspected is one of the
	// former and one of the latter.
	Digests   int `json:"digests"`
	Manifests int `json:"manifests"`
	Blobs     int `json:"blobs"`
	// Refused are those of all that were more than the limit.
	Refused int `json:"refused"`
}

// All is how many there were.
func (r Requests) All() int {
	return r.Pings + r.Lists + r.Pages + r.Digests + r.Manifests + r.Blobs
}

// Minus are those since others were counted.
func (r Requests) Minus(before Requests) Requests {
	return Requests{
		Pings: r.Pings - before.Pings, Lists: r.Lists - before.Lists, Pages: r.Pages - before.Pages, Digests: r.Digests - before.Digests,
		Manifests: r.Manifests - before.Manifests, Blobs: r.Blobs - before.Blobs, Refused: r.Refused - before.Refused,
	}
}

// StartFront listens before the registry at a host.
func StartFront(ctx context.Context, registry string, latency time.Duration, perSecond int) (*Front, error) {
	target := &url.URL{Scheme: "http", Host: registry}
	f := &Front{
		latency: latency, limit: rate.NewLimiter(rate.Limit(perSecond), perSecond),
		next: &httputil.ReverseProxy{
			Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport:    &http.Transport{MaxIdleConnsPerHost: perSecond},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		},
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", frontAddress)
	if err != nil {
		return nil, err
	}
	f.address = listener.Addr().String()
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: headerTimeout}
	f.done.Go(func() { _ = f.server.Serve(listener) }) // ends by Stop alone
	return f, nil
}

// Host is the registry's name for those behind the front.
func (f *Front) Host() string { return f.address }

// Counts are the requests so far.
func (f *Front) Counts() Requests {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts
}

// Stop cuts every connection.
func (f *Front) Stop() error {
	err := f.server.Close()
	f.done.Wait()
	return err
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	allowed := f.limit.Allow()
	f.count(r, allowed)
	if !allowed {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	}
	if err := pause(r.Context(), f.latency); err != nil {
		return // the client is gone
	}
	f.next.ServeHTTP(w, r)
}

func (f *Front) count(r *http.Request, allowed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !allowed {
		f.counts.Refused++
	}
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/tags/list") && r.URL.Query().Has("last"):
		f.counts.Pages++
	case strings.HasSuffix(path, "/tags/list"):
		f.counts.Lists++
	case strings.Contains(path, "/manifests/") && r.Method == http.MethodHead:
		f.counts.Digests++
	case strings.Contains(path, "/manifests/"):
		f.counts.Manifests++
	case strings.Contains(path, "/blobs/"):
		f.counts.Blobs++
	default:
		f.counts.Pings++
	}
}
