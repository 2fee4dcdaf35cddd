package vault_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/automator/vaulttest"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
)

// TestWhatAnswersInVaultsPlace ends nothing that was read before: only Vault itself does, in its own words.
func TestWhatAnswersInVaultsPlace(t *testing.T) {
	t.Parallel()
	page := func(status int) func(*testing.T, *fixture) {
		return instead(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, "<html>who are you?</html>")
		})
	}
	json := func(status int, text string) func(*testing.T, *fixture) {
		return instead(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, text)
		})
	}
	for name, happens := range map[string]func(*testing.T, *fixture){
		"Page":          page(http.StatusOK),
		"PageNotFound":  page(http.StatusNotFound),
		"PageForbidden": page(http.StatusForbidden),
		"OtherAPI":      json(http.StatusNotFound, `{"message": "no such route"}`),
		"OtherRegistry": json(http.StatusNotFound, `{"errors": [{"code": "NAME_UNKNOWN"}]}`),
		"NothingInIt":   json(http.StatusOK, `{}`),
		"TooLarge":      json(http.StatusOK, strings.Repeat(" ", 2*vault.MaxAnswerBytes)),
		"Moved":         instead(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }),
		"ToAnotherSite": instead(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example", http.StatusTemporaryRedirect)
		}),
		"ProofIsGone": func(t *testing.T, f *fixture) {
			if err := os.Remove(f.proof); err != nil {
				t.Fatal(err)
			}
			f.fake.RevokeTokens()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.password(t)
				happens(t, f)
				for range 10 { // beyond the end of the token
					<-time.After(vault.ReadEvery)
					if got := f.password(t); got != "of-the-registry" {
						t.Fatalf("the password is %q", got)
					}
				}
				if len(f.Problems()) == 0 {
					t.Error("nobody is told")
				}
			})
		})
	}
}

// instead has something else answer in Vault's place.
func instead(answers http.HandlerFunc) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) { f.DialWith(inMemory(t, answers)) }
}

// TestATokenInAFileIsNotTakenForEndless when something answers its renewal with nothing: it would not be renewed in time.
func TestATokenInAFileIsNotTakenForEndless(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(cfg *vault.Config) { cfg.Auth = vault.Auth{Token: vault.TokenAuth{File: file(t, "hvs.agents")}} })
		f.fake.TakeToken("hvs.agents", vaulttest.Grant{TTL: 10 * time.Minute, Renewable: true, Read: []string{path}})
		var away atomic.Bool
		node, other := inMemory(t, f.fake), inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
		f.DialWith(func() (net.Conn, error) {
			if away.Load() {
				return other()
			}
			return node()
		})
		f.keep(t)
		<-time.After(4 * time.Minute)
		away.Store(true)
		<-time.After(2 * time.Minute)
		away.Store(false)
		<-time.After(time.Hour)
		f.password(t)
	})
}

// TestACertificateThatIsNotTrusted ends nothing either, nor does a file of certificates that is being replaced.
func TestACertificateThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := authority(t), authority(t)
		f := newFixture(t, func(cfg *vault.Config) { cfg.Address, cfg.CAFile = "https://localhost", mine.CA })
		f.DialWith(inMemoryTLS(t, f.fake, mine))
		keeps := func(when string) {
			t.Helper()
			<-time.After(vault.ReadEvery)
			got := f.password(t)
			<-time.After(vault.RequestTimeout) // in a pipe, who sends an alert waits for who sends the rest of a handshake
			if got != "of-the-registry" || len(f.Problems()) == 0 {
				t.Fatalf("%s: the password is %q, problems %+v", when, got, f.Problems())
			}
		}
		f.password(t)
		f.DialWith(inMemoryTLS(t, f.fake, theirs))
		keeps("with another certificate")
		f.DialWith(inMemoryTLS(t, f.fake, mine))
		rewrite(t, mine.CA, "-----BEGIN CERT")
		keeps("with half of a file of certificates")
	})
}

func authority(t *testing.T) rpc.TLSFiles {
	t.Helper()
	ca, err := rpctest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Server("vault")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// inMemoryTLS is inMemory with a certificate.
func inMemoryTLS(t *testing.T, handler http.Handler, files rpc.TLSFiles) func() (net.Conn, error) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	return serveInMemory(t, handler, func(server *http.Server, listener net.Listener) error {
		return server.Serve(tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}))
	})
}
