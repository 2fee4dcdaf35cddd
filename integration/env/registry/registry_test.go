package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	repo  = "team/app"
	token = "Bearer of-the-hook"
)

func TestMain(m *testing.M) {
	var known []goleak.Option
	for _, function := range registry.LeakedGoroutines() {
		known = append(known, goleak.IgnoreAnyFunction(function))
	}
	goleak.VerifyTestMain(m, known...)
}

func start(t *testing.T, opts registry.Options) *registry.Registry {
	t.Helper()
	reg, err := registry.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reg.Stop(); err != nil {
			t.Errorf("Stop(): %v", err)
		}
	})
	return reg
}

func push(t *testing.T, reg *registry.Registry, tag string, image registry.Image) registry.Pushed {
	t.Helper()
	pushed, err := reg.Push(t.Context(), repo, tag, image)
	if err != nil {
		t.Fatalf("Push(...): %v", err)
	}
	return pushed
}

// options are those of a client other than the registry's own.
func options(t *testing.T) []remote.Option {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return []remote.Option{remote.WithContext(t.Context()), remote.WithTransport(transport)}
}

func repository(t *testing.T, reg *registry.Registry) name.Repository {
	t.Helper()
	repository, err := name.NewRepository(reg.Repository(repo))
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

func TestPush(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{})
	before := time.Now()
	pushed := push(t, reg, "1.0.0", registry.Image{Labels: map[string]string{"commit": "abc"}})
	if pushed.At.Before(before) || pushed.At.After(time.Now()) {
		t.Errorf("Push(...).At: %v, want a moment of the push", pushed.At)
	}
	ref, err := name.ParseReference(pushed.Reference())
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(ref, options(t)...)
	if err != nil {
		t.Fatalf("pull %s: %v", ref, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"commit": "abc"}, config.Config.Labels); diff != "" {
		t.Errorf("labels: -want, +got:\n%s", diff)
	}
	resolved, err := reg.Resolve(t.Context(), pushed.Repository+":1.0.0")
	if err != nil || resolved != pushed.Digest {
		t.Errorf("Resolve(...): %s, %v, want %s", resolved, err, pushed.Digest)
	}
}

func TestSeedDecidesDigest(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{})
	first, again := push(t, reg, "a", registry.Image{Seed: 1}), push(t, reg, "b", registry.Image{Seed: 1})
	other, another := push(t, reg, "c", registry.Image{}), push(t, reg, "c", registry.Image{})
	if first.Digest != again.Digest || first.Digest == other.Digest || other.Digest == another.Digest {
		t.Errorf("digests: %s and %s of a seed, %s and %s without; want only the first two alike",
			first.Digest, again.Digest, other.Digest, another.Digest)
	}
}

func TestPushOfPlatforms(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{})
	want := []string{"linux/amd64", "linux/arm64/v8"}
	pushed := push(t, reg, "1.0.0", registry.Image{Platforms: want})
	ref, err := name.ParseReference(pushed.Repository + "@" + pushed.Digest)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref, options(t)...)
	if err != nil {
		t.Fatalf("pull %s: %v", ref, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range manifest.Manifests {
		got = append(got, m.Platform.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("platforms: -want, +got:\n%s", diff)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{Dir: t.TempDir()})
	push(t, reg, "1", registry.Image{})
	push(t, reg, "2", registry.Image{})
	if err := reg.Delete(t.Context(), repo, "1"); err != nil {
		t.Fatalf("Delete(...): %v", err)
	}
	got, err := remote.List(repository(t, reg), options(t)...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2"}, got); diff != "" {
		t.Errorf("tags: -want, +got:\n%s", diff)
	}
}

func TestPagination(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{PageSize: 2})
	var want []string
	for i := range 5 {
		want = append(want, push(t, reg, fmt.Sprintf("v%d", i), registry.Image{Seed: 1}).Tag)
	}
	pages := reg.Inject(registry.Fault{Match: registry.To(http.MethodGet, "/tags/list")})
	got, err := remote.List(repository(t, reg), options(t)...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tags: -want, +got:\n%s", diff)
	}
	if pages.Hits() != 3 {
		t.Errorf("%d requests for 5 tags in pages of 2, want 3", pages.Hits())
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{Username: "bot", Password: "secret"})
	push(t, reg, "1", registry.Image{})
	_, err := remote.List(repository(t, reg), options(t)...)
	if got := status(err); got != http.StatusUnauthorized {
		t.Errorf("list without credentials: %v, want status 401", err)
	}
}

// status is what the registry answered a failed request with.
func status(err error) int {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return 0
	}
	return answer.StatusCode
}

