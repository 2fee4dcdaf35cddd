package vault_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/automator/vaulttest"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

// connect asks a Vault on a real connection for the tests' secret.
func connect(t *testing.T, cfg vault.Config) error {
	t.Helper()
	cfg.Auth.AppRole = vault.AppRoleAuth{RoleID: "tandem", SecretIDFile: file(t, secretID)}
	log, _ := logtest.New(t)
	client, err := vault.New(cfg, vault.Deps{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	source, err := client.Source(vault.Secret{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Credentials(t.Context())
	return err
}

func newFake() *vaulttest.Fake {
	fake := vaulttest.New()
	fake.TakeLogin(loginAt, map[string]string{"role_id": "tandem", "secret_id": secretID}, granted(path))
	fake.PutKV2(path, map[string]any{"password": "of-the-registry"})
	return fake
}

func startTLS(t *testing.T, handler http.Handler) (server *httptest.Server, ca string) {
	t.Helper()
	server = httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return server, file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server, ca := startTLS(t, newFake())
	if err := connect(t, vault.Config{Address: server.URL, CAFile: ca}); err != nil {
		t.Errorf("with its CA: %v", err)
	}
	if err := connect(t, vault.Config{Address: server.URL}); !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without its CA: %v, want it refused for good", err)
	}
	if err := connect(t, vault.Config{Address: strings.Replace(server.URL, "https", "http", 1), Insecure: true}); err == nil {
		t.Error("plain HTTP is taken for TLS")
	}
	plain := httptest.NewServer(newFake())
	t.Cleanup(plain.Close)
	if err := connect(t, vault.Config{Address: strings.Replace(plain.URL, "http", "https", 1)}); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("without TLS: %v, want it refused for good", err)
	}
	plain.Close()
	if err := connect(t, vault.Config{Address: plain.URL, Insecure: true}); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v, want kind Unavailable", err)
	}
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	ca, err := rpctest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Server("vault")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(newFake())
	if server.TLS, err = files.Server(); err != nil {
		t.Fatal(err)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	mine, err := ca.Client(rpc.Identity{Role: rpc.RoleUser, Name: "tandem"})
	if err != nil {
		t.Fatal(err)
	}
	if err := connect(t, vault.Config{Address: server.URL, CAFile: files.CA, ClientCertFile: mine.Cert, ClientKeyFile: mine.Key}); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := connect(t, vault.Config{Address: server.URL, CAFile: files.CA}); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("without a certificate: %v, want it refused for good", err)
	}
}

// TestRedirects follows a standby node to the active one, and nobody to anywhere else.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var shown atomic.Bool
	trap := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Store(true)
		w.WriteHeader(http.StatusTeapot)
	})
	active, ca := startTLS(t, newFake())
	elsewhere, _ := startTLS(t, trap)
	plain := httptest.NewServer(trap)
	t.Cleanup(plain.Close)
	// The certificate of tests is for 127.0.0.1 and for example.com; a name of another host never gets as far as that.
	other := strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)
	tests := map[string]struct {
		to     string
		listed []string
		says   string
	}{
		"ActiveNode": {to: active.URL, listed: []string{"127.0.0.1"}},
		"OtherPort":  {to: elsewhere.URL, says: "name the host in redirectHosts"},
		"Elsewhere":  {to: other, says: "name the host in redirectHosts"},
		"Clear":      {to: plain.URL, says: "from https to http"},
		"Listed":     {to: other, listed: []string{"localhost"}, says: "certificate"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			standby := newFake()
			standby.StandBy(tc.to)
			server, _ := startTLS(t, standby) // all servers of httptest have the same certificate
			err := connect(t, vault.Config{Address: server.URL, CAFile: ca, RedirectHosts: tc.listed})
			if tc.says == "" && err != nil || tc.says != "" && (!fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("Credentials: %v, want %q", err, tc.says)
			}
		})
	}
	t.Cleanup(func() {
		if shown.Load() {
			t.Error("somebody else was shown what is secret")
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	role := vault.Auth{AppRole: vault.AppRoleAuth{RoleID: "tandem", SecretIDFile: "secret-id"}}
	tests := map[string]struct {
		cfg  vault.Config
		says string
	}{
		"None":            {cfg: vault.Config{}},
		"AppRole":         {cfg: vault.Config{Address: "https://vault.example.com:8200", Auth: role}},
		"Pod":             {cfg: vault.Config{Address: "https://vault.example.com", Auth: vault.Auth{Kubernetes: vault.JWTAuth{Role: "tandem"}}}},
		"Insecure":        {cfg: vault.Config{Address: "http://vault:8200", Insecure: true, Auth: role}},
		"NoAddress":       {cfg: vault.Config{Auth: role}, says: "address is missing"},
		"NoHosts":         {cfg: vault.Config{RedirectHosts: []string{}}},
		"OnlyNamespace":   {cfg: vault.Config{Namespace: "team"}, says: "address is missing"},
		"OnlyHosts":       {cfg: vault.Config{RedirectHosts: []string{"vault-1"}}, says: "address is missing"},
		"Clear":           {cfg: vault.Config{Address: "http://vault:8200", Auth: role}, says: "say insecure"},
		"NoURL":           {cfg: vault.Config{Address: "vault.example.com", Auth: role}, says: "not of the form"},
		"Path":            {cfg: vault.Config{Address: "https://vault.example.com/v1", Auth: role}, says: "not of the form"},
		"Password":        {cfg: vault.Config{Address: "https://a:b@vault.example.com", Auth: role}, says: "not of the form"},
		"Scheme":          {cfg: vault.Config{Address: "ftp://vault.example.com", Auth: role}, says: "neither"},
		"NoAuth":          {cfg: vault.Config{Address: "https://vault.example.com"}, says: "exactly one"},
		"TwoAuths":        {cfg: vault.Config{Address: "https://vault.example.com", Auth: vault.Auth{AppRole: role.AppRole, Token: vault.TokenAuth{File: "x"}}}, says: "exactly one"},
		"HalfRole":        {cfg: vault.Config{Address: "https://vault.example.com", Auth: vault.Auth{AppRole: vault.AppRoleAuth{RoleID: "x"}}}, says: "go together"},
		"JWTWithoutToken": {cfg: vault.Config{Address: "https://vault.example.com", Auth: vault.Auth{JWT: vault.JWTAuth{Role: "x"}}}, says: "go together"},
		"MountWithDots":   {cfg: vault.Config{Address: "https://vault.example.com", Auth: vault.Auth{JWT: vault.JWTAuth{Mount: "../sys", Role: "x", TokenFile: "x"}}}, says: "dots"},
		"HalfCertificate": {cfg: vault.Config{Address: "https://vault.example.com", Auth: role, ClientCertFile: "x"}, says: "go together"},
		"RedirectToURL":   {cfg: vault.Config{Address: "https://vault.example.com", Auth: role, RedirectHosts: []string{"https://x"}}, says: "redirectHosts"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.cfg.Validate()
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("Validate: %v, want %q", err, tc.says)
			}
		})
	}
}

func TestSecretNames(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		secret vault.Secret
		ok     bool
	}{
		"KV2":        {vault.Secret{Path: "secret/data/team/registry"}, true},
		"Email":      {vault.Secret{Path: "kv/robot@example.com"}, true},
		"NoPath":     {vault.Secret{PasswordField: "x"}, false},
		"Version":    {vault.Secret{Path: "v1/secret/data/x"}, false},
		"Slash":      {vault.Secret{Path: "/secret/data/x"}, false},
		"Dots":       {vault.Secret{Path: "secret/data/../../sys/x"}, false},
		"Query":      {vault.Secret{Path: "secret/data/x?version=1"}, false},
		"Escape":     {vault.Secret{Path: "secret/data/%2e%2e"}, false},
		"Line":       {vault.Secret{Path: "secret/data/x\ny"}, false},
		"BothFields": {vault.Secret{Path: "kv/x", PasswordField: "x", DockerConfigField: "y"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := tc.secret.Validate(); (err == nil) != tc.ok {
				t.Errorf("Validate: %v", err)
			}
		})
	}
}
