package gitrepo_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// edit commits one file on top of what the mirror has.
func edit(tb testing.TB, r *gitrepo.Repo, content string) gitrepo.RefUpdate {
	tb.Helper()
	base := tip(tb, r, mainRef)
	commit, err := r.WriteFiles(tb.Context(), base, map[string][]byte{"a": []byte(content)}, meta("edit\n", nil))
	if err != nil {
		tb.Fatal(err)
	}
	return gitrepo.RefUpdate{Ref: mainRef, Old: base, New: commit}
}

func remoteTip(tb testing.TB, r *gitrepo.Repo, ref string) gitobject.ID {
	tb.Helper()
	at, _, err := r.RemoteTip(tb.Context(), ref)
	if err != nil {
		tb.Fatal(err)
	}
	return at
}

func TestPush(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	dir := t.TempDir()
	r := fetched(t, s, func(cfg *gitrepo.Config) { cfg.Dir = dir })
	for _, content := range []string{"2\n", "3\n"} {
		update := edit(t, r, content)
		if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil {
			t.Fatal(err)
		}
		if got := remoteTip(t, r, mainRef); got != update.New {
			t.Errorf("the host has %s, want %s", got, update.New)
		}
		if got := tip(t, r, mainRef); got != update.New {
			t.Errorf("the mirror has %s, want %s", got, update.New)
		}
		step(t, r, nil)
	}
	at := tip(t, r, mainRef)
	_ = r.Close()
	again := open(t, s, func(cfg *gitrepo.Config) { cfg.Dir = dir })
	if got := tip(t, again, mainRef); got != at {
		t.Errorf("the mirror on disk has %s, want %s", got, at)
	}
}

// A push is one question and one answer: its time is most of a commit's time.
func TestRequests(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	update := edit(t, r, "2\n")
	requests := make(chan string, 10)
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		requests <- req.Method + " " + strings.TrimPrefix(req.URL.Path, "/repo.git")
		next.ServeHTTP(w, req)
	})
	drain := func() (seen []string) {
		for len(requests) > 0 {
			seen = append(seen, <-requests)
		}
		return seen
	}
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"GET /info/refs", "POST /git-receive-pack"}, drain()); diff != "" {
		t.Errorf("requests of a push: -want, +got:\n%s", diff)
	}
	step(t, r, nil)
	if diff := cmp.Diff([]string{"GET /info/refs", "POST /git-upload-pack"}, drain()); diff != "" {
		t.Errorf("requests of a fetch that brings nothing: -want, +got:\n%s", diff)
	}
}

func TestPushRaces(t *testing.T) {
	s, c := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	update := edit(t, r, "2\n")
	c.Write(map[string]string{"b": "foreign\n"})
	foreign := id(t, c.Commit("foreign"))
	c.Push()

	t.Run("TipMoved", func(t *testing.T) {
		if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); !fault.Is(err, fault.Conflict) {
			t.Errorf("Push: %v, want a conflict", err)
		}
	})
	t.Run("MovedBehindTheAdvertisement", func(t *testing.T) {
		if _, err := r.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if gitrepotest.IsPush(req) {
				gitrepotest.Git(t, s.Dir, "update-ref", mainRef, foreign.String()+"~1")
			}
			next.ServeHTTP(w, req)
		})
		defer s.Intercept(nil)
		for name, updates := range map[string][]gitrepo.RefUpdate{
			"One": {edit(t, r, "3\n")},
			"Two": {edit(t, r, "3\n"), {Ref: "refs/tandem/ledger", New: foreign}},
		} {
			if err := r.Push(t.Context(), updates); !fault.Is(err, fault.Conflict) {
				t.Errorf("Push of %s: %v, want a conflict", name, err)
			}
			gitrepotest.Git(t, s.Dir, "update-ref", mainRef, foreign.String())
		}
	})
	t.Run("InWordsOfTheHost", func(t *testing.T) {
		s.Hook(t, "update", "git update-ref "+mainRef+" "+foreign.String()+"~1; echo somebody was faster >&2; exit 1")
		defer s.Hook(t, "update", "")
		for name, updates := range map[string][]gitrepo.RefUpdate{
			"One": {edit(t, r, "3\n")},
			"Two": {edit(t, r, "3\n"), {Ref: "refs/tandem/ledger", New: foreign}},
		} {
			if err := r.Push(t.Context(), updates); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "somebody was faster") {
				t.Errorf("Push of %s: %v, want a conflict with the host's words", name, err)
			}
			gitrepotest.Git(t, s.Dir, "update-ref", mainRef, foreign.String())
		}
	})
	t.Run("CreatedMeanwhile", func(t *testing.T) {
		err := r.Push(t.Context(), []gitrepo.RefUpdate{{Ref: mainRef, New: update.New}})
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("Push: %v, want a conflict", err)
		}
	})
	if got := remoteTip(t, r, mainRef); got != foreign {
		t.Errorf("the host has %s, want the foreign %s", got, foreign)
	}
}