func get(t *testing.T, url string) *http.Response {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestInjectAnswersSomeRequests(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{})
	push(t, reg, "1", registry.Image{})
	const pathEnd = "/" + repo + "/tags/list"
	fault := reg.Inject(registry.Fault{
		Match: registry.To(http.MethodGet, pathEnd), Times: 1,
		Status: http.StatusTooManyRequests, RetryAfter: 3 * time.Second,
	})
	url := "http://" + reg.Host() + "/v2" + pathEnd
	first := get(t, url)
	if first.StatusCode != http.StatusTooManyRequests || first.Header.Get("Retry-After") != "3" {
		t.Errorf("first answer: %s after %q, want 429 after 3", first.Status, first.Header.Get("Retry-After"))
	}
	if second := get(t, url); second.StatusCode != http.StatusOK || fault.Hits() != 1 {
		t.Errorf("second answer: %s with %d hits, want 200 with 1", second.Status, fault.Hits())
	}
}

func TestInjectRemoved(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{})
	fault := reg.Inject(registry.Fault{Status: http.StatusInternalServerError})
	url := "http://" + reg.Host() + "/v2/"
	if got := get(t, url); got.StatusCode != http.StatusInternalServerError {
		t.Errorf("with the fault: %s, want 500", got.Status)
	}
	fault.Remove()
	if got := get(t, url); got.StatusCode != http.StatusOK {
		t.Errorf("without the fault: %s, want 200", got.Status)
	}
}

func TestInjectHolds(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{})
	push(t, reg, "1", registry.Image{})
	taken, release := make(chan struct{}), make(chan struct{})
	reg.Inject(registry.Fault{
		Match: func(*http.Request) bool { close(taken); return true },
		Times: 1, Hold: release,
	})
	result := make(chan error, 1)
	go func() {
		_, err := reg.Resolve(t.Context(), reg.Repository(repo)+":1")
		result <- err
	}()
	<-taken
	select {
	case err := <-result:
		t.Errorf("Resolve(...): answered with %v, want it held", err)
	default:
	}
	close(release)
	if err := <-result; err != nil {
		t.Errorf("Resolve(...): %v", err)
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	bodies, answers := make(chan []byte), make(chan int)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		if r.Header.Get("Authorization") != token || json.NewDecoder(r.Body).Decode(&body) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		select {
		case bodies <- body:
			w.WriteHeader(<-answers)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hook.Close)
	reg := start(t, registry.Options{})
	push(t, reg, "unheard", registry.Image{})
	reg.Notify(registry.Webhook{URL: hook.URL, Header: http.Header{"Authorization": {token}}})

	result := make(chan registry.Pushed, 1)
	go func() {
		pushed, _ := reg.Push(t.Context(), repo, "heard", registry.Image{}) // checked below
		result <- pushed
	}()
	// The first answer fails, so the registry itself says it again. Layers are
	// notified too, ahead of the manifest.
	first := nextTag(t, bodies, answers, http.StatusServiceUnavailable)
	second := nextTag(t, bodies, answers, http.StatusOK)
	reg.Notify(registry.Webhook{})
	pushed := <-result
	want := target{Repository: repo, Tag: "heard", Digest: pushed.Digest}
	if first != want || second != want {
		t.Errorf("notifications: %+v, then %+v, want twice %+v", first, second, want)
	}
}

type target struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Digest     string `json:"digest"`
}

// nextTag takes notifications until one of a tag's push, and gives that one
// the answer.
func nextTag(t *testing.T, bodies <-chan []byte, answers chan<- int, answer int) target {
	t.Helper()
	for body := range bodies {
		var envelope struct {
			Events []struct {
				Action string `json:"action"`
				Target target `json:"target"`
			} `json:"events"`
		}
		if err := json.Unmarshal(body, &envelope); err != nil {
			t.Fatal(err)
		}
		event := envelope.Events[0]
		if event.Action == "push" && event.Target.Tag == "heard" {
			answers <- answer
			return event.Target
		}
		answers <- http.StatusOK
	}
	return target{}
}
