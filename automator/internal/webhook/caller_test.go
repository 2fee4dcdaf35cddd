package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-cd/tandem/automator/internal/webhook"
)

// taken collects whose deliveries were taken.
type taken struct{ callers chan string }

func newHooks(t *testing.T, cfg webhook.Config, client *http.Client) (*webhook.Hooks, *taken) {
	t.Helper()
	record := &taken{callers: make(chan string, 100)}
	hooks, err := webhook.New(cfg, webhook.Deps{
		FollowsImage: func(string) bool { return true }, HintImage: func(string, string) {},
		FollowsGit: func(string) bool { return true }, HintGit: func(string) {},
		Accepted: func(kind, caller string) { record.callers <- kind + " by " + caller },
		Client:   client,
	})
	if err != nil {
		t.Fatal(err)
	}
	return hooks, record
}

// call posts to the hooks and returns the status.
func call(t *testing.T, hooks *webhook.Hooks, path, body string, header [2]string) int {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(header[0], header[1])
	answer := httptest.NewRecorder()
	hooks.ServeHTTP(answer, req)
	return answer.Code
}

func bearing(token string) [2]string { return [2]string{"Authorization", "Bearer " + token} }

func (r *taken) next() string {
	select {
	case caller := <-r.callers:
		return caller
	default:
		return ""
	}
}

// Each caller has secrets of its own, and the old one counts beside the new one until it is taken away.
func TestCallersHaveTheirOwnSecrets(t *testing.T) {
	t.Parallel()
	hooks, record := newHooks(t, webhook.Config{Callers: []webhook.Caller{
		{Name: "ghcr", Tokens: []string{"of ghcr", "next of ghcr"}}, {Name: "gitlab", Tokens: []string{"of gitlab"}},
	}}, nil)
	const body = `{"events":[]}`
	signed := func(secret string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(body))
		return "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	tests := []struct{ path, header, value, want string }{
		{"/hooks/git/shop", "Authorization", "Bearer of ghcr", "git by ghcr"},
		{"/hooks/git/shop", "Authorization", "Bearer next of ghcr", "git by ghcr"},
		{"/hooks/git/shop", "X-Gitlab-Token", "of gitlab", "git by gitlab"},
		{"/hooks/git/shop", "X-Hub-Signature-256", signed("next of ghcr"), "git by ghcr"},
		{"/hooks/git/shop", "X-Hub-Signature-256", signed("of gitlab"), "git by gitlab"},
		{"/hooks/registry", "X-Hub-Signature-256", signed("of gitlab"), "registry by gitlab"},
		{"/hooks/git/shop", "Authorization", "Bearer of gitea", ""},
		{"/hooks/git/shop", "Authorization", "Bearer ", ""},
		{"/hooks/git/shop", "X-Hub-Signature-256", signed("of gitea"), ""},
		{"/hooks/git/shop", "X-Hub-Signature-256", "sha256=", ""},
	}
	for _, tc := range tests {
		code := call(t, hooks, tc.path, body, [2]string{tc.header, tc.value})
		if got := record.next(); got != tc.want || (code == http.StatusAccepted) != (tc.want != "") {
			t.Errorf("%s with %s %q: %d, %q; want %q", tc.path, tc.header, tc.value, code, got, tc.want)
		}
	}
}

func TestCallersThatAreRefused(t *testing.T) {
	t.Parallel()
	many := webhook.Caller{Name: "many"}
	for i := range 17 {
		many.Tokens = append(many.Tokens, fmt.Sprint("token ", i))
	}
	for name, callers := range map[string][]webhook.Caller{
		"None":      nil,
		"NoName":    {{Tokens: []string{"a"}}},
		"Twice":     {{Name: "a", Tokens: []string{"a"}}, {Name: "a", Tokens: []string{"b"}}},
		"SameToken": {{Name: "a", Tokens: []string{"a"}}, {Name: "b", Tokens: []string{"a"}}},
		"Empty":     {{Name: "a", Tokens: []string{""}}},
		"Nothing":   {{Name: "a"}},
		"Both":      {{Name: "a", Tokens: []string{"a"}, Google: webhook.Google{Audience: "b", Email: "c"}}},
		"HalfAnd":   {{Name: "a", Google: webhook.Google{Audience: "b"}}},
		"Many":      {many},
	} {
		if _, err := webhook.New(webhook.Config{Callers: callers}, webhook.Deps{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	google := webhook.Config{Callers: []webhook.Caller{{Name: "a", Google: webhook.Google{Audience: "b", Email: "c"}}}, GoogleKeys: "http://keys.example.com"}
	if _, err := webhook.New(google, webhook.Deps{}); err == nil {
		t.Error("keys in the clear: no error")
	}
}

// fakeGoogle stands for what Google publishes, which cannot be had in a test.
type fakeGoogle struct {
	*httptest.Server

	key   *rsa.PrivateKey
	asked atomic.Int32
	down  atomic.Bool
}

func newFakeGoogle(t *testing.T) *fakeGoogle {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeGoogle{key: key}
	f.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		f.asked.Add(1)
		if f.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		modulus := base64.RawURLEncoding.EncodeToString(key.N.Bytes())
		exponent := base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","alg":"RS256","use":"sig","kid":"1","n":%q,"e":%q}]}`, modulus, exponent)
	}))
	t.Cleanup(f.Close)
	return f
}

