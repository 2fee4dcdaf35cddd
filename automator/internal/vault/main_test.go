package vault_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/automator/vaulttest"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	path     = "secret/data/registry"
	secretID = "5ecret-1d-of-the-role"
	loginAt  = "auth/approle/login"
)

// granted is what the tests' role may.
func granted(paths ...string) vaulttest.Grant {
	return vaulttest.Grant{TTL: 20 * 60e9, Renewable: true, Read: paths}
}

// fixture is a client and the fake that it asks, over pipes in memory, so that both live in the time of a bubble.
type fixture struct {
	*vault.Client

	fake    *vaulttest.Fake
	logs    *observer.ObservedLogs
	metrics *prometheus.Registry
	proof   string // the file of the secret id
}

func newFixture(t *testing.T, change ...func(*vault.Config)) *fixture {
	t.Helper()
	f := &fixture{fake: vaulttest.New(), metrics: prometheus.NewRegistry(), proof: file(t, secretID)}
	f.fake.TakeLogin(loginAt, map[string]string{"role_id": "tandem", "secret_id": secretID}, granted(path))
	f.fake.PutKV2(path, map[string]any{"username": "robot", "password": "of-the-registry"})
	cfg := vault.Config{Address: "http://vault.test", Insecure: true}
	cfg.Auth.AppRole = vault.AppRoleAuth{RoleID: "tandem", SecretIDFile: f.proof}
	for _, how := range change {
		how(&cfg)
	}
	log, logs := logtest.New(t)
	client, err := vault.New(cfg, vault.Deps{Log: log, Metrics: f.metrics})
	if err != nil {
		t.Fatal(err)
	}
	f.Client, f.logs = client, logs
	client.DialWith(inMemory(t, f.fake))
	return f
}

// source is that of a secret.
func (f *fixture) source(t *testing.T, secret vault.Secret) *shortlived.Source {
	t.Helper()
	source, err := f.Source(secret)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// password is what the tests' secret has now, by the client.
func (f *fixture) password(t *testing.T) string {
	t.Helper()
	got, err := f.source(t, vault.Secret{Path: path}).Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got.Password
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	rewrite(t, name, text)
	return name
}

func rewrite(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

var errClosed = errors.New("closed")

// inMemory serves a handler until the test ends, and returns what connects to it.
func inMemory(t *testing.T, handler http.Handler) func() (net.Conn, error) {
	t.Helper()
	return serveInMemory(t, handler, (*http.Server).Serve)
}

func serveInMemory(t *testing.T, handler http.Handler, serve func(*http.Server, net.Listener) error) func() (net.Conn, error) {
	t.Helper()
	listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = serve(server, listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return func() (net.Conn, error) {
		mine, theirs := net.Pipe()
		select {
		case listener.conns <- theirs:
			return mine, nil
		case <-listener.closed:
			return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errClosed}
		}
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, errClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
