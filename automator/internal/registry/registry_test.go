package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/fault"
)

func TestTagsAndDigests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.push("acme/api", "1.0.0", "one")
	two := w.push("acme/api", "1.1.0", "two")
	client := w.client()

	tags, complete, err := client.Tags(t.Context(), w.host+"/acme/api")
	if err != nil || !complete {
		t.Fatalf("Tags(...): complete %v, error %v", complete, err)
	}
	if diff := cmp.Diff([]string{"1.0.0", "1.1.0"}, tags); diff != "" {
		t.Errorf("Tags(...): -want, +got:\n%s", diff)
	}
	for tag, want := range map[string]string{"1.0.0": one, "1.1.0": two} {
		got, err := client.Digest(t.Context(), w.host+"/acme/api", tag)
		if err != nil || got != want {
			t.Errorf("Digest(%s): %q, %v, want %q", tag, got, err, want)
		}
	}
	if n := w.count(func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/")
	}); n != 0 {
		t.Errorf("digests took %d GETs, which registries count as pulls; want HEAD only", n)
	}
	if n := w.count(func(r *http.Request) bool { return r.URL.Path == "/v2/" }); n != 1 {
		t.Errorf("%d handshakes for one repository, want 1", n)
	}
	if n := w.count(func(r *http.Request) bool {
		return !strings.HasPrefix(r.UserAgent(), "tandem-automator ") && r.Method != http.MethodPut
	}); n != 0 {
		t.Errorf("%d requests without our user agent", n)
	}
}

// pages serves a list of tags in pages of any size, linked or not.
func pages(all []string, size int, link bool) middleware {
	return on("/tags/list", func(rw http.ResponseWriter, req *http.Request) bool {
		from, _ := strconv.Atoi(req.URL.Query().Get("from"))
		to := min(from+size, len(all))
		if link && to < len(all) {
			rw.Header().Set("Link", fmt.Sprintf(`<%s?from=%d>; rel="next"`, req.URL.Path, to))
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"name": "acme/api", "tags": all[from:to]})
		return true
	})
}

func numbered(n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("1.0.%06d", i)
	}
	return tags
}

func TestTagsCompleteness(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason   string
		serve    middleware
		tags     int
		complete bool
	}{
		"Linked":       {"pages with links are followed to the end", pages(numbered(2500), registry.PageSize, true), 2500, true},
		"SmallPages":   {"a registry may page smaller than asked", pages(numbered(250), 100, true), 250, true},
		"Unpaged":      {"a registry that ignores the page size sends everything", pages(numbered(2500), 5000, false), 2500, true},
		"ExactNoLink":  {"a full page without a link may be the first of many", pages(numbered(2500), registry.PageSize, false), registry.PageSize, false},
		"ExactlyFull":  {"a list that is as long as a page cannot be told from a cut one", pages(numbered(registry.PageSize), registry.PageSize, true), registry.PageSize, false},
		"Empty":        {"a repository without tags is complete", pages(nil, 10, true), 0, true},
		"FullThenRest": {"only the last page decides", pages(numbered(registry.PageSize+1), registry.PageSize, true), registry.PageSize + 1, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.serve)
			tags, complete, err := w.client().Tags(t.Context(), w.host+"/acme/api")
			if err != nil {
				t.Fatal(err)
			}
			if len(tags) != tc.tags || complete != tc.complete {
				t.Errorf("%s: got %d tags, complete %v; want %d, %v", tc.reason, len(tags), complete, tc.tags, tc.complete)
			}
		})
	}
}

