package autobench

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/integration/env/gitserver"
)

func TestFront(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("From", "backend")
		_, _ = w.Write([]byte(r.Method))
	}))
	t.Cleanup(backend.Close)
	const latency, limit = 30 * time.Millisecond, 6
	front, err := StartFront(t.Context(), strings.TrimPrefix(backend.URL, "http://"), latency, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := front.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, asked := range []struct{ method, path string }{
		{http.MethodGet, "/v2/"},
		{http.MethodGet, "/v2/acme/shop/tags/list?n=1000"},
		{http.MethodGet, "/v2/acme/shop/tags/list?n=1000&last=x"},
		{http.MethodHead, "/v2/acme/shop/manifests/1.0.0"},
		{http.MethodGet, "/v2/acme/shop/manifests/1.0.0"},
		{http.MethodGet, "/v2/acme/shop/blobs/sha256:00"},
	} {
		began := time.Now()
		if response := ask(t, asked.method, front.Host()+asked.path); response.StatusCode != http.StatusOK || response.Header.Get("From") != "backend" {
			t.Errorf("%s %s: %s", asked.method, asked.path, response.Status)
		}
		if time.Since(began) < latency {
			t.Errorf("%s %s: answered before its time", asked.method, asked.path)
		}
	}
	var refused atomic.Int64
	var crowd sync.WaitGroup
	for range 20 * limit {
		crowd.Go(func() {
			response := ask(t, http.MethodGet, front.Host()+"/v2/")
			if response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == "1" {
				refused.Add(1)
			}
		})
	}
	crowd.Wait()
	got := front.Counts()
	if int64(got.Refused) != refused.Load() || got.Refused == 0 {
		t.Errorf("%d counted of %d that were refused; some should be", got.Refused, refused.Load())
	}
	got.Refused, got.Pings = 0, 0
	if diff := cmp.Diff(Requests{Lists: 1, Pages: 1, Digests: 1, Manifests: 1, Blobs: 1}, got); diff != "" {
		t.Errorf("Counts(): -want, +got:\n%s", diff)
	}
}

// ask may be called from any goroutine.
func ask(t *testing.T, method, address string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address, nil)
	if err != nil {
		t.Error(err)
		return &http.Response{}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return &http.Response{}
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	return response
}

func TestJudge(t *testing.T) {
	t.Parallel()
	ours := func(id, tag string) gitserver.Commit {
		return gitserver.Commit{ID: id, Email: robotEmail, Message: "shop: shop " + tag + " to dev\n\nTandem-App: shop\n" +
			"Tandem-Image: shop=127.0.0.1:1/acme/shop:" + tag + "@sha256:00\n"}
	}
	history := []gitserver.Commit{
		ours("e", "1.2.0"), {ID: "d", Email: "writer@example.com"}, ours("c", "1.1.0"), ours("b", "1.2.0"), {ID: "a", Email: "writer@example.com"},
	}
	var got Race
	got.judge(history, []string{"a", "d", "f"})
	if diff := cmp.Diff(Race{Landed: 2, Duplicates: 1, Foreign: 3, Lost: 1}, got); diff != "" {
		t.Errorf("judge(...): -want, +got:\n%s", diff)
	}
}

func TestTagIn(t *testing.T) {
	t.Parallel()
	if got := tagIn(deployment("shop", "127.0.0.1:1/acme/shop:1.2.0@sha256:00")); got != "1.2.0" {
		t.Errorf("tagIn(...): got %q", got)
	}
	if got := tagIn("kind: ConfigMap\n"); got != "" {
		t.Errorf("tagIn of what has none: got %q", got)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	defaults := Defaults()
	if err := defaults.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for name, spoil := range map[string]func(*Options){
		"UnknownPart": func(o *Options) { o.Only = []string{"all"} },
		"NoWriters":   func(o *Options) { o.Writers = 0 },
	} {
		opts := Defaults()
		if spoil(&opts); opts.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