func TestPushAllOrNone(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	update := edit(t, r, "2\n")
	ledger := gitrepo.RefUpdate{Ref: "refs/tandem/ledger", Old: update.New, New: update.New} // it does not exist
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update, ledger}); !fault.Is(err, fault.Conflict) {
		t.Errorf("Push: %v, want a conflict", err)
	}
	if got := remoteTip(t, r, mainRef); got != update.Old {
		t.Errorf("half of the push was taken")
	}
	ledger.Old = gitobject.ID{}
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update, ledger}); err != nil {
		t.Fatal(err)
	}
	want := []gitrepo.Ref{{Name: mainRef, ID: update.New}, {Name: "refs/tandem/ledger", ID: update.New}}
	if diff := cmp.Diff(want, r.Refs("refs/")); diff != "" {
		t.Errorf("Refs: -want, +got:\n%s", diff)
	}
}

func TestPushNeverDropsCommits(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	lonely, err := r.WriteFiles(t.Context(), gitobject.ID{}, map[string][]byte{"a": []byte("x")}, meta("x\n", nil))
	if err != nil {
		t.Fatal(err)
	}
	update := gitrepo.RefUpdate{Ref: mainRef, Old: tip(t, r, mainRef), New: lonely}
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); !errors.Is(err, gitrepo.ErrNoChain) {
		t.Errorf("Push of a rewritten branch: %v, want ErrNoChain", err)
	}
	update.New = gitobject.ID{}
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); !fault.Is(err, fault.Invalid) {
		t.Errorf("Push of a deletion: %v", err)
	}
	update.New, update.Replace, update.Old, update.Ref = lonely, true, gitobject.ID{}, "refs/heads/tandem/pr"
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil {
		t.Fatal(err)
	}
	update.Old, update.New = lonely, tip(t, r, mainRef)
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil {
		t.Errorf("Push that replaces a branch of ours: %v", err)
	}
	update.Old, update.New = update.New, gitobject.ID{}
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil {
		t.Errorf("Push that deletes a branch of ours: %v", err)
	}
	if _, ok := r.Tip(update.Ref); ok {
		t.Error("the mirror still has a branch that was deleted")
	}
}

func TestPushRefused(t *testing.T) {
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	update := edit(t, r, "2\n")
	status := func(code int) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if gitrepotest.IsPush(req) || strings.Contains(req.URL.RawQuery, "receive-pack") && code == http.StatusUnauthorized {
				http.Error(w, "no", code)
				return
			}
			next.ServeHTTP(w, req)
		}
	}
	for name, tc := range map[string]struct {
		hook, script string
		status       int
		want         fault.Kind
		says         string
	}{
		"PreReceive":   {hook: "pre-receive", script: "echo frozen until monday >&2; exit 1", want: fault.Unauthorized, says: "frozen until monday"},
		"Update":       {hook: "update", script: "echo not $1 >&2; exit 1", want: fault.Unauthorized, says: "not refs/heads/main"},
		"Forbidden":    {status: http.StatusForbidden, want: fault.Unauthorized, says: "403"},
		"Unauthorized": {status: http.StatusUnauthorized, want: fault.Unauthorized},
		"TooLarge":     {status: http.StatusRequestEntityTooLarge, want: fault.Unauthorized, says: "413"},
		"Gone":         {status: http.StatusNotFound, want: fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.hook != "" {
				s.Hook(t, tc.hook, tc.script)
				defer s.Hook(t, tc.hook, "")
			} else {
				s.Intercept(status(tc.status))
				defer s.Intercept(nil)
			}
			err := r.Push(t.Context(), []gitrepo.RefUpdate{update})
			if !fault.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Push: %v, want %s that says %q", err, tc.want, tc.says)
			}
			if errors.Is(err, gitrepo.ErrOutcomeUnknown) {
				t.Errorf("Push: %v: a refusal is certain", err)
			}
		})
	}
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil {
		t.Errorf("Push once the host lets us: %v", err)
	}
}

func TestPushOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		intercept func(http.ResponseWriter, *http.Request, http.Handler)
		taken     bool
	}{
		"CutAfter":  {gitrepotest.CutAfter, true},
		"CutBefore": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { gitrepotest.Cut(w) }, false},
		"BadGateway": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			http.Error(w, "bad gateway", http.StatusBadGateway)
		}, false},
		"Stalls": {gitrepotest.Stall, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := seeded(t, map[string]string{"a": "1\n"})
			r := fetched(t, s, func(cfg *gitrepo.Config) {
				if name == "Stalls" {
					cfg.PushTimeout = 5 * time.Second
				}
			})
			update := edit(t, r, "2\n")
			s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				if gitrepotest.IsPush(req) {
					tc.intercept(w, req, next)
					return
				}
				next.ServeHTTP(w, req)
			})
			if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); !errors.Is(err, gitrepo.ErrOutcomeUnknown) {
				t.Errorf("Push: %v, want ErrOutcomeUnknown", err)
			}
			s.Intercept(nil)
			if _, err := r.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, err := r.Reachable(t.Context(), update.New, []string{mainRef}); err != nil || got != tc.taken {
				t.Errorf("Reachable after a look = %t, %v, want %t", got, err, tc.taken)
			}
			// The same commit again is never a second one.
			update.Old = tip(t, r, mainRef)
			if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil && !errors.Is(err, gitrepo.ErrNoChain) {
				t.Errorf("Push of the same commit: %v", err)
			}
			if got := strings.TrimSpace(gitrepotest.Git(t, s.Dir, "rev-list", "--count", "main")); got != "2" {
				t.Errorf("%s commits, want 2", got)
			}
		})
	}
}

// A fetch that is stopped half way leaves a mirror that works, and no process.
func TestFetchStopped(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	before := tip(t, r, mainRef)
	c.Write(map[string]string{"a": "2\n"})
	after := id(t, c.Commit("second"))
	c.Push()

	ctx, cancel := context.WithCancel(t.Context())
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.Method == http.MethodPost {
			// As a killed command would have left it.
			if err := os.WriteFile(filepath.Join(r.GitDir(), "packed-refs.lock"), nil, 0o600); err != nil {
				t.Error(err)
			}
			cancel()
			gitrepotest.Stall(w, req, next)
			return
		}
		next.ServeHTTP(w, req)
	})
	if _, err := r.Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch: %v, want that it was cancelled", err)
	}
	s.Intercept(nil)
	if got := tip(t, r, mainRef); got != before {
		t.Errorf("tip = %s, want %s", got, before)
	}
	step(t, r, []gitrepo.RefChange{{Ref: mainRef, Old: before, New: after}})
	if err := r.Maintain(t.Context()); err != nil { // it needs the lock that was left
		t.Error(err)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	s.RequirePassword("hunter2")
	file := filepath.Join(t.TempDir(), "password")
	write := func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("s3cret\n")
	r := open(t, s, func(cfg *gitrepo.Config) { cfg.Auth.PasswordFile = file })
	_, err := r.Fetch(t.Context())
	if !fault.Is(err, fault.Unauthorized) {
		t.Errorf("Fetch with the wrong password: %v", err)
	}
	for _, secret := range []string{"s3cret", "Basic", "Z2l0OnMzY3JldA"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
	write("hunter2\n") // rotated
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{edit(t, r, "2\n")}); err != nil {
		t.Error(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Fetch(t.Context()); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("Fetch without a password: %v", err)
	}
}
