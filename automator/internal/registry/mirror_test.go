package registry_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/fault"
)

// mirrored returns a client of w that asks a mirror first.
func mirrored(t *testing.T, w, mirror *world, folder string, change ...func(*registry.Config, *registry.Host)) *registry.Client {
	t.Helper()
	cfg, host := registry.Config{}, registry.Host{Insecure: true, Mirrors: []string{mirror.host + folder}}
	for _, c := range change {
		c(&cfg, &host)
	}
	cfg.Hosts = map[string]registry.Host{w.host: host, mirror.host: {Insecure: true}}
	return newClient(t, cfg)
}

// short has every question end soon.
func short(cfg *registry.Config, _ *registry.Host) {
	cfg.Timeouts.Digest, cfg.Timeouts.List = config.Duration(4*time.Second), config.Duration(4*time.Second)
}

func all(*http.Request) bool { return true }

func TestAMirrorIsAskedFirst(t *testing.T) {
	t.Parallel()
	w, mirror := newWorld(t), newWorld(t)
	want := mirror.push("hub/acme/api", "1.0.0", "one")
	client := mirrored(t, w, mirror, "/hub")
	tags, complete, err := client.Tags(t.Context(), w.host+"/acme/api")
	if diff := cmp.Diff([]string{"1.0.0"}, tags); diff != "" || !complete || err != nil {
		t.Errorf("Tags(...): complete %v, error %v, -want, +got:\n%s", complete, err, diff)
	}
	if got, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); got != want || err != nil {
		t.Errorf("Digest(...): %q, %v, want %q", got, err, want)
	}
	if n := w.count(all); n != 0 {
		t.Errorf("%d requests at the registry itself", n)
	}
}

func TestTheRegistryStandsInForItsMirror(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]middleware{
		"Empty":   func(next http.Handler) http.Handler { return next },
		"Failing": on("", func(rw http.ResponseWriter, _ *http.Request) bool { rw.WriteHeader(http.StatusBadGateway); return true }),
		"Silent":  on("", func(_ http.ResponseWriter, req *http.Request) bool { <-req.Context().Done(); return true }),
		"Limited": on("", func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.WriteHeader(http.StatusTooManyRequests)
			return true
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, mirror := newWorld(t), newWorld(t, serve)
			want := w.push("acme/api", "1.0.0", "one")
			client := mirrored(t, w, mirror, "", short)
			if tags, complete, err := client.Tags(t.Context(), w.host+"/acme/api"); len(tags) != 1 || !complete || err != nil {
				t.Errorf("Tags(...): %v, complete %v, error %v", tags, complete, err)
			}
			if got, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); got != want || err != nil {
				t.Errorf("Digest(...): %q, %v, want %q", got, err, want)
			}
			_, err := client.Digest(t.Context(), w.host+"/acme/api", "2.0.0")
			if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), w.host) || !strings.Contains(err.Error(), mirror.host) {
				t.Errorf("Digest(...) of what nobody has: %v, want what both say, and the registry's kind", err)
			}
			if mirror.count(all) == 0 {
				t.Error("the mirror was not asked")
			}
		})
	}
}

func TestMirrorsOnly(t *testing.T) {
	t.Parallel()
	w, mirror := newWorld(t), newWorld(t)
	w.push("acme/api", "1.0.0", "one")
	before := w.count(all)
	client := mirrored(t, w, mirror, "", func(_ *registry.Config, h *registry.Host) { h.MirrorsOnly = true })
	if _, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); !fault.Is(err, fault.NotFound) {
		t.Errorf("Digest(...): %v, want that the mirror does not have it", err)
	}
	if n := w.count(all) - before; n != 0 {
		t.Errorf("%d requests at the registry itself", n)
	}
}

func TestAPartialListOfAMirrorDoesNotHideTheWholeOne(t *testing.T) {
	t.Parallel()
	w, mirror := newWorld(t), newWorld(t, on("/tags/list", func(rw http.ResponseWriter, req *http.Request) bool {
		if req.URL.Query().Get("more") != "" {
			rw.WriteHeader(http.StatusInternalServerError)
			return true
		}
		rw.Header().Set("Link", `</v2/acme/api/tags/list?more=1>; rel="next"`)
		_, _ = rw.Write([]byte(`{"name":"acme/api","tags":["0.1.0","0.2.0"]}`))
		return true
	}))
	w.push("acme/api", "1.0.0", "one")
	tags, complete, err := mirrored(t, w, mirror, "").Tags(t.Context(), w.host+"/acme/api")
	if diff := cmp.Diff([]string{"1.0.0"}, tags); diff != "" || !complete || err != nil {
		t.Errorf("Tags(...): complete %v, error %v, -want, +got:\n%s", complete, err, diff)
	}
}