func TestTagsFromHostileRegistries(t *testing.T) {
	t.Parallel()
	write := func(body string) middleware {
		return on("/tags/list", func(rw http.ResponseWriter, _ *http.Request) bool {
			_, _ = rw.Write([]byte(body))
			return true
		})
	}
	linked := func(next func(*http.Request) string, tags func(*http.Request) []string) middleware {
		return on("/tags/list", func(rw http.ResponseWriter, req *http.Request) bool {
			rw.Header().Set("Link", "<"+next(req)+`>; rel="next"`)
			_ = json.NewEncoder(rw).Encode(map[string]any{"tags": tags(req)})
			return true
		})
	}
	tests := map[string]struct {
		reason string
		serve  middleware
		tags   int
	}{
		"Page": {"a captive portal is not a registry", write("<html>hello</html>"), 0},
		"Type": {"tags must be texts", write(`{"tags":[{"a":1}]}`), 0},
		"Huge": {"a body has a limit", on("/tags/list", func(rw http.ResponseWriter, req *http.Request) bool {
			_, _ = rw.Write([]byte(`{"tags":["`))
			block := []byte(strings.Repeat("a", 1<<20))
			for range 64 {
				if _, err := rw.Write(block); err != nil {
					break
				}
			}
			return true
		}), 0},
		"ManyTags": {"a list has a limit", write(`{"tags":["` + strings.Join(numbered(registry.MaxTags+1), `","`) + `"]}`), registry.MaxTags + 1},
		"Loop": {"a list that links to itself ends", linked(
			func(r *http.Request) string { return r.URL.Path },
			func(*http.Request) []string { return []string{"1.0.0"} },
		), 1},
		"OtherHost": {"a list continues at its own registry", linked(
			func(*http.Request) string { return "http://169.254.169.254/latest/meta-data" },
			func(*http.Request) []string { return []string{"1.0.0"} },
		), 0},
		"Cut": {"a connection that breaks is an error", on("/tags/list", func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("Content-Length", "1000")
			_, _ = rw.Write([]byte(`{"tags":["1.0.0"`))
			return true
		}), 0},
		"FailsLater": {"what came before the error is kept", on("/tags/list", func(rw http.ResponseWriter, req *http.Request) bool {
			if req.URL.Query().Has("from") {
				rw.WriteHeader(http.StatusInternalServerError)
				return true
			}
			rw.Header().Set("Link", `<?from=1>; rel="next"`)
			_, _ = rw.Write([]byte(`{"tags":["1.0.0"]}`))
			return true
		}), 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.serve)
			tags, complete, err := w.client().Tags(t.Context(), w.host+"/acme/api")
			if err == nil || complete || len(tags) != tc.tags {
				t.Fatalf("%s: got %d tags, complete %v, error %v; want %d and an error", tc.reason, len(tags), complete, err, tc.tags)
			}
			if !strings.Contains(err.Error(), w.host+"/acme/api") || strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1000 {
				t.Errorf("the error should name the repository, on one short line: %q", err)
			}
		})
	}
}

func TestTagsDropWhatIsNoTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t, on("/tags/list", func(rw http.ResponseWriter, _ *http.Request) bool {
		_ = json.NewEncoder(rw).Encode(map[string]any{"tags": []string{"b", "a", "b", "", "-x", "a b", "a\nb", "é", "../x", strings.Repeat("x", 129)}})
		return true
	}))
	tags, complete, err := w.client().Tags(t.Context(), w.host+"/acme/api")
	if err != nil || !complete {
		t.Fatal(complete, err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, tags); diff != "" {
		t.Errorf("Tags(...): -want, +got:\n%s", diff)
	}
}

func TestErrorKinds(t *testing.T) {
	t.Parallel()
	status := func(suffix string, code int) middleware {
		return on(suffix, func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.WriteHeader(code)
			_, _ = rw.Write([]byte(`{"errors":[{"code":"TEST","message":"line one\nline two"}]}`))
			return true
		})
	}
	tests := map[string]struct {
		reason     string
		serve      middleware
		repository string
		tag        string
		want       fault.Kind
		text       string
	}{
		"NoRepository":  {"a repository that does not exist", nil, "acme/nothing", "", fault.NotFound, "no such repository"},
		"NoTag":         {"a tag that does not exist", nil, "acme/api", "9.9.9", fault.NotFound, "no such tag"},
		"Forbidden":     {"credentials that may not", status("/tags/list", http.StatusForbidden), "acme/api", "", fault.Unauthorized, "no credentials are configured"},
		"Unauthorized":  {"no credentials", status("/manifests/1.0.0", http.StatusUnauthorized), "acme/api", "1.0.0", fault.Unauthorized, "passwordFile"},
		"BadRequest":    {"a name the registry does not take", status("/tags/list", http.StatusBadRequest), "acme/api", "", fault.Invalid, "refuses"},
		"ServerError":   {"a broken registry", status("/tags/list", http.StatusInternalServerError), "acme/api", "", fault.Internal, "500"},
		"NotARegistry":  {"a web server", status("/v2/", http.StatusNotFound), "acme/api", "", fault.Internal, "not a registry"},
		"BadRepository": {"no repository", nil, "Acme API", "", fault.Invalid, "not an image repository"},
		"BadTag":        {"no tag", nil, "acme/api", "a/b", fault.Invalid, "not a tag"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve := tc.serve
			if serve == nil {
				serve = func(next http.Handler) http.Handler { return next }
			}
			w := newWorld(t, serve)
			w.push("acme/api", "0.0.1", "x")
			var err error
			if tc.tag == "" {
				_, _, err = w.client().Tags(t.Context(), w.host+"/"+tc.repository)
			} else {
				_, err = w.client().Digest(t.Context(), w.host+"/"+tc.repository, tc.tag)
			}
			if err == nil || fault.KindOf(err) != tc.want {
				t.Fatalf("%s: kind %s of %v, want %s", tc.reason, fault.KindOf(err), err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %q should say %q on one line", tc.reason, err, tc.text)
			}
		})
	}
}

