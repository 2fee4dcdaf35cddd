// Package githosttest stands for Git hosts whose APIs cannot be had in a test.
package githosttest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// What the fake knows.
const (
	AppID        = "Iv23liTest"
	Installation = "424242"
	Repository   = "acme/deploy"
	// Remote is an address of the repository; Git is not spoken there.
	Remote = "https://git.example.com/" + Repository + ".git"
)

// FakeGitHub stands for the API of GitHub as its documentation describes it: it gives tokens to who proves to be the App,
// and makes commits in a real bare repository.
type FakeGitHub struct {
	*httptest.Server

	// Dir is the bare repository; without one the host makes no commits.
	Dir string
	// Signer signs the commits, as GitHub does with its own key; nil leaves them unsigned.
	Signer gitobject.Signer
	// Mangle changes a commit before it is stored, as no host should.
	Mangle func(*gitobject.Commit)

	tb  testing.TB
	key *rsa.PublicKey

	mu        sync.Mutex
	issued    int
	expired   int // tokens up to this one do not count any more
	commits   int // how often a commit was asked for
	intercept http.HandlerFunc
}

// New starts a fake that knows the App by a key; it ends with the test.
func New(tb testing.TB, key *rsa.PublicKey, dir string) *FakeGitHub {
	tb.Helper()
	f := &FakeGitHub{Dir: dir, tb: tb, key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v3/app/installations/"+Installation+"/access_tokens", f.issue)
	mux.HandleFunc("POST /api/graphql", f.graphQL)
	f.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		intercept := f.intercept
		f.mu.Unlock()
		if intercept != nil {
			intercept(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	tb.Cleanup(f.Close)
	return f
}

// NewKey makes a key of the App and a file with it.
func NewKey(tb testing.TB) (*rsa.PrivateKey, string) {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(tb.TempDir(), "app.pem")
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		tb.Fatal(err)
	}
	return key, file
}

// Start starts a fake with a repository and returns what makes commits there.
func Start(tb testing.TB, dir string) (*FakeGitHub, *githost.Commits) {
	tb.Helper()
	key, file := NewKey(tb)
	f := New(tb, &key.PublicKey, dir)
	app := githost.App{ID: AppID, Installation: Installation, KeyFile: file, API: f.URL + "/api/v3"}
	tokens, err := app.Source(Remote, f.Trusting)
	if err != nil {
		tb.Fatal(err)
	}
	return f, f.Commits(app, tokens)
}

// Commits are made with tokens of an App.
func (f *FakeGitHub) Commits(app githost.App, tokens *shortlived.Source) *githost.Commits {
	f.tb.Helper()
	commits, err := app.Commits(Remote, tokens, f.Trusting)
	if err != nil {
		f.tb.Fatal(err)
	}
	return commits
}

// Trusting connects to the fake's own certificate.
func (f *FakeGitHub) Trusting() (*tls.Config, error) {
	roots := x509.NewCertPool()
	roots.AddCert(f.Certificate())
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// Intercept puts a handler before the fake for requests of GraphQL that carry a commit; answer is what the fake does. nil
// takes it away.
func (f *FakeGitHub) Intercept(handle func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.intercept = nil
	if handle == nil {
		return
	}
	f.intercept = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/graphql" {
			f.issue(w, r)
			return
		}
		handle(w, r, f.graphQL)
	}
}

// Answer has every request answered by a handler.
func (f *FakeGitHub) Answer(handle http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.intercept = handle
}

// Expire ends all tokens that were issued.
func (f *FakeGitHub) Expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expired = f.issued
}

// Asked is how often a commit was asked for with a token that counts.
func (f *FakeGitHub) Asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.commits
}

func (f *FakeGitHub) issue(w http.ResponseWriter, r *http.Request) {
	assertion := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if err := f.check(r, assertion); err != nil {
		refuse(w, http.StatusUnauthorized, err.Error()+": "+assertion)
		return
	}
	f.mu.Lock()
	f.issued++
	token := f.token(f.issued)
	f.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"token": %q, "expires_at": %q}`, token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// token is one of those that the fake issues, which count from 1.
func (f *FakeGitHub) token(n int) string { return fmt.Sprintf("ghs_of-the-installation-%d", n) }

func refuse(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(map[string]string{"message": message}); err != nil {
		panic(http.ErrAbortHandler) // who asked has gone
	}
}

func (f *FakeGitHub) check(r *http.Request, assertion string) error {
	claims := &jwt.RegisteredClaims{}
	_, err := jwt.ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) { return f.key, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(AppID), jwt.WithIssuedAt(), jwt.WithExpirationRequired())
	if err != nil {
		return err
	}
	if life := claims.ExpiresAt.Sub(claims.IssuedAt.Time); life > 10*time.Minute {
		return fmt.Errorf("'Expiration time' claim ('exp') is too far in the future: %s", life)
	}
	var scope struct{ Repositories []string }
	if err := json.NewDecoder(r.Body).Decode(&scope); err != nil || !slices.Equal(scope.Repositories, []string{"deploy"}) {
		return fmt.Errorf("a token for %v is asked for, %w", scope.Repositories, err)
	}
	return nil
}

// counts tells whether a request shows a token that was issued and has not ended.
func (f *FakeGitHub) counts(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := f.expired + 1; n <= f.issued; n++ {
		if r.Header.Get("Authorization") == "Bearer "+f.token(n) {
			f.commits++
			return true
		}
	}
	return false
}
