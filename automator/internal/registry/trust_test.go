package registry_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/shared/fault"
)

// basic asks for user robot with a password.
func basic(password *atomic.Value) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			user, given, _ := req.BasicAuth()
			if user != "robot" || given != password.Load() {
				rw.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				rw.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(rw, req)
		})
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	var password atomic.Value
	password.Store("secret")
	w := newWorld(t, basic(&password))
	w.push("acme/api", "1.0.0", "one")

	if _, _, err := w.client().Tags(t.Context(), w.host+"/acme/api"); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("without credentials: %v, want unauthorized", err)
	}
	docker := write(t, fmt.Sprintf(`{"auths":{"http://%s":{"username":"robot","password":"secret"}}}`, w.host))
	if _, _, err := w.client(func(h *registry.Host) { h.DockerConfigFile = docker }).Tags(t.Context(), w.host+"/acme/api"); err != nil {
		t.Errorf("with a Docker config: %v", err)
	}
	file := write(t, "secret\n")
	client := w.client(func(h *registry.Host) { h.Username, h.PasswordFile = "robot", file })
	if _, _, err := client.Tags(t.Context(), w.host+"/acme/api"); err != nil {
		t.Errorf("with username and password: %v", err)
	}
	password.Store("rotated")
	if _, _, err := client.Tags(t.Context(), w.host+"/acme/api"); !fault.Is(err, fault.Unauthorized) || strings.Contains(err.Error(), "secret") {
		t.Errorf("with an old password: %v, want unauthorized without the password in the text", err)
	}
	if err := os.WriteFile(file, []byte("rotated"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Tags(t.Context(), w.host+"/acme/api"); err != nil {
		t.Errorf("a rotated password file needs no restart: %v", err)
	}
}

func TestBearerTokens(t *testing.T) {
	t.Parallel()
	var token atomic.Value
	token.Store("first")
	var w *world
	w = newWorld(t,
		func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/token" {
					user, given, _ := req.BasicAuth()
					if user != "robot" || given != "secret" {
						rw.WriteHeader(http.StatusUnauthorized)
						return
					}
					_ = json.NewEncoder(rw).Encode(map[string]string{"token": token.Load().(string)})
					return
				}
				if req.Method != http.MethodPut && req.Header.Get("Authorization") != "Bearer "+token.Load().(string) {
					rw.Header().Set("WWW-Authenticate", `Bearer realm="http://`+w.host+`/token",service="test"`)
					rw.WriteHeader(http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(rw, req)
			})
		})
	w.push("acme/api", "1.0.0", "one")
	client := w.client(func(h *registry.Host) { h.Username, h.PasswordFile = "robot", write(t, "secret") })
	for range 3 {
		if _, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); err != nil {
			t.Fatal(err)
		}
	}
	tokens := func() int { return w.count(func(r *http.Request) bool { return r.URL.Path == "/token" }) }
	if tokens() != 1 {
		t.Errorf("%d tokens for three questions, want 1", tokens())
	}
	token.Store("second")
	if _, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); err != nil {
		t.Errorf("an expired token is renewed: %v", err)
	}
	if tokens() != 2 {
		t.Errorf("%d tokens after one expired, want 2", tokens())
	}
}

func TestCredentialsStayWithTheirHost(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, req.Header.Get("Authorization"))
		_, _ = rw.Write([]byte(`{"tags":["1.0.0"]}`))
	}))
	t.Cleanup(other.Close)
	var password atomic.Value
	password.Store("secret")
	w := newWorld(t, on("/tags/list", func(rw http.ResponseWriter, req *http.Request) bool {
		http.Redirect(rw, req, other.URL+"/v2/acme/api/tags/list", http.StatusTemporaryRedirect)
		return true
	}), basic(&password))
	client := w.client(func(h *registry.Host) { h.Username, h.PasswordFile = "robot", write(t, "secret") })
	if _, _, err := client.Tags(t.Context(), w.host+"/acme/api"); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{""}, seen); diff != "" {
		t.Errorf("credentials at another host: -want, +got:\n%s", diff)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	to := func(target string) middleware {
		return on("/tags/list", func(rw http.ResponseWriter, req *http.Request) bool {
			http.Redirect(rw, req, target, http.StatusTemporaryRedirect)
			return true
		})
	}
	tests := map[string]middleware{
		"Loop":     to("/v2/acme/api/tags/list"),
		"Address":  to("http://169.254.169.254/latest/meta-data"),
		"Loopback": to("http://[::1]:1/"),
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, serve)
			if _, _, err := w.client().Tags(t.Context(), w.host+"/acme/api"); err == nil {
				t.Fatal("want an error")
			}
			if n := w.count(func(*http.Request) bool { return true }); n > 10 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

func TestPlainHTTPOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	var password atomic.Value
	password.Store("secret")
	w := newWorld(t, basic(&password))
	client := newClient(t, registry.Config{Hosts: map[string]registry.Host{w.host: {Username: "robot", PasswordFile: write(t, "secret")}}})
	_, _, err := client.Tags(t.Context(), w.host+"/acme/api")
	if err == nil || !strings.Contains(err.Error(), "insecure") {
		t.Errorf("Tags(...): %v, want advice about insecure", err)
	}
	if n := w.count(func(r *http.Request) bool { return r.TLS == nil }); n != 0 {
		t.Errorf("%d requests went over plain HTTP", n)
	}
}

func TestPrivateCertificates(t *testing.T) {
	t.Parallel()
	w := &world{t: t}
	w.server = httptest.NewTLSServer(w.handler(nil))
	t.Cleanup(w.server.Close)
	w.host = strings.TrimPrefix(w.server.URL, "https://")
	want := w.push("acme/api", "1.0.0", "one")

	_, err := newClient(t, registry.Config{}).Digest(t.Context(), w.host+"/acme/api", "1.0.0")
	if err == nil || !strings.Contains(err.Error(), "caFile") {
		t.Errorf("an unknown certificate: %v, want advice about caFile", err)
	}
	ca := write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw})))
	trusting := newClient(t, registry.Config{Hosts: map[string]registry.Host{w.host: {CAFile: ca}}})
	if got, err := trusting.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); err != nil || got != want {
		t.Errorf("Digest(...): %q, %v, want %q", got, err, want)
	}
	broken := newClient(t, registry.Config{Hosts: map[string]registry.Host{w.host: {CAFile: write(t, "nothing")}}})
	if _, err := broken.Digest(t.Context(), w.host+"/acme/api", "1.0.0"); err == nil || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("a CA file without certificates: %v", err)
	}
}