func TestDigestFallsBackToGet(t *testing.T) {
	t.Parallel()
	tests := map[string]middleware{
		"NoMethod": on("/manifests/1.0.0", func(rw http.ResponseWriter, req *http.Request) bool {
			if req.Method != http.MethodHead {
				return false
			}
			rw.WriteHeader(http.StatusMethodNotAllowed)
			return true
		}),
		"NoHeader": on("/manifests/1.0.0", func(rw http.ResponseWriter, req *http.Request) bool {
			if req.Method != http.MethodHead {
				return false
			}
			rw.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			rw.Header().Set("Content-Length", "10")
			return true
		}),
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, serve)
			want := w.push("acme/api", "1.0.0", "one")
			got, err := w.client().Digest(t.Context(), w.host+"/acme/api", "1.0.0")
			if err != nil || got != want {
				t.Errorf("Digest(...): %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestDigestRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, on("/manifests/1.0.0", func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		rw.Header().Set("Docker-Content-Digest", "sha256:../../etc/passwd")
		rw.WriteHeader(http.StatusNotImplemented)
		return true
	}))
	if got, err := w.client().Digest(t.Context(), w.host+"/acme/api", "1.0.0"); err == nil {
		t.Errorf("Digest(...) = %q, want an error", got)
	}
}

// A proxy that wants people to sign in answers everything with a page; its hash is no digest of an image. Nor is that of
// nothing, however it is labelled.
func TestDigestOfNoManifest(t *testing.T) {
	t.Parallel()
	const image = "application/vnd.oci.image.manifest.v1+json"
	for name, answer := range map[string]struct{ kind, body string }{
		"Page": {"text/html", "<html><body>Please sign in.</body></html>"}, "PageLabelled": {image, "<html></html>"},
		"Nothing": {image, ""}, "OtherJSON": {image, `{"error":"sign in"}`},
	} {
		w := newWorld(t, on("/manifests/1.0.0", func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("Content-Type", answer.kind)
			fmt.Fprint(rw, answer.body)
			return true
		}))
		if got, err := w.client().Digest(t.Context(), w.host+"/acme/api", "1.0.0"); err == nil {
			t.Errorf("%s: Digest(...) = %q, want an error", name, got)
		}
	}
}

// A stale cache before a registry names what is not there any more; once the cache knows better so do we, and what was found
// once is not looked for again.
func TestDigestThatTheRegistryDoesNotHave(t *testing.T) {
	t.Parallel()
	var stale atomic.Bool
	w := newWorld(t, on("/manifests/1.0.0", func(rw http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodHead || !stale.Load() {
			return false
		}
		rw.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		rw.Header().Set("Content-Length", "10")
		rw.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("ab", 32))
		return true
	}))
	want := w.push("acme/api", "1.0.0", "one")
	client := w.client()
	stale.Store(true)
	if got, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); !fault.Is(err, fault.NotFound) {
		t.Errorf("Digest(...) = %q, %v, want that it is not there", got, err)
	}
	stale.Store(false)
	for range 3 {
		if got, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); err != nil || got != want {
			t.Errorf("Digest(...) = %q, %v, want %q", got, err, want)
		}
	}
	if n := w.count(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/manifests/"+want) }); n != 1 {
		t.Errorf("what the registry has was looked for %d times, want once", n)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	var complain atomic.Bool
	w := newWorld(t, on("/tags/list", func(rw http.ResponseWriter, _ *http.Request) bool {
		if !complain.Load() {
			return false
		}
		rw.Header().Set("Retry-After", "17")
		rw.WriteHeader(http.StatusTooManyRequests)
		return true
	}))
	w.push("acme/api", "1.0.0", "one")
	client := w.client()
	complain.Store(true)

	_, _, err := client.Tags(t.Context(), w.host+"/acme/api")
	var limited *registry.RateLimitedError
	if !errors.As(err, &limited) || limited.RetryAfter() > 17*time.Second || limited.RetryAfter() < 15*time.Second {
		t.Fatalf("Tags(...): %v, want the registry's 17 s", err)
	}
	before := w.count(func(*http.Request) bool { return true })
	complain.Store(false)
	if _, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); !errors.As(err, &limited) {
		t.Errorf("Digest(...): %v, want the pause to hold for everything at that registry", err)
	}
	if after := w.count(func(*http.Request) bool { return true }); after != before {
		t.Errorf("%d requests were sent during the pause", after-before)
	}
}

func TestServerErrorsAreNotRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, on("/tags/list", func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	}))
	if _, _, err := w.client().Tags(t.Context(), w.host+"/acme/api"); err == nil {
		t.Fatal("want an error")
	}
	if n := w.count(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/tags/list") }); n != 1 {
		t.Errorf("asked %d times, want once: the loop retries", n)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := newWorld(t, on("/tags/list", func(_ http.ResponseWriter, req *http.Request) bool {
		select {
		case <-release:
		case <-req.Context().Done():
		}
		return true
	}))
	t.Cleanup(func() { close(release) })
	client := newClient(t, registry.Config{
		Hosts:    map[string]registry.Host{w.host: {Insecure: true}},
		Timeouts: registry.Timeouts{List: config.Duration(50 * time.Millisecond)},
	})
	if _, _, err := client.Tags(t.Context(), w.host+"/acme/api"); err == nil || !strings.Contains(err.Error(), "timeouts.list") {
		t.Errorf("Tags(...): %v, want the name of the timeout", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := client.Tags(ctx, w.host+"/acme/api"); !errors.Is(err, context.Canceled) {
		t.Errorf("Tags(...): %v, want the caller's cancellation", err)
	}
}

func TestSharedHandshakeOutlivesItsFirstCaller(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	var first atomic.Bool
	first.Store(true)
	w := newWorld(t, on("/v2/", func(_ http.ResponseWriter, req *http.Request) bool {
		if !first.Swap(false) {
			return false
		}
		close(arrived)
		<-req.Context().Done()
		return true
	}))
	w.push("acme/api", "1.0.0", "one")
	client := w.client()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := client.Digest(ctx, w.host+"/acme/api", "1.0.0"); !errors.Is(err, context.Canceled) {
			t.Errorf("the first caller: %v, want its cancellation", err)
		}
	})
	<-arrived
	wg.Go(func() {
		if _, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); err != nil {
			t.Errorf("the second caller: %v", err)
		}
	})
	cancel()
	wg.Wait()
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	bad := map[string]registry.Config{
		"Host":        {Hosts: map[string]registry.Host{"https://ghcr.io": {}}},
		"Twice":       {Hosts: map[string]registry.Host{"docker.io": {}, "index.docker.io": {}}},
		"HalfSecret":  {Hosts: map[string]registry.Host{"ghcr.io": {Username: "me"}}},
		"TwoSecrets":  {Hosts: map[string]registry.Host{"ghcr.io": {Username: "me", PasswordFile: "p", DockerConfigFile: "d"}}},
		"CAWithPlain": {Hosts: map[string]registry.Host{"ghcr.io": {Insecure: true, CAFile: "ca"}}},
		"Rate":        {Hosts: map[string]registry.Host{"ghcr.io": {RequestsPerSecond: -1}}},
		"Timeout":     {Timeouts: registry.Timeouts{List: -1}},
	}
	for name, cfg := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := registry.New(cfg); err == nil {
				t.Error("want an error")
			}
		})
	}
	cfg := registry.Config{Hosts: map[string]registry.Host{"docker.io": {}}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if _, ok := cfg.Hosts["index.docker.io"]; !ok {
		t.Errorf("docker.io should be known by its canonical name: %v", cfg.Hosts)
	}
}
