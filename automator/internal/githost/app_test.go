package githost_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	appID        = "Iv23liTest"
	installation = "424242"
	token        = "ghs_of-the-installation"
)

// fakeGitHub stands for the API of GitHub, which cannot be had in a test: it gives a token to who proves to be the App, as
// GitHub's documentation says.
type fakeGitHub struct {
	*httptest.Server

	key *rsa.PublicKey
}

func newFakeGitHub(t *testing.T, key *rsa.PublicKey, answer http.HandlerFunc) *fakeGitHub {
	t.Helper()
	f := &fakeGitHub{key: key}
	if answer == nil {
		answer = f.answer
	}
	f.Server = httptest.NewTLSServer(answer)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeGitHub) answer(w http.ResponseWriter, r *http.Request) {
	assertion := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if err := f.check(r, assertion); err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"message": %q}`, err.Error()+": "+assertion)
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"token": %q, "expires_at": %q}`, token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func (f *fakeGitHub) check(r *http.Request, assertion string) error {
	claims := &jwt.RegisteredClaims{}
	_, err := jwt.ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) { return f.key, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(appID), jwt.WithIssuedAt(), jwt.WithExpirationRequired())
	if err != nil {
		return err
	}
	if life := claims.ExpiresAt.Sub(claims.IssuedAt.Time); life > 10*time.Minute {
		return fmt.Errorf("'Expiration time' claim ('exp') is too far in the future: %s", life)
	}
	if want := "/api/v3/app/installations/" + installation + "/access_tokens"; r.Method != http.MethodPost || r.URL.Path != want {
		return fmt.Errorf("%s %s is not there", r.Method, r.URL.Path)
	}
	var scope struct{ Repositories []string }
	if err := json.NewDecoder(r.Body).Decode(&scope); err != nil || !slices.Equal(scope.Repositories, []string{"deploy"}) {
		return fmt.Errorf("a token for %v is asked for, %w", scope.Repositories, err)
	}
	return nil
}

func newKey(t *testing.T) (*rsa.PrivateKey, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "app.pem")
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return key, file
}

// trusting connects to a fake's own certificate.
func (f *fakeGitHub) trusting() (*tls.Config, error) {
	roots := x509.NewCertPool()
	roots.AddCert(f.Certificate())
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

func TestInstallationToken(t *testing.T) {
	t.Parallel()
	key, file := newKey(t)
	host := newFakeGitHub(t, &key.PublicKey, nil)
	app := githost.App{ID: appID, Installation: installation, KeyFile: file}
	source, err := app.Source(host.URL+"/acme/deploy.git", host.trusting)
	if err != nil {
		t.Fatal(err)
	}
	got, err := source.Credentials(t.Context())
	if err != nil || got.Username != "x-access-token" || got.Password != token || time.Until(got.Expires) < 59*time.Minute {
		t.Errorf("Credentials: %+v, %v", got, err)
	}
}

func TestInstallationTokenRefused(t *testing.T) {
	t.Parallel()
	key, file := newKey(t)
	other, _ := newKey(t)
	notKey := filepath.Join(t.TempDir(), "app.pem")
	if err := os.WriteFile(notKey, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the proof of being the App reached another host")
	}))
	t.Cleanup(elsewhere.Close)
	tests := map[string]struct {
		keyFile string
		known   *rsa.PublicKey
		answer  http.HandlerFunc
		says    string
	}{
		"KeyOfAnother": {keyFile: file, known: &other.PublicKey, says: "401: token signature is invalid"},
		"KeyMissing":   {keyFile: filepath.Join(t.TempDir(), "none"), says: "keyFile"},
		"KeyBroken":    {keyFile: notKey, says: "not a private RSA key"},
		"Redirect": {keyFile: file, says: "not followed", answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}},
		"NoToken": {keyFile: file, says: "no token", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"expires_at": "2030-01-01T00:00:00Z"}`)
		}},
		"NoEnd": {keyFile: file, says: "no token", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"token": "ghs_x"}`)
		}},
		"TokenOfTwoLines": {keyFile: file, says: "no token", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"token": "ghs_x\r\nX-Evil: 1", "expires_at": "2030-01-01T00:00:00Z"}`)
		}},
		"NotCreated": {keyFile: file, says: "the API answers 200", answer: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"token": "ghs_x", "expires_at": "2030-01-01T00:00:00Z"}`)
		}},
		"ManyWords": {keyFile: file, says: "the API answers 403: suspended by its owner x", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"message": %q}`, "suspended\nby its  owner "+strings.Repeat("x", 10_000))
		}},
		"TooLong": {keyFile: file, says: "too large", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"message": %q}`, strings.Repeat("x", 65<<10))
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.known == nil {
				tc.known = &key.PublicKey
			}
			host := newFakeGitHub(t, tc.known, tc.answer)
			app := githost.App{ID: appID, Installation: installation, KeyFile: tc.keyFile, API: host.URL + "/api/v3"}
			source, err := app.Source("https://git.example.com/acme/deploy", host.trusting)
			if err != nil {
				t.Fatal(err)
			}
			got, err := source.Credentials(t.Context())
			if !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("Credentials: %+v, %v; want %q", got, err, tc.says)
			}
			if len(err.Error()) > 500 {
				t.Errorf("%d bytes are told", len(err.Error()))
			}
			if strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

