package registry_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
)

// tokenServer gives tokens at a host of another site, and counts who shows it credentials.
func tokenServer(t *testing.T) (realm string, shown *atomic.Int32) {
	t.Helper()
	shown = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" || req.Method == http.MethodPost {
			shown.Add(1)
		}
		_ = json.NewEncoder(rw).Encode(map[string]string{"token": "token"})
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/token", shown
}

// bearer wants a token of a realm.
func bearer(realm string) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if req.Method != http.MethodPut && req.Header.Get("Authorization") != "Bearer token" {
				rw.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="test"`)
				rw.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(rw, req)
		})
	}
}

func TestTokenServersElsewhere(t *testing.T) {
	t.Parallel()
	identity := `{"auths":{"HOST":{"identitytoken":"refresh"}}}`
	tests := map[string]struct {
		change  func(*testing.T, *registry.Host, string)
		refused bool
		shown   bool
	}{
		"Anonymous": {func(*testing.T, *registry.Host, string) {}, false, false},
		"Password": {func(t *testing.T, h *registry.Host, _ string) {
			t.Helper()
			h.Username, h.PasswordFile = "robot", write(t, "secret")
		}, true, false},
		"IdentityToken": {func(t *testing.T, h *registry.Host, host string) {
			t.Helper()
			h.DockerConfigFile = write(t, strings.Replace(identity, "HOST", host, 1))
		}, true, false},
		"PasswordForATrustedOne": {func(t *testing.T, h *registry.Host, _ string) {
			t.Helper()
			h.Username, h.PasswordFile, h.TokenServers = "robot", write(t, "secret"), []string{"localhost"}
		}, false, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			realm, shown := tokenServer(t)
			w := newWorld(t, bearer(realm))
			w.push("acme/api", "1.0.0", "one")
			_, err := w.client(func(h *registry.Host) { tc.change(t, h, w.host) }).Digest(t.Context(), w.host+"/acme/api", "1.0.0")
			if tc.refused && (err == nil || !strings.Contains(err.Error(), "tokenServers") || strings.Contains(err.Error(), "secret")) {
				t.Errorf("Digest(...): %v, want a refusal that says what to configure", err)
			}
			if !tc.refused && err != nil {
				t.Errorf("Digest(...): %v", err)
			}
			if (shown.Load() > 0) != tc.shown {
				t.Errorf("the token server was shown credentials %d times", shown.Load())
			}
		})
	}
}

// TestARefreshTokenFollowsNoRedirect has a token server that may have the token send it on.
func TestARefreshTokenFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	elsewhere, shown := tokenServer(t)
	var w *world
	w = newWorld(t, on("/token", func(rw http.ResponseWriter, req *http.Request) bool {
		http.Redirect(rw, req, elsewhere, http.StatusTemporaryRedirect)
		return true
	}), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			bearer("http://"+w.host+"/token")(next).ServeHTTP(rw, req)
		})
	})
	docker := write(t, `{"auths":{"`+w.host+`":{"identitytoken":"refresh"}}}`)
	_, err := w.client(func(h *registry.Host) { h.DockerConfigFile = docker }).Digest(t.Context(), w.host+"/acme/api", "1.0.0")
	if err == nil || shown.Load() != 0 {
		t.Errorf("Digest(...): %v; the refresh token was shown %d times elsewhere", err, shown.Load())
	}
}

func TestADigestThatIsNotWhatWasSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, on("/manifests/1.0.0", func(rw http.ResponseWriter, req *http.Request) bool {
		if req.Method == http.MethodHead || req.Method == http.MethodPut {
			return false
		}
		rw.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		rw.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		_, _ = rw.Write([]byte(`{"schemaVersion":2}`))
		return true
	}))
	w.push("acme/api", "1.0.0", "one")
	if image, err := w.client().Inspect(t.Context(), w.host+"/acme/api", "1.0.0"); err == nil {
		t.Errorf("Inspect(...): %+v, want an error", image)
	}
}

func TestConfigOfMirrorsAndClouds(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]registry.Host{
		"UnknownProvider":       {Provider: "oracle"},
		"ProviderAndPassword":   {Provider: "azure", Username: "robot", PasswordFile: "f"},
		"ProviderOverHTTP":      {Provider: "azure", Insecure: true},
		"KeyWithoutCertificate": {ClientKeyFile: "f"},
		"CertificateOverHTTP":   {Insecure: true, ClientCertFile: "f", ClientKeyFile: "f"},
		"NoMirrors":             {MirrorsOnly: true},
		"NoHost":                {Mirrors: []string{"docker-hub"}},
		"TooMany":               {Mirrors: []string{"a.test", "b.test", "c.test", "d.test", "e.test"}},
		"TokenServerWithPort":   {TokenServers: []string{"auth.test:443"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := registry.New(registry.Config{Hosts: map[string]registry.Host{"acme.azurecr.io": host}}); err == nil {
				t.Error("New(...): want an error")
			}
		})
	}
}

// TestACloudGivesCredentials takes a cloud that gives a password to whoever asks.
func TestACloudGivesCredentials(t *testing.T) {
	t.Parallel()
	var password atomic.Value
	password.Store("of-the-cloud")
	w := &world{t: t}
	w.server = httptest.NewTLSServer(w.handler([]middleware{basic(&password)}))
	t.Cleanup(w.server.Close)
	w.host = strings.TrimPrefix(w.server.URL, "https://")
	ca := write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw})))
	var refused atomic.Bool
	issue := func(context.Context) (shortlived.Credentials, error) {
		if refused.Load() {
			return shortlived.Credentials{}, errors.New("no role")
		}
		return shortlived.Credentials{Username: "robot", Password: password.Load().(string), Expires: time.Now().Add(time.Hour)}, nil
	}
	cfg := registry.Config{
		Hosts: map[string]registry.Host{w.host: {CAFile: ca, Provider: "fake"}},
		Cloud: func(provider, host string) (*shortlived.Source, error) {
			if provider != "fake" || host != w.host {
				t.Errorf("credentials of %s for %s are asked for", provider, host)
			}
			return shortlived.New("credentials of the test", issue), nil
		},
	}
	client := newClient(t, cfg)
	if _, _, err := client.Tags(t.Context(), w.host+"/acme/api"); !fault.Is(err, fault.NotFound) {
		t.Errorf("Tags(...): %v, want the registry's answer", err)
	}
	password.Store("another")
	if _, _, err := client.Tags(t.Context(), w.host+"/acme/api"); !fault.Is(err, fault.NotFound) {
		t.Errorf("Tags(...): %v; credentials that changed need no restart", err)
	}
	refused.Store(true)
	if _, _, err := newClient(t, cfg).Tags(t.Context(), w.host+"/acme/api"); !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "no role") {
		t.Errorf("Tags(...): %v, want what the cloud said", err)
	}
}
