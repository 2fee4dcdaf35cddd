package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/automator/vaulttest"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

// server is a Vault with an auth method approle, a KV of version 2 at secret and one of version 1 at kv.
type server struct {
	address, roleID, secretID string
	putKV2                    func(path string, fields map[string]any)
	deleteKV2                 func(path string)
	putKV1                    func(path string, fields map[string]any)
	revoke                    func()
	seal                      func()
}

// readable are the paths that the role of a server may read.
var readable = []string{path, "secret/data/none", "secret/registry", "kv/registry"}

// TestContract is what the client makes of a Vault. The fake has to be as the real one.
func TestContract(t *testing.T) {
	t.Parallel()
	t.Run("Fake", func(t *testing.T) {
		t.Parallel()
		fake := vaulttest.New()
		fake.TakeLogin(loginAt, map[string]string{"role_id": "tandem", "secret_id": secretID}, vaulttest.Grant{TTL: time.Hour, Renewable: true, Read: readable})
		started := httptest.NewServer(fake)
		t.Cleanup(started.Close)
		contract(t, &server{
			address: started.URL, roleID: "tandem", secretID: secretID, putKV2: fake.PutKV2, deleteKV2: fake.DeleteKV2,
			putKV1: func(path string, fields map[string]any) { fake.PutKV1(path, fields, 0) }, revoke: fake.RevokeTokens, seal: func() { fake.Seal(true) },
		})
	})
	for _, program := range []string{"bao", "vault"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			at, err := exec.LookPath(program)
			if err != nil {
				t.Skipf("%s is not installed", program)
			}
			contract(t, startReal(t, at))
		})
	}
}

func contract(t *testing.T, s *server) {
	t.Helper()
	cfg := vault.Config{Address: s.address, Insecure: true}
	cfg.Auth.AppRole = vault.AppRoleAuth{RoleID: s.roleID, SecretIDFile: file(t, s.secretID)}
	log, _ := logtest.New(t)
	client, err := vault.New(cfg, vault.Deps{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	// Each secret is asked for by fields of its own, so that no answer is an older one.
	asks := func(secret vault.Secret, want string, kind fault.Kind) {
		t.Helper()
		source, err := client.Source(secret)
		if err != nil {
			t.Fatal(err)
		}
		got, err := source.Credentials(t.Context())
		if err == nil && got.Password != want || err != nil && (kind == fault.Internal || !fault.Is(err, kind) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %q, %v; want %q", secret, got.Password, err, want)
		}
	}
	s.putKV2(path, map[string]any{"password": "one", "token": "two", "more": "three"})
	s.putKV1("kv/registry", map[string]any{"password": "four"})
	asks(vault.Secret{Path: path}, "one", fault.Internal)
	asks(vault.Secret{Path: "kv/registry"}, "four", fault.Internal)
	asks(vault.Secret{Path: "secret/data/none"}, "no such secret", fault.Unauthorized)
	asks(vault.Secret{Path: "secret/registry"}, "MOUNT/data/NAME", fault.Unauthorized)
	asks(vault.Secret{Path: "secret/data/other"}, "capabilities", fault.Unauthorized)
	s.revoke()
	asks(vault.Secret{Path: path, PasswordField: "token"}, "two", fault.Internal)
	s.deleteKV2(path)
	asks(vault.Secret{Path: path, PasswordField: "more"}, "newest version of the secret is deleted", fault.Unauthorized)
	s.seal()
	asks(vault.Secret{Path: "kv/registry", PasswordField: "more"}, "sealed", fault.Unavailable)
}

// root is who sets a real server up.
const root = "root-of-the-test"

// startReal starts a server that keeps everything in memory, and lets a role read what the contract reads.
func startReal(t *testing.T, program string) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	started := exec.CommandContext(ctx, program, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id="+root, "-dev-listen-address="+address)
	var said bytes.Buffer
	started.Stdout, started.Stderr = &said, &said
	if err := started.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = started.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	r := running{t: t, address: "http://" + address}
	r.await()
	var policy strings.Builder
	for _, path := range readable {
		fmt.Fprintf(&policy, "path %q { capabilities = [\"read\"] }\n", path)
	}
	r.call(http.MethodPost, "sys/policies/acl/tandem", map[string]any{"policy": policy.String()})
	r.call(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	r.call(http.MethodPost, "sys/auth/approle", map[string]any{"type": "approle"})
	r.call(http.MethodPost, "auth/approle/role/tandem", map[string]any{"token_policies": "tandem", "token_ttl": "1h"})
	return &server{
		address:  r.address,
		roleID:   r.call(http.MethodGet, "auth/approle/role/tandem/role-id", nil)["role_id"].(string),
		secretID: r.call(http.MethodPost, "auth/approle/role/tandem/secret-id", nil)["secret_id"].(string),
		putKV2: func(path string, fields map[string]any) {
			r.call(http.MethodPost, path, map[string]any{"data": fields})
		},
		deleteKV2: func(path string) { r.call(http.MethodDelete, path, nil) },
		putKV1:    func(path string, fields map[string]any) { r.call(http.MethodPost, path, fields) },
		revoke:    func() { r.call(http.MethodPost, "sys/leases/revoke-prefix/auth/approle/login", nil) },
		seal:      func() { r.call(http.MethodPost, "sys/seal", nil) },
	}
}

// caller leaves no connection behind.
var caller = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// running is a server that was started.
type running struct {
	t       *testing.T
	address string
}

// await waits until it answers.
func (r running) await() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.address+"/v1/sys/health", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if resp, err := caller.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			r.t.Fatal("the server does not answer")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// call sends a request of who may do everything, and returns the data of the answer.
func (r running) call(method, path string, body any) map[string]any {
	r.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.address+"/v1/"+path, bytes.NewReader(encoded))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", root)
	resp, err := caller.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusBadRequest {
		r.t.Fatalf("%s %s: %s, %v: %s", method, path, resp.Status, err, answer)
	}
	var got struct{ Data map[string]any }
	_ = json.Unmarshal(answer, &got) // most have none
	return got.Data
}
