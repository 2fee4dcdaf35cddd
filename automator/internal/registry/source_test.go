package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
)

// vaultOf is a Vault with one secret, whose password is what a value holds.
type vaultOf struct {
	password atomic.Value
	username string
	err      error
	issued   atomic.Int32
}

func (v *vaultOf) source(registry.Secret) (*shortlived.Source, error) {
	return shortlived.New("secret/data/x of Vault", func(context.Context) (shortlived.Credentials, error) {
		v.issued.Add(1)
		if v.err != nil {
			return shortlived.Credentials{}, v.err
		}
		return shortlived.Credentials{Username: v.username, Password: v.password.Load().(string)}, nil
	}), nil
}

func (v *vaultOf) client(t *testing.T, w *world, host registry.Host) *registry.Client {
	t.Helper()
	host.Insecure = true
	return newClient(t, registry.Config{Hosts: map[string]registry.Host{w.host: host}, Vault: v.source})
}

// tokens is a registry that wants a token of its server, which wants the password, and says 403 to another one.
func tokens(password *atomic.Value) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			_, given, _ := req.BasicAuth()
			wanted := password.Load().(string)
			switch {
			case req.URL.Path == "/token" && given == wanted:
				fmt.Fprintf(rw, `{"token":"of %s"}`, wanted)
			case req.URL.Path == "/token":
				rw.WriteHeader(http.StatusForbidden)
			case req.Header.Get("Authorization") != "Bearer of "+wanted:
				rw.Header().Set("WWW-Authenticate", `Bearer realm="http://`+req.Host+`/token",service="test"`)
				rw.WriteHeader(http.StatusUnauthorized)
			default:
				next.ServeHTTP(rw, req)
			}
		})
	}
}

// TestARotatedPasswordIsTaken asks for another password within the same question, and not again and again for somebody who
// refuses all.
func TestARotatedPasswordIsTaken(t *testing.T) {
	t.Parallel()
	for name, wants := range map[string]func(*atomic.Value) middleware{"Basic": basic, "Tokens": tokens} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wanted atomic.Value
			wanted.Store("first-password")
			v := &vaultOf{}
			v.password.Store("first-password")
			w := newWorld(t, wants(&wanted))
			client := v.client(t, w, registry.Host{Username: "robot", Vault: registry.Secret{Path: "secret/data/x"}})
			ask := func() error {
				_, _, err := client.Tags(t.Context(), w.host+"/acme/api")
				return err
			}
			if err := ask(); !fault.Is(err, fault.NotFound) {
				t.Fatalf("Tags(...): %v, want the registry's answer", err)
			}
			wanted.Store("second-password")
			v.password.Store("second-password")
			if err := ask(); !fault.Is(err, fault.NotFound) || v.issued.Load() != 2 {
				t.Errorf("Tags(...) after the password was rotated: %v, %d issues", err, v.issued.Load())
			}
			wanted.Store("nobody has it")
			for range 3 {
				if err := ask(); !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "secret/data/x") {
					t.Errorf("Tags(...) with a password that is not taken: %v, want whence it is", err)
				}
			}
			if n := v.issued.Load(); n != 2 {
				t.Errorf("%d issues for a registry that refuses everything, want 2", n)
			}
		})
	}
}

// TestPassingTroubleOfAVault keeps its kind.
func TestPassingTroubleOfAVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, kind := range []fault.Kind{fault.Unavailable, fault.Unauthorized} {
		v := &vaultOf{err: fault.New(kind, "says so")}
		client := v.client(t, w, registry.Host{Username: "robot", Vault: registry.Secret{Path: "secret/data/x"}})
		if _, _, err := client.Tags(t.Context(), w.host+"/acme/api"); !fault.Is(err, kind) || !strings.Contains(err.Error(), "secret/data/x of Vault: says so") {
			t.Errorf("Tags(...): %v, want kind %s", err, kind)
		}
	}
}

// TestSecretsOfAVault finds the name in the secret, in the configuration, or in a Docker config.json.
func TestSecretsOfAVault(t *testing.T) {
	t.Parallel()
	var wanted atomic.Value
	wanted.Store("right-password")
	w := newWorld(t, basic(&wanted))
	for name, tc := range map[string]struct {
		host               registry.Host
		username, password string
	}{
		"Name":         {registry.Host{Vault: registry.Secret{Path: "x", UsernameField: "user"}}, "robot", "right-password"},
		"NameWritten":  {registry.Host{Username: "robot", Vault: registry.Secret{Path: "x"}}, "", "right-password"},
		"DockerConfig": {registry.Host{Vault: registry.Secret{Path: "x", DockerConfigField: "config"}}, "", `{"auths":{"` + w.host + `":{"username":"robot","password":"right-password"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := &vaultOf{username: tc.username}
			v.password.Store(tc.password)
			if _, _, err := v.client(t, w, tc.host).Tags(t.Context(), w.host+"/acme/api"); !fault.Is(err, fault.NotFound) {
				t.Errorf("Tags(...): %v, want the registry's answer", err)
			}
		})
	}
}

func TestCredentialsComeFromOnePlace(t *testing.T) {
	t.Parallel()
	secret := registry.Secret{Path: "secret/data/x"}
	for name, host := range map[string]registry.Host{
		"VaultAndFile":         {Username: "robot", PasswordFile: "password", Vault: secret},
		"VaultAndDockerConfig": {DockerConfigFile: "config.json", Vault: registry.Secret{Path: "x", UsernameField: "user"}},
		"VaultAndProvider":     {Username: "robot", Provider: "aws", Vault: secret},
		"NobodysPassword":      {Vault: secret},
		"TwoNames":             {Username: "robot", Vault: registry.Secret{Path: "x", UsernameField: "user"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := registry.New(registry.Config{Hosts: map[string]registry.Host{"registry.test": host}, Vault: (&vaultOf{}).source}); err == nil {
				t.Error("New(...): no error")
			}
		})
	}
	if _, err := registry.New(registry.Config{Hosts: map[string]registry.Host{"registry.test": {Username: "robot", Vault: secret}}}); err == nil {
		t.Error("New(...) without a Vault: no error")
	}
}
