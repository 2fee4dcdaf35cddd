package gitrepo_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/shared/redact"
)

// TestWhatTheHostRepeats holds that no error has the password in it, although the host says it in every way that it can.
func TestWhatTheHostRepeats(t *testing.T) {
	t.Parallel()
	const password = "pass/word+of=git"
	s, _ := seeded(t, map[string]string{"a": "1"})
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	header := ""
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		header = strings.TrimPrefix(req.Header.Get("Authorization"), "Basic ")
		next.ServeHTTP(w, req)
	})
	s.RequirePassword(password)
	r := fetched(t, s, func(cfg *gitrepo.Config) { cfg.Auth.PasswordFile = file })
	if header == "" {
		t.Fatal("the host was sent no credentials")
	}

	said := strings.Join(redact.Forms(password), " ") + " " + header
	s.Hook(t, "pre-receive", "cat <<'END' >&2\nrefused: "+said+"\nEND\nexit 1\n")
	err := r.Push(t.Context(), []gitrepo.RefUpdate{edit(t, r, "2")})
	quiet(t, "push", err, password, header)

	s.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(said))
	})
	_, err = r.Fetch(t.Context())
	quiet(t, "fetch", err, password, header)
}

// quiet checks that an error repeats what the host said, but for secrets.
func quiet(t *testing.T, what string, err error, secrets ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: got no error", what)
	}
	if !strings.Contains(err.Error(), redact.Mark) {
		t.Errorf("%s: the host's words are not in it: %v", what, err)
	}
	for _, secret := range secrets {
		for _, form := range redact.Forms(secret) {
			if strings.Contains(err.Error(), form) {
				t.Errorf("%s: got %q in %v", what, form, err)
			}
		}
	}
}
