package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/automator/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token = "correct horse battery staple"
	v2    = "application/vnd.docker.distribution.events.v2+json"
)

// server is a handler behind a real listener, with everything that it passes on.
type server struct {
	url   string
	hints chan string
}

// newServer serves hooks for ghcr.io/acme/api, index.docker.io/library/nginx and the Git repository "shop".
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{hints: make(chan string, 1000)}
	hooks, err := webhook.New(
		webhook.Config{Callers: []webhook.Caller{{Name: "all", Tokens: []string{token}}}, Hosts: map[string]string{"Registry:5000": "ghcr.io", "bare": "registry.test:80", "": "docker.io"}},
		webhook.Deps{
			FollowsImage: func(repository string) bool {
				return strings.HasSuffix(repository, "/acme/api") || repository == "index.docker.io/library/nginx"
			},
			HintImage:    func(repository, tag string) { s.hints <- repository + ":" + tag },
			HintReferrer: func(repository string) { s.hints <- "referrer of " + repository },
			FollowsGit:   func(repository string) bool { return repository == "shop" },
			HintGit:      func(repository string) { s.hints <- "git " + repository },
		})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := hooks.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run(...): %v", err)
		}
	})
	listener := httptest.NewServer(hooks)
	t.Cleanup(func() {
		listener.Close()
		cancel()
		wg.Wait()
	})
	s.url = listener.URL
	return s
}

