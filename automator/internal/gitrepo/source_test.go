package gitrepo_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// passwords issues one after the other, each for an hour.
type passwords struct {
	all    []string
	after  error // when there are no more
	issued atomic.Int32
}

func (p *passwords) issue(context.Context) (shortlived.Credentials, error) {
	n := int(p.issued.Add(1))
	if n > len(p.all) {
		return shortlived.Credentials{}, cmp.Or(p.after, errors.New("no more"))
	}
	return shortlived.Credentials{Username: "x-access-token", Password: p.all[n-1], Expires: time.Now().Add(time.Hour)}, nil
}

// withSource is a mirror of a host that takes a password, and mine is what its passwords come from.
func withSource(t *testing.T, mine *passwords) (*gitrepotest.Server, *gitrepo.Repo) {
	t.Helper()
	files := newAuthority(t).host
	s := seededTLS(t, rpc.TLSFiles{Cert: files.Cert, Key: files.Key})
	return s, open(t, s, func(cfg *gitrepo.Config) {
		cfg.TLS.CAFile = files.CA
		cfg.Auth.Source = shortlived.New("token of the test", mine.issue)
	})
}

// A token that the host does not know any more is replaced within the same command, and one that it never knew is not
// asked for again and again.
func TestTokensAreRenewedWhenRefused(t *testing.T) {
	t.Parallel()
	mine := &passwords{all: []string{"ghs_first", "ghs_second"}}
	s, r := withSource(t, mine)
	s.RequirePassword("ghs_first")
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.RequirePassword("ghs_second")
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{{Ref: otherRef, New: tip(t, r, mainRef)}}); err != nil {
		t.Errorf("push after the token was revoked: %v", err)
	}
	s.RequirePassword("another")
	for range 3 {
		if _, err := r.Fetch(t.Context()); !fault.Is(err, fault.Unauthorized) || strings.Contains(err.Error(), "ghs_") {
			t.Errorf("fetch with tokens that are not taken: %v", err)
		}
	}
	if n := mine.issued.Load(); n != 2 {
		t.Errorf("%d tokens were issued, want 2", n)
	}
}

// While nobody can be asked for another token, that is what is said of a remote that refuses the one there is, and of one for
// which there never was any.
func TestTokensThatCannotBeHad(t *testing.T) {
	t.Parallel()
	mine := &passwords{all: []string{"ghs_first"}, after: fault.New(fault.Unavailable, "the API answers 503")}
	s, r := withSource(t, mine)
	s.RequirePassword("ghs_first")
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.RequirePassword("ghs_second")
	if _, err := r.Fetch(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "503") {
		t.Errorf("fetch with a token that is refused: %v, want why there is no other", err)
	}

	_, never := withSource(t, &passwords{after: fault.New(fault.Unavailable, "the API answers 503")})
	if _, err := never.Fetch(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("fetch without a token: %v, want kind Unavailable", err)
	}
	_, refused := withSource(t, &passwords{})
	if _, err := refused.Fetch(t.Context()); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("fetch without a token that somebody gives: %v, want kind Unauthorized", err)
	}
}

// A refusal that is about something else than who we are costs no token.
func TestTokensAreKeptWhenForbidden(t *testing.T) {
	t.Parallel()
	mine := &passwords{all: []string{"ghs_first", "ghs_second"}}
	s, r := withSource(t, mine)
	s.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, "Resource not accessible by integration", http.StatusForbidden)
	})
	if _, err := r.Fetch(t.Context()); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("fetch: %v", err)
	}
	if n := mine.issued.Load(); n != 1 {
		t.Errorf("%d tokens were issued, want 1", n)
	}
}

// What a hook says is no answer of the host to who we are, and none to what became of a push.
func TestHooksSpeakForThemselves(t *testing.T) {
	t.Parallel()
	mine := &passwords{all: []string{"ghs_first", "ghs_second"}}
	s, r := withSource(t, mine)
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	pushes := 0
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if gitrepotest.IsPush(req) {
			pushes++
		}
		next.ServeHTTP(w, req)
	})
	s.Hook(t, "pre-receive", "echo the ticket system says HTTP 401 >&2; exit 1")
	update := gitrepo.RefUpdate{Ref: otherRef, New: tip(t, r, mainRef)}
	err := r.Push(t.Context(), []gitrepo.RefUpdate{update})
	if !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "HTTP 401") {
		t.Errorf("Push: %v, want it refused by the hook", err)
	}
	if n := mine.issued.Load(); pushes != 1 || n != 1 {
		t.Errorf("%d pushes and %d tokens, want one of each", pushes, n)
	}

	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if gitrepotest.IsPush(req) {
			const said = "\x02the ticket system says HTTP 403\n"
			fmt.Fprintf(w, "%04x%s", len(said)+4, said)
			return
		}
		next.ServeHTTP(w, req)
	})
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); !errors.Is(err, gitrepo.ErrOutcomeUnknown) {
		t.Errorf("Push that was cut off: %v, want ErrOutcomeUnknown", err)
	}
}

func TestTokensNeedHTTPS(t *testing.T) {
	t.Parallel()
	source := shortlived.New("token", (&passwords{}).issue)
	for name, cfg := range map[string]gitrepo.Config{
		"HTTP":     {URL: "http://git.example.com/app", Auth: gitrepo.Auth{Source: source}},
		"SSH":      {URL: "git@example.com:app", Auth: gitrepo.Auth{Source: source}},
		"Password": {URL: "https://git.example.com/app", Auth: gitrepo.Auth{Source: source, PasswordFile: "password"}},
	} {
		cfg.Name, cfg.Dir = "app", t.TempDir()
		if _, err := gitrepo.Open(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}
