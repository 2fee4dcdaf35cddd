package registry_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/automator/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a real registry behind a handler of the test's choice.
type world struct {
	t      testing.TB
	server *httptest.Server
	host   string

	mu       sync.Mutex
	requests []*http.Request
}

// middleware stands between client and registry.
type middleware func(next http.Handler) http.Handler

// newWorld starts a registry that speaks plain HTTP.
func newWorld(t testing.TB, wrap ...middleware) *world {
	t.Helper()
	w := &world{t: t}
	w.server = httptest.NewServer(w.handler(wrap))
	w.host = strings.TrimPrefix(w.server.URL, "http://")
	t.Cleanup(w.server.Close)
	return w
}

func (w *world) handler(wrap []middleware) http.Handler {
	handler := ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0))) //nolint:forbidigo // what the library wants
	for _, m := range wrap {
		handler = m(handler)
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		w.mu.Lock()
		w.requests = append(w.requests, req)
		w.mu.Unlock()
		handler.ServeHTTP(rw, req)
	})
}

// count returns how many requests satisfied a condition.
func (w *world) count(match func(*http.Request) bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, req := range w.requests {
		if match(req) {
			n++
		}
	}
	return n
}

// push writes a manifest under a tag and returns its digest.
func (w *world) push(repository, tag, content string) string {
	w.t.Helper()
	body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{"content":%q}}`, content)
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, w.server.URL+"/v2/"+repository+"/manifests/"+tag, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	req.SetBasicAuth("robot", "secret")
	resp, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		w.t.Fatalf("push: %s", resp.Status)
	}
	return resp.Header.Get("Docker-Content-Digest")
}

// client returns a client that may speak plain HTTP to the world.
func (w *world) client(change ...func(*registry.Host)) *registry.Client {
	w.t.Helper()
	host := registry.Host{Insecure: true}
	for _, c := range change {
		c(&host)
	}
	return newClient(w.t, registry.Config{Hosts: map[string]registry.Host{w.host: host}})
}

func newClient(t testing.TB, cfg registry.Config) *registry.Client {
	t.Helper()
	client, err := registry.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// on answers requests to paths with a suffix itself; false passes the request on.
func on(suffix string, answer func(http.ResponseWriter, *http.Request) bool) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, suffix) && answer(rw, req) {
				return
			}
			next.ServeHTTP(rw, req)
		})
	}
}