// post posts a body and returns the status and the answer.
func (s *server) post(t *testing.T, path, body string, change ...func(*http.Request)) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", v2)
	req.Header.Set("Authorization", "Bearer "+token)
	for _, c := range change {
		c(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

// passed returns what was passed on so far. Hints for different repositories have no order among each other, so it sends
// a marker twice: what came before the first one was passed on before the second.
func (s *server) passed(t *testing.T) []string {
	t.Helper()
	var hints []string
	for range 2 {
		if code, text := s.post(t, "/hooks/git/shop", ""); code != http.StatusAccepted {
			t.Fatal(code, text)
		}
		for hint := range s.hints {
			if hint == "git shop" {
				break
			}
			hints = append(hints, hint)
		}
	}
	return hints
}

// push is an event as the distribution project's registry sends it.
func push(host, repository, tag string) string {
	return fmt.Sprintf(`{
		"id": "320678d8-ca14-430f-8bb6-4ca139cd83f7", "timestamp": "2026-03-09T14:44:26.402973972-08:00", "action": "push",
		"target": {
			"mediaType": "application/vnd.oci.image.index.v1+json", "size": 708, "length": 708,
			"digest": "sha256:fea8895f450959fa676bcc1df0611ea93823a735a01205fd8622846041d0c7cf",
			"repository": %q, "tag": %q, "url": "http://192.168.100.227:5000/v2/hello-world/manifests/sha256:fea8"
		},
		"request": {"id": "6df24a34", "addr": "192.168.64.11:42961", "host": %q, "method": "PUT", "useragent": "curl/7.38.0"},
		"actor": {"name": "robot"}, "source": {"addr": "xtal.local:5000", "instanceID": "a53db899"}
	}`, repository, tag, host)
}

func envelope(events ...string) string { return `{"events": [` + strings.Join(events, ",") + `]}` }

func TestRegistryNotifications(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		body   string
		want   []string
		hints  int
	}{
		"Push":        {"a tag was pushed", envelope(push("ghcr.io", "acme/api", "1.0.0")), []string{"ghcr.io/acme/api:1.0.0"}, 1},
		"Several":     {"an envelope has several events", envelope(push("ghcr.io", "acme/api", "1.0.0"), push("ghcr.io", "acme/other", "1.0.0"), push("ghcr.io", "acme/api", "latest")), []string{"ghcr.io/acme/api:1.0.0", "ghcr.io/acme/api:latest"}, 2},
		"MappedHost":  {"a registry calls itself something else than pipelines do", envelope(push("registry:5000", "acme/api", "1.0.0")), []string{"ghcr.io/acme/api:1.0.0"}, 1},
		"BareHost":    {"a host without a dot has to be mapped", envelope(push("bare", "acme/api", "1.0.0")), []string{"registry.test:80/acme/api:1.0.0"}, 1},
		"Unmapped":    {"and is no Docker Hub user otherwise", envelope(push("other", "acme/api", "1.0.0"), push("acme", "api", "1.0.0")), nil, 0},
		"NoHost":      {"the address of the content names the host", envelope(strings.Replace(push("", "acme/api", "1.0.0"), "192.168.100.227:5000", "REGISTRY:5000", 1)), []string{"ghcr.io/acme/api:1.0.0"}, 1},
		"NoHostAtAll": {"a mapping of the empty host", `{"events":[{"action":"push","target":{"repository":"nginx","tag":"1"}}]}`, []string{"index.docker.io/library/nginx:1"}, 1},
		"NotFollowed": {"nobody wants to know", envelope(push("ghcr.io", "acme/other", "1.0.0")), nil, 0},
		"Referrer":    {"a manifest without a tag may be a signature", envelope(strings.Replace(push("ghcr.io", "acme/api", ""), "index.v1+json", "manifest.v1+json", 1)), []string{"referrer of ghcr.io/acme/api"}, 1},
		"NoTag":       {"what refers to nothing, by digest", envelope(push("ghcr.io", "acme/api", "")), nil, 0},
		"Pull":        {"not a push", envelope(strings.Replace(push("ghcr.io", "acme/api", "1.0.0"), `"push"`, `"pull"`, 1)), nil, 0},
		"Nonsense":    {"names that are none are passed over, or the registry would send them for ever", envelope(push("ghcr.io", "../etc", "1.0.0"), push("ghcr.io", "acme/api", "a b"), push("ghcr.io", "acme/api", "1@sha256:"+strings.Repeat("a", 64)), push("ghcr.io/acme", "api", "1"), push("ghcr.io", "acme/api", "2.0.0")), []string{"ghcr.io/acme/api:2.0.0"}, 1},
		"NoEvents":    {"an empty envelope", `{"events":[]}`, nil, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			code, text := s.post(t, "/hooks/registry", tc.body)
			if want := fmt.Sprintf(`{"hints":%d}`, tc.hints); code != http.StatusAccepted || text != want {
				t.Errorf("%s: %d %s, want 202 %s", tc.reason, code, text, want)
			}
			if diff := cmp.Diff(tc.want, s.passed(t)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	header := func(name, value string) func(*http.Request) {
		return func(req *http.Request) { req.Header.Set(name, value) }
	}
	good := envelope(push("ghcr.io", "acme/api", "1.0.0"))
	tests := map[string]struct {
		path   string
		body   string
		change func(*http.Request)
		want   int
	}{
		"NoToken":       {"/hooks/registry", good, func(req *http.Request) { req.Header.Del("Authorization") }, http.StatusUnauthorized},
		"WrongToken":    {"/hooks/registry", good, header("Authorization", "Bearer wrong"), http.StatusUnauthorized},
		"EmptyToken":    {"/hooks/registry", good, header("Authorization", "Bearer "), http.StatusUnauthorized},
		"OtherScheme":   {"/hooks/registry", good, header("Authorization", "Basic "+token), http.StatusUnauthorized},
		"GitNoToken":    {"/hooks/git/shop", "", func(req *http.Request) { req.Header.Del("Authorization") }, http.StatusUnauthorized},
		"Unseen":        {"/hooks/registry", strings.Repeat("x", 2*webhook.MaxBody), header("Authorization", "Bearer wrong"), http.StatusUnauthorized},
		"NotJSON":       {"/hooks/registry", "hello", nil, http.StatusBadRequest},
		"Cut":           {"/hooks/registry", good[:100], nil, http.StatusBadRequest},
		"NoEvents":      {"/hooks/registry", `{"event":[]}`, nil, http.StatusBadRequest},
		"Null":          {"/hooks/registry", `null`, nil, http.StatusBadRequest},
		"WrongType":     {"/hooks/registry", `{"events":[{"target":{"tag":7}}]}`, nil, http.StatusBadRequest},
		"Empty":         {"/hooks/registry", "", nil, http.StatusBadRequest},
		"TwoDocuments":  {"/hooks/registry", good + good, nil, http.StatusBadRequest},
		"TooLarge":      {"/hooks/registry", strings.Repeat(" ", webhook.MaxBody) + good, nil, http.StatusRequestEntityTooLarge},
		"MediaType":     {"/hooks/registry", good, header("Content-Type", "text/plain"), http.StatusUnsupportedMediaType},
		"NoMediaType":   {"/hooks/registry", good, func(req *http.Request) { req.Header.Del("Content-Type") }, http.StatusUnsupportedMediaType},
		"Method":        {"/hooks/registry", "", func(req *http.Request) { req.Method = http.MethodGet }, http.StatusMethodNotAllowed},
		"Path":          {"/hooks/other", "", nil, http.StatusNotFound},
		"GitUnknown":    {"/hooks/git/other", "", nil, http.StatusNotFound},
		"GitNoName":     {"/hooks/git/", "", nil, http.StatusNotFound},
		"GitTraversing": {"/hooks/git/..%2fshop", "", nil, http.StatusNotFound},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			change := tc.change
			if change == nil {
				change = func(*http.Request) {}
			}
			code, text := s.post(t, tc.path, tc.body, change)
			if code != tc.want {
				t.Errorf("%d %s, want %d", code, text, tc.want)
			}
			if strings.Contains(text, token) || len(text) > 500 {
				t.Errorf("the answer says too much: %s", text)
			}
			if hints := s.passed(t); len(hints) != 0 {
				t.Errorf("hints from a call that was refused: %v", hints)
			}
		})
	}
}

func TestAcceptedFormats(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, kind := range []string{v2, "application/vnd.docker.distribution.events.v1+json", "application/json; charset=utf-8"} {
		code, text := s.post(t, "/hooks/registry", envelope(), func(req *http.Request) {
			req.Header.Set("Content-Type", kind)
			req.Header.Set("Authorization", "bearer "+token)
		})
		if code != http.StatusAccepted {
			t.Errorf("%s: %d %s", kind, code, text)
		}
	}
}

func TestGitHintIgnoresTheBody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, body := range []string{"", "not json", strings.Repeat("x", 8<<20)} {
		if code, text := s.post(t, "/hooks/git/shop", body); code != http.StatusAccepted {
			t.Errorf("%d bytes: %d %s", len(body), code, text)
		}
	}
	if got := <-s.hints; got != "git shop" {
		t.Errorf("passed on: %q", got)
	}
}

// TestNeverWaitsForWhoTakesHints has a taker that never comes back.
func TestNeverWaitsForWhoTakesHints(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	hooks, err := webhook.New(webhook.Config{Callers: []webhook.Caller{{Name: "all", Tokens: []string{token}}}}, webhook.Deps{
		FollowsImage: func(string) bool { return true },
		HintImage:    func(string, string) { <-stuck },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = hooks.Run(ctx) })
	for n := range 500 {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks/registry", strings.NewReader(envelope(push("ghcr.io", "acme/api", fmt.Sprint(n)))))
		req.Header.Set("Content-Type", v2)
		req.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		hooks.ServeHTTP(rec, req)
		if rec.Code != http.StatusAccepted {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	cancel()
	close(stuck)
	wg.Wait()
}

// TestBodyIsNotReadBeforeTheToken speaks HTTP by hand: the body never comes.
func TestBodyIsNotReadBeforeTheToken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /hooks/registry HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer wrong\r\nContent-Type: %s\r\nContent-Length: 1000000\r\n\r\n", v2)
	status := make([]byte, len("HTTP/1.1 401"))
	if _, err := io.ReadFull(conn, status); err != nil || string(status) != "HTTP/1.1 401" {
		t.Errorf("answer %q, %v; want 401 without waiting for the body", status, err)
	}
}

func TestNewRefusesAnEmptyToken(t *testing.T) {
	t.Parallel()
	if _, err := webhook.New(webhook.Config{}, webhook.Deps{}); err == nil {
		t.Error("want an error")
	}
}

func TestAnswersAreJSON(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, text := s.post(t, "/hooks/registry", `{"events": "x"}`)
	var body struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil || !strings.Contains(body.Error, `"events"`) {
		t.Errorf("%s: %v; want a reason that names the field", text, err)
	}
}
