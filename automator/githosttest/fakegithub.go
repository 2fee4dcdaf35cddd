// Package githosttest has a fake of GitHub for tests, where the real one cannot be had.
//
// Only what GitHub's API says is made up, after its documentation. The commits that it makes are real: git writes them into a
// bare repository, from which they are fetched as any others.
package githosttest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// What the fake knows.
const (
	AppID        = "Iv23liTest"
	Installation = "424242"
	Repository   = "acme/deploy"
	// Remote is an address of the repository at another host, for who only asks the API.
	Remote = "https://git.example.com/" + Repository + ".git"

	gitPath     = "/" + Repository + ".git"
	apiPath     = "/api/v3"
	graphQLPath = "/api/graphql"
	// maxRequest bounds what is read of a request, in bytes.
	maxRequest = 64 << 20
	keyBits    = 2048
)

// FakeGitHub is a fake of GitHub: it gives tokens to who proves to be the App, and has commits made in a repository on
// condition of where the branch is. Its fields are set before it is asked for anything.
type FakeGitHub struct {
	*httptest.Server

	// Dir is the bare repository; without one no commit is made.
	Dir string
	// Signer signs the commits, as GitHub does with its own key; nil leaves them unsigned.
	Signer gitobject.Signer
	// Mangle changes a commit before it is stored, as no host should.
	Mangle func(*gitobject.Commit)
	// Git serves the repository at [FakeGitHub.Remote] to who shows a token, by the rest of the path; nil serves nobody.
	Git http.Handler

	app *rsa.PublicKey

	mu      sync.Mutex
	issued  int
	expired int // tokens up to this one do not count any more
	commits int // how often a commit was asked for
	all     http.HandlerFunc
	mutate  Interceptor
	fetch   Interceptor
}

// Interceptor stands before a part of the fake; answer is what that does.
type Interceptor func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc)

// New starts a fake on loopback, by TLS, that knows the App by its public key. Close ends it.
func New(app *rsa.PublicKey, dir string) *FakeGitHub {
	f := &FakeGitHub{Dir: dir, app: app}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+apiPath+"/app/installations/"+Installation+"/access_tokens", f.issue)
	mux.HandleFunc("POST "+graphQLPath, f.intercepted(&f.mutate, f.graphQL))
	mux.Handle(gitPath+"/", http.StripPrefix(gitPath, f.intercepted(&f.fetch, f.git)))
	f.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, mux) }))
	return f
}

// serve reads the whole request first: only then does the server notice that who asked has gone.
func (f *FakeGitHub) serve(w http.ResponseWriter, r *http.Request, mux http.Handler) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	f.mu.Lock()
	all := f.all
	f.mu.Unlock()
	if all != nil {
		mux = all
	}
	mux.ServeHTTP(w, r)
}

// intercepted has an interceptor, as it is at that moment, stand before a handler.
func (f *FakeGitHub) intercepted(by *Interceptor, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		intercept := *by
		f.mu.Unlock()
		if intercept == nil {
			answer(w, r)
			return
		}
		intercept(w, r, answer)
	}
}

// WriteKey makes a key of the App, writes it to a file in PEM, and returns its public half.
func WriteKey(file string) (*rsa.PublicKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return &key.PublicKey, os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
}

// Trusting connects to the fake's own certificate.
func (f *FakeGitHub) Trusting() (*tls.Config, error) {
	roots := x509.NewCertPool()
	roots.AddCert(f.Certificate())
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// CA is what an automator has to trust, in PEM.
func (f *FakeGitHub) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
}

// API is the address of its API.
func (f *FakeGitHub) API() string { return f.URL + apiPath }

// Remote is the address of the repository.
func (f *FakeGitHub) Remote() string { return f.URL + gitPath }

// Intercept puts an interceptor before requests for commits; nil takes it away.
func (f *FakeGitHub) Intercept(by Interceptor) { f.change(func() { f.mutate = by }) }

// InterceptGit puts an interceptor before what Git asks; nil takes it away.
func (f *FakeGitHub) InterceptGit(by Interceptor) { f.change(func() { f.fetch = by }) }

// Answer has every request answered by a handler.
func (f *FakeGitHub) Answer(handle http.HandlerFunc) { f.change(func() { f.all = handle }) }

// Expire ends all tokens that were issued.
func (f *FakeGitHub) Expire() { f.change(func() { f.expired = f.issued }) }

func (f *FakeGitHub) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
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
	var token string
	f.change(func() {
		f.issued++
		token = tokenOf(f.issued)
	})
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"token": %q, "expires_at": %q}`, token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// tokenOf is one of those that the fake issues, which count from 1.
func tokenOf(n int) string { return fmt.Sprintf("ghs_of-the-installation-%d", n) }

func refuse(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(map[string]string{"message": message}); err != nil {
		panic(http.ErrAbortHandler) // who asked has gone
	}
}

func (f *FakeGitHub) check(r *http.Request, assertion string) error {
	claims := &jwt.RegisteredClaims{}
	_, err := jwt.ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) { return f.app, nil },
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

// counts tells whether a token was issued and has not ended.
func (f *FakeGitHub) counts(token string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := f.expired + 1; n <= f.issued; n++ {
		if token == tokenOf(n) {
			return true
		}
	}
	return false
}

// git passes on what Git asks with a token.
func (f *FakeGitHub) git(w http.ResponseWriter, r *http.Request) {
	user, token, _ := r.BasicAuth()
	switch {
	case user != "x-access-token" || !f.counts(token):
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		w.WriteHeader(http.StatusUnauthorized)
	case f.Git == nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		f.Git.ServeHTTP(w, r)
	}
}