// token is one of Google's, with what change says otherwise.
func (f *fakeGoogle) token(t *testing.T, change func(header map[string]any, claims jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": "https://accounts.google.com", "aud": "https://hooks.example.com", "email": "push@acme.iam.gserviceaccount.com",
		"email_verified": true, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = "1"
	if change != nil {
		change(token.Header, claims)
	}
	signed, err := token.SignedString(f.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (f *fakeGoogle) config() webhook.Config {
	return webhook.Config{GoogleKeys: f.URL, Callers: []webhook.Caller{
		{Name: "gar", Google: webhook.Google{Audience: "https://hooks.example.com", Email: "push@acme.iam.gserviceaccount.com"}},
		{Name: "ghcr", Tokens: []string{"of ghcr", "eyJ.of.ghcr"}},
	}}
}

const pushed = `{"message":{"data":"eyJhY3Rpb24iOiJJTlNFUlQiLCJ0YWciOiJnY3IuaW8vYWNtZS9hcGk6MSJ9"}}`

func TestTokensOfGoogle(t *testing.T) {
	t.Parallel()
	f, other := newFakeGoogle(t), newFakeGoogle(t)
	set := func(claim string, value any) func(map[string]any, jwt.MapClaims) {
		return func(_ map[string]any, claims jwt.MapClaims) { claims[claim] = value }
	}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	// What is published is a key like any other to who signs with a secret.
	shared := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{})
	shared.Header["kid"] = "1"
	confused, err := shared.SignedString(f.key.N.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path, token, want string
	}{
		"Good":          {"/hooks/gar", f.token(t, nil), "gar by gar"},
		"GCR":           {"/hooks/gcr", f.token(t, set("iss", "accounts.google.com")), "gcr by gar"},
		"Elsewhere":     {"/hooks/generic", f.token(t, nil), ""},
		"Git":           {"/hooks/git/shop", f.token(t, nil), ""},
		"OtherKey":      {"/hooks/gar", other.token(t, nil), ""},
		"UnknownKey":    {"/hooks/gar", f.token(t, func(header map[string]any, _ jwt.MapClaims) { header["kid"] = "2" }), ""},
		"NoKeyID":       {"/hooks/gar", f.token(t, func(header map[string]any, _ jwt.MapClaims) { delete(header, "kid") }), ""},
		"Audience":      {"/hooks/gar", f.token(t, set("aud", "https://other.example.com")), ""},
		"Email":         {"/hooks/gar", f.token(t, set("email", "eve@acme.iam.gserviceaccount.com")), ""},
		"NotVerified":   {"/hooks/gar", f.token(t, set("email_verified", false)), ""},
		"Issuer":        {"/hooks/gar", f.token(t, set("iss", "https://accounts.example.com")), ""},
		"Ended":         {"/hooks/gar", f.token(t, set("exp", time.Now().Add(-time.Hour).Unix())), ""},
		"NoEnd":         {"/hooks/gar", f.token(t, func(_ map[string]any, claims jwt.MapClaims) { delete(claims, "exp") }), ""},
		"OfTheFuture":   {"/hooks/gar", f.token(t, set("iat", time.Now().Add(time.Hour).Unix())), ""},
		"None":          {"/hooks/gar", unsigned, ""},
		"SecretOfAKey":  {"/hooks/gar", confused, ""},
		"TooLong":       {"/hooks/gar", f.token(t, set("more", strings.Repeat("x", 9<<10))), ""},
		"SecretInstead": {"/hooks/gar", "of ghcr", "gar by ghcr"},
		"SecretLikeOne": {"/hooks/gar", "eyJ.of.ghcr", "gar by ghcr"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hooks, record := newHooks(t, f.config(), f.Client())
			code := call(t, hooks, tc.path, pushed, bearing(tc.token))
			if got := record.next(); got != tc.want || (code == http.StatusAccepted) != (tc.want != "") {
				t.Errorf("%d, %q; want %q", code, got, tc.want)
			}
		})
	}
}

// Keys are asked for once for all deliveries, and not for each token of an unknown key.
func TestKeysOfGoogleAreKept(t *testing.T) {
	t.Parallel()
	f := newFakeGoogle(t)
	hooks, _ := newHooks(t, f.config(), f.Client())
	codes := []int{}
	for range 2 {
		codes = append(codes, call(t, hooks, "/hooks/gar", pushed, bearing(f.token(t, nil))))
	}
	f.down.Store(true)
	unknown := f.token(t, func(header map[string]any, _ jwt.MapClaims) { header["kid"] = "2" })
	codes = append(codes, call(t, hooks, "/hooks/gar", pushed, bearing(unknown)),
		call(t, hooks, "/hooks/gar", pushed, bearing(f.token(t, nil))))
	if want := []int{202, 202, 401, 202}; !slices.Equal(codes, want) {
		t.Errorf("answers %v, want %v", codes, want)
	}
	if n := f.asked.Load(); n != 1 {
		t.Errorf("keys were asked for %d times, want once", n)
	}
}

// Why keys cannot be read is told to those who run this, and not to whoever sends a token.
func TestStrangersLearnNothingOfKeys(t *testing.T) {
	t.Parallel()
	f := newFakeGoogle(t)
	f.down.Store(true)
	var failed []string
	hooks, err := webhook.New(f.config(), webhook.Deps{Client: f.Client(), Failed: func(err error) { failed = append(failed, err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks/gar", strings.NewReader(pushed))
		req.Header.Set("Authorization", "Bearer "+f.token(t, nil))
		answer := httptest.NewRecorder()
		hooks.ServeHTTP(answer, req)
		if got := strings.TrimSpace(answer.Body.String()); answer.Code != http.StatusServiceUnavailable || got != `{"error":"the keys of Google cannot be read now"}` {
			t.Errorf("answer: %d, %s", answer.Code, got)
		}
	}
	if len(failed) != 1 || !strings.Contains(failed[0], "503") {
		t.Errorf("told %q, want once that the answer is 503", failed)
	}
}

// Secrets count as they are in their files by now; when those cannot be read, as they were.
func TestSecretsAreReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var failed []string
		present, unread := "first", error(nil)
		set := func(text string, err error) {
			mu.Lock()
			defer mu.Unlock()
			present, unread = text, err
		}
		reread := func() ([]webhook.Caller, error) {
			mu.Lock()
			defer mu.Unlock()
			return []webhook.Caller{{Name: "gitlab", Tokens: []string{present}}}, unread
		}
		callers, _ := reread()
		hooks, err := webhook.New(webhook.Config{Callers: callers, Reread: reread}, webhook.Deps{
			FollowsGit: func(string) bool { return true }, HintGit: func(string) {}, Failed: func(err error) { failed = append(failed, err.Error()) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- hooks.Run(ctx) }()
		want := func(counts, not string) {
			t.Helper()
			<-time.After(20 * time.Second)
			synctest.Wait()
			good, bad := call(t, hooks, "/hooks/git/shop", "", bearing(counts)), call(t, hooks, "/hooks/git/shop", "", bearing(not))
			if good != http.StatusAccepted || bad != http.StatusUnauthorized {
				t.Errorf("%q: %d, %q: %d; want that the first one counts", counts, good, not, bad)
			}
		}
		want("first", "second")
		set("second", nil)
		want("second", "first")
		set("third", errors.New("no such file"))
		want("second", "third")
		want("second", "third")
		set("", nil) // it is being written
		want("second", "third")
		set("third", nil)
		want("third", "second")
		cancel()
		<-done
		if len(failed) != 2 || !strings.HasSuffix(failed[0], "no such file") {
			t.Errorf("told %q, want each reason once", failed)
		}
	})
}
