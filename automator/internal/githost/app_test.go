package githost_test

import (
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/githosttest"
	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/shared/fault"
)

func TestInstallationToken(t *testing.T) {
	t.Parallel()
	key, file := newKey(t)
	host := newHost(t, key, "")
	app := githost.App{ID: githosttest.AppID, Installation: githosttest.Installation, KeyFile: file}
	source, err := app.Source(host.URL+"/acme/deploy.git", host.Trusting, &githost.Pauses{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := source.Credentials(t.Context())
	if err != nil || got.Username != "x-access-token" || got.Password != "ghs_of-the-installation-1" || time.Until(got.Expires) < 59*time.Minute {
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
		"KeyOfAnother": {keyFile: file, known: other, says: "401: token signature is invalid"},
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
				tc.known = key
			}
			host := newHost(t, tc.known, "")
			if tc.answer != nil {
				host.Answer(tc.answer)
			}
			app := githost.App{ID: githosttest.AppID, Installation: githosttest.Installation, KeyFile: tc.keyFile, API: host.URL + "/api/v3"}
			source, err := app.Source("https://git.example.com/acme/deploy", host.Trusting, &githost.Pauses{})
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
		"SecondLimitInWords": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"message": "You have exceeded a secondary rate limit."}`)
		}, fault.Unavailable},
		"Suspended": {answers(http.StatusForbidden, "X-Ratelimit-Remaining", "4999"), fault.Unauthorized},
		"Removed":   {answers(http.StatusNotFound), fault.Unauthorized},
		"BrokenOff": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := newHost(t, key, "")
			host.Answer(tc.answer)
			app := githost.App{ID: githosttest.AppID, Installation: githosttest.Installation, KeyFile: file, API: host.URL + "/api/v3"}
			source, err := app.Source("https://git.example.com/acme/deploy", host.Trusting, &githost.Pauses{})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := source.Credentials(t.Context()); !fault.Is(err, tc.want) {
				t.Errorf("Credentials: %+v, %v; want kind %s", got, err, tc.want)
			}
		})
	}
	host := newHost(t, key, "")
	source, err := githost.App{ID: githosttest.AppID, Installation: githosttest.Installation, KeyFile: file}.Source(host.URL+"/acme/deploy", host.Trusting, &githost.Pauses{})
	if err != nil {
		t.Fatal(err)
	}
	host.Close()
	if _, err := source.Credentials(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("nobody listens: %v, want kind Unavailable", err)
	}
}

// TestAKeyThatIsBeingReplaced ends no token, though somebody did not take it: GitHub itself said nothing.
func TestAKeyThatIsBeingReplaced(t *testing.T) {
	t.Parallel()
	key, file := newKey(t)
	host := newHost(t, key, "")
	source, err := githost.App{ID: githosttest.AppID, Installation: githosttest.Installation, KeyFile: file}.Source(host.URL+"/acme/deploy", host.Trusting, &githost.Pauses{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := source.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if !source.Refused(first.Password) {
		t.Fatal("no other token is promised")
	}
	if got, err := source.Credentials(t.Context()); err != nil || got.Password != first.Password {
		t.Errorf("Credentials: %+v, %v; want the same token", got, err)
	}
	if standing := source.Standing(); !standing.Counts || standing.Problem == nil {
		t.Errorf("it stands %+v, want its problem", standing)
	}
}

func TestCertificatesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	_, file := newKey(t)
	app := githost.App{ID: githosttest.AppID, Installation: githosttest.Installation, KeyFile: file}
	source, err := app.Source("https://git.example.com/acme/deploy", func() (*tls.Config, error) { return nil, os.ErrNotExist }, &githost.Pauses{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := source.Credentials(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Credentials: %+v, %v; want that a file is missing", got, err)
	}
}

func TestAppOfARemote(t *testing.T) {
	t.Parallel()
	whole := githost.App{ID: githosttest.AppID, Installation: githosttest.Installation, KeyFile: "app.pem"}
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
		"NoKey":           {githost.App{ID: githosttest.AppID, Installation: githosttest.Installation}, "https://github.com/acme/deploy", false},
		"NoID":            {githost.App{Installation: githosttest.Installation, KeyFile: "x"}, "https://github.com/acme/deploy", false},
		"NoInstallation":  {githost.App{ID: githosttest.AppID, KeyFile: "x"}, "https://github.com/acme/deploy", false},
		"PathAsID":        {githost.App{ID: githosttest.AppID, Installation: "1/../2", KeyFile: "x"}, "https://github.com/acme/deploy", false},
		"APIInTheClear":   {githost.App{ID: githosttest.AppID, Installation: "1", KeyFile: "x", API: "http://api.example.com"}, "https://github.com/acme/deploy", false},
		"APIWithQuery":    {githost.App{ID: githosttest.AppID, Installation: "1", KeyFile: "x", API: "https://api.example.com/?a=b"}, "https://github.com/acme/deploy", false},
		"APINowhere":      {githost.App{ID: githosttest.AppID, Installation: "1", KeyFile: "x", API: "https:///v3"}, "https://github.com/acme/deploy", false},
		"NoHost":          {whole, "https:///acme/deploy", false},
		"LongNumber":      {githost.App{ID: githosttest.AppID, Installation: strings.Repeat("1", 20), KeyFile: "x"}, "https://github.com/acme/deploy", false},
		"APIWithPassword": {githost.App{ID: githosttest.AppID, Installation: "1", KeyFile: "x", API: "https://a:b@example.com"}, "https://github.com/acme/deploy", false},
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