// TestPassingTrouble tells an API that does not work just now from one that says no.
func TestPassingTrouble(t *testing.T) {
	t.Parallel()
	key, file := newKey(t)
	answers := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			fmt.Fprint(w, `{"message": "no"}`)
		}
	}
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   fault.Kind
	}{
		"Broken":      {answers(http.StatusInternalServerError), fault.Unavailable},
		"Maintained":  {answers(http.StatusServiceUnavailable), fault.Unavailable},
		"TooOften":    {answers(http.StatusTooManyRequests), fault.Unavailable},
		"RateLimit":   {answers(http.StatusForbidden, "X-Ratelimit-Remaining", "0"), fault.Unavailable},
		"SecondLimit": {answers(http.StatusForbidden, "Retry-After", "60"), fault.Unavailable},
		"Suspended":   {answers(http.StatusForbidden, "X-Ratelimit-Remaining", "4999"), fault.Unauthorized},
		"Removed":     {answers(http.StatusNotFound), fault.Unauthorized},
		"BrokenOff":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := newFakeGitHub(t, &key.PublicKey, tc.answer)
			app := githost.App{ID: appID, Installation: installation, KeyFile: file, API: host.URL + "/api/v3"}
			source, err := app.Source("https://git.example.com/acme/deploy", host.trusting)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := source.Credentials(t.Context()); !fault.Is(err, tc.want) {
				t.Errorf("Credentials: %+v, %v; want kind %s", got, err, tc.want)
			}
		})
	}
	host := newFakeGitHub(t, &key.PublicKey, nil)
	source, err := githost.App{ID: appID, Installation: installation, KeyFile: file}.Source(host.URL+"/acme/deploy", host.trusting)
	if err != nil {
		t.Fatal(err)
	}
	host.Close()
	if _, err := source.Credentials(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("nobody listens: %v, want kind Unavailable", err)
	}
}

func TestCertificatesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	_, file := newKey(t)
	app := githost.App{ID: appID, Installation: installation, KeyFile: file}
	source, err := app.Source("https://git.example.com/acme/deploy", func() (*tls.Config, error) { return nil, os.ErrNotExist })
	if err != nil {
		t.Fatal(err)
	}
	if got, err := source.Credentials(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Credentials: %+v, %v; want that a file is missing", got, err)
	}
}

func TestAppOfARemote(t *testing.T) {
	t.Parallel()
	whole := githost.App{ID: appID, Installation: installation, KeyFile: "app.pem"}
	tests := map[string]struct {
		app    githost.App
		remote string
		ok     bool
	}{
		"GitHub":          {whole, "https://github.com/acme/deploy.git", true},
		"Enterprise":      {whole, "https://git.example.com:8443/acme/deploy", true},
		"HTTP":            {whole, "http://github.com/acme/deploy", false},
		"SSH":             {whole, "git@github.com:acme/deploy.git", false},
		"NoRepository":    {whole, "https://github.com/acme", false},
		"Deeper":          {whole, "https://github.com/acme/team/deploy", false},
		"NoKey":           {githost.App{ID: appID, Installation: installation}, "https://github.com/acme/deploy", false},
		"NoID":            {githost.App{Installation: installation, KeyFile: "x"}, "https://github.com/acme/deploy", false},
		"NoInstallation":  {githost.App{ID: appID, KeyFile: "x"}, "https://github.com/acme/deploy", false},
		"PathAsID":        {githost.App{ID: appID, Installation: "1/../2", KeyFile: "x"}, "https://github.com/acme/deploy", false},
		"APIInTheClear":   {githost.App{ID: appID, Installation: "1", KeyFile: "x", API: "http://api.example.com"}, "https://github.com/acme/deploy", false},
		"APIWithQuery":    {githost.App{ID: appID, Installation: "1", KeyFile: "x", API: "https://api.example.com/?a=b"}, "https://github.com/acme/deploy", false},
		"APINowhere":      {githost.App{ID: appID, Installation: "1", KeyFile: "x", API: "https:///v3"}, "https://github.com/acme/deploy", false},
		"NoHost":          {whole, "https:///acme/deploy", false},
		"LongNumber":      {githost.App{ID: appID, Installation: strings.Repeat("1", 20), KeyFile: "x"}, "https://github.com/acme/deploy", false},
		"APIWithPassword": {githost.App{ID: appID, Installation: "1", KeyFile: "x", API: "https://a:b@example.com"}, "https://github.com/acme/deploy", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := tc.app.Validate(tc.remote); (err == nil) != tc.ok {
				t.Errorf("Validate: %v", err)
			}
		})
	}
}

func TestWhereTheAPIIs(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"github.com":           "https://api.github.com",
		"acme.ghe.com":         "https://api.acme.ghe.com",
		"git.example.com:8443": "https://git.example.com:8443/api/v3",
		"evilgithub.com":       "https://evilgithub.com/api/v3",
	} {
		if got := githost.APIOf(host); got != want {
			t.Errorf("APIOf(%q) = %q, want %q", host, got, want)
		}
	}
}
