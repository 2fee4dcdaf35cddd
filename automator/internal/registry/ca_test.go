package registry_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
)

// rotating is a registry whose certificate is replaced.
type rotating struct {
	*world

	shown atomic.Pointer[tls.Certificate]
	made  atomic.Int32 // connections
}

func newRotating(t *testing.T) *rotating {
	t.Helper()
	r := &rotating{world: &world{t: t}}
	r.server = httptest.NewUnstartedServer(r.handler(nil))
	r.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*r.shown.Load()}}, nil
	}}
	r.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			r.made.Add(1)
		}
	}
	return r
}

// rotate has it show a certificate of a new CA from now on, and returns that CA in PEM.
func (r *rotating) rotate() string {
	r.t.Helper()
	ca, err := rpctest.NewCA(r.t.TempDir())
	if err != nil {
		r.t.Fatal(err)
	}
	files, err := ca.Server("registry")
	if err != nil {
		r.t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := os.ReadFile(files.CA)
	if err != nil {
		r.t.Fatal(err)
	}
	r.shown.Store(&pair)
	r.server.CloseClientConnections()
	return string(text)
}

// TestACAFileIsReadAgain when it changes, without a restart, and without dropping connections while it does not.
func TestACAFileIsReadAgain(t *testing.T) {
	t.Parallel()
	r := newRotating(t)
	first := r.rotate()
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	r.host = strings.TrimPrefix(r.server.URL, "https://")
	file := filepath.Join(t.TempDir(), "ca.crt")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(first)
	client := newClient(t, registry.Config{Hosts: map[string]registry.Host{r.host: {CAFile: file}}})
	asks := func(when, wrong string) {
		t.Helper()
		_, _, err := client.Tags(t.Context(), r.host+"/acme/api")
		if wrong == "" && !fault.Is(err, fault.NotFound) || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: %v, want %q", when, err, wrong)
		}
	}
	asks("with its CA", "")
	put(first)
	asks("after the same was written", "")
	if n := r.made.Load(); n != 1 {
		t.Errorf("%d connections while nothing changed, want 1", n)
	}
	second := r.rotate()
	put(first + second)
	asks("with both CAs, and its new certificate", "")
	put(first)
	asks("with the old CA again", "is not trusted, set its caFile")
	put("-----BEGIN CERT")
	asks("with half of a file", "is not asked: caFile: ")
	put(second)
	asks("with the new CA", "")
}
