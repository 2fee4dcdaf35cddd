package gitrepo_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/fault"
)

// requests notes what a host is asked, and by whom.
type requests struct {
	mu   sync.Mutex
	seen []string
}

func watch(s *gitrepotest.Server) *requests {
	r := &requests{}
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		who := "git"
		if req.UserAgent() == "git/tandem" {
			who = "we"
		}
		r.mu.Lock()
		r.seen = append(r.seen, who+" "+req.Method+" "+strings.TrimPrefix(req.URL.RequestURI(), "/repo.git/"))
		r.mu.Unlock()
		next.ServeHTTP(w, req)
	})
	return r
}

func (r *requests) want(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.seen); diff != "" {
		t.Errorf("requests: -want, +got:\n%s", diff)
	}
	r.seen = nil
}

const (
	discovery = "we GET info/refs?service=git-receive-pack"
	sent      = "we POST git-receive-pack"
	v2        = "we GET info/refs?service=git-upload-pack"
	obtained  = "we POST git-upload-pack"
)

// Both hashes, a tree of trees, a file that grows and one that goes: what is sent is what git finds whole.
func TestNativePush(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s := gitrepotest.New(t, "--object-format="+format)
			for key, value := range map[string]string{"receive.fsckObjects": "true", "receive.unpackLimit": "1"} { // the strictest host
				gitrepotest.Git(t, s.Dir, "config", key, value)
			}
			c := s.Clone(t)
			c.Write(map[string]string{"a": "1\n", "deep/er/b": "1\n", "gone": "1\n"})
			c.Commit("first")
			c.Push()
			r := fetched(t, s)
			asked := watch(s)
			for i, content := range []string{"2\n", strings.Repeat("many\n", 100_000)} {
				base := tip(t, r, mainRef)
				files := map[string][]byte{"deep/er/b": []byte(content), fmt.Sprintf("new/%d", i): []byte(content)}
				if i == 0 {
					files["gone"] = nil
				}
				commit, err := r.WriteFiles(t.Context(), base, files, meta("edit\n", nil))
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Push(t.Context(), []gitrepo.RefUpdate{{Ref: mainRef, Old: base, New: commit}}); err != nil {
					t.Fatal(err)
				}
				asked.want(t, discovery, sent)
				if got := tip(t, r, mainRef); got != commit {
					t.Errorf("the mirror has %s, want %s", got, commit)
				}
			}
			gitrepotest.Git(t, s.Dir, "fsck", "--strict", "--no-dangling")
			if got := strings.Fields(gitrepotest.Git(t, s.Dir, "ls-tree", "-r", "--name-only", "main")); !slices.Equal(got, []string{"a", "deep/er/b", "new/0", "new/1"}) {
				t.Errorf("the host has %q", got)
			}
			if got := gitrepotest.Git(t, r.GitDir(), "rev-parse", mainRef); strings.TrimSpace(got) != tip(t, r, mainRef).String() {
				t.Errorf("the mirror on disk has %s", got)
			}
		})
	}
}

// A lost race costs two requests until the mirror is new, and one until the next push has ended.
func TestRaceWithoutGit(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n", "b": "1\n"})
	r := fetched(t, s)
	lost := edit(t, r, "2\n")
	c.Write(map[string]string{"b": strings.Repeat("theirs\n", 1000), "more/c": "1\n"})
	foreign := id(t, c.Commit("foreign"))
	c.Push()
	asked := watch(s)
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{lost}); !fault.Is(err, fault.Conflict) {
		t.Fatalf("Push: %v, want a conflict", err)
	}
	asked.want(t, discovery)
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	asked.want(t, v2, obtained)
	if got := tip(t, r, mainRef); got != foreign {
		t.Fatalf("the mirror has %s, want %s", got, foreign)
	}
	won := edit(t, r, "2\n")
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{won}); err != nil {
		t.Fatal(err)
	}
	asked.want(t, sent)
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	asked.want(t, discovery)
	if got := remoteTip(t, r, mainRef); got != won.New {
		t.Errorf("the host has %s, want %s", got, won.New)
	}
	gitrepotest.Git(t, r.GitDir(), "fsck", "--strict", "--no-dangling")
	step(t, r, nil)
}

// What the host said just before may be old when it is acted on: the host decides.
func TestPushAfterAnOldAnswer(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	update := edit(t, r, "2\n")
	c.Write(map[string]string{"b": "theirs\n"})
	foreign := id(t, c.Commit("foreign"))
	c.Push()
	asked := watch(s)
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); !fault.Is(err, fault.Conflict) {
		t.Errorf("Push: %v, want a conflict", err)
	}
	asked.want(t, sent)
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	if got := tip(t, r, mainRef); got != foreign {
		t.Errorf("the mirror has %s, want %s", got, foreign)
	}
}

// A branch that was rewritten, one that is gone and a push whose end nobody knows.
func TestFetchRef(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	fetch := func() {
		t.Helper()
		if err := r.FetchRef(t.Context(), mainRef); err != nil {
			t.Fatal(err)
		}
	}
	update := edit(t, r, "2\n")
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if gitrepotest.IsPush(req) {
			gitrepotest.CutAfter(w, req, next)
			return
		}
		next.ServeHTTP(w, req)
	})
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); !errors.Is(err, gitrepo.ErrOutcomeUnknown) {
		t.Errorf("Push: %v, want ErrOutcomeUnknown", err)
	}
	asked := watch(s)
	fetch()
	asked.want(t, discovery)
	if got := tip(t, r, mainRef); got != update.New {
		t.Errorf("the mirror has %s, want %s, which was taken", got, update.New)
	}
	s.Intercept(nil)

	gitrepotest.Git(t, c.Dir, "checkout", "--quiet", "--orphan", "anew")
	c.Write(map[string]string{"a": "anew\n"})
	anew := id(t, c.Commit("anew"))
	gitrepotest.Git(t, c.Dir, "push", "--quiet", "--force", "origin", "HEAD:main")
	fetch()
	if got := tip(t, r, mainRef); got != anew {
		t.Errorf("the mirror has %s, want the rewritten %s", got, anew)
	}
	gitrepotest.Git(t, s.Dir, "update-ref", "-d", mainRef)
	fetch()
	if _, ok := r.Tip(mainRef); ok {
		t.Error("the mirror has a branch that is gone")
	}
}

// Whatever a host says that is not as usual, git is asked, or nobody knows; never is it taken for a push.
func TestHostsThatAnswerStrangely(t *testing.T) {
	t.Parallel()
	report := func(lines ...string) string {
		var body strings.Builder
		for _, line := range lines {
			fmt.Fprintf(&body, "%04x%s", len(line)+4, line)
		}
		return body.String() + "0000"
	}
	band := func(n byte, text string) string { return fmt.Sprintf("%04x%c%s", len(text)+5, n, text) }
	for name, tc := range map[string]struct {
		answer  string
		unknown bool
		says    string
	}{
		"Nothing":         {answer: "", unknown: true},
		"NoReport":        {answer: "0000", unknown: true},
		"AnotherRef":      {answer: band(1, report("unpack ok\n", "ok refs/heads/other\n")) + "0000", unknown: true},
		"NotUnpacked":     {answer: band(1, report("unpack disk full\n", "ok refs/heads/main\n")) + "0000", unknown: true},
		"BrokenOff":       {answer: band(1, report("unpack ok\n")) + band(3, "s3cret out of memory"), unknown: true},
		"Cut":             {answer: band(1, report("unpack ok\n", "ok refs/heads/main\n")[:30]), unknown: true},
		"CutAfterIt":      {answer: band(1, report("unpack ok\n", "ng refs/heads/main frozen\n")), says: "frozen"},
		"NoLine":          {answer: "zzzz", unknown: true},
		"UnknownChannel":  {answer: band(7, "x") + "0000", unknown: true},
		"EndlessMessages": {answer: strings.Repeat(band(2, strings.Repeat("x", 60_000)), 40) + band(1, report("unpack ok\n", "ok refs/heads/main\n")) + "0000", unknown: true},
		"NoObjects":       {answer: band(1, report("unpack disk full\n")) + "0000", unknown: true, says: "disk full"},
		"UnpackerError":   {answer: band(1, report("unpack disk full\n", "ng refs/heads/main unpacker error\n")) + "0000", says: "(unpacker error: disk full)"},
		"Refused":         {answer: band(2, "frozen\n") + band(1, report("unpack ok\n", "ng refs/heads/main\n")) + "0000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := seeded(t, map[string]string{"a": "1\n"})
			r := fetched(t, s)
			s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				if gitrepotest.IsPush(req) {
					_, _ = w.Write([]byte(tc.answer))
					return
				}
				next.ServeHTTP(w, req)
			})
			err := r.Push(t.Context(), []gitrepo.RefUpdate{edit(t, r, "2\n")})
			if errors.Is(err, gitrepo.ErrOutcomeUnknown) != tc.unknown || !tc.unknown && !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Push: %v", err)
			}
		})
	}
}

// A push is done when the host says so, and what it runs afterwards may take longer than a push.
func TestReportOfAnAnswerWithoutAnEnd(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s, func(cfg *gitrepo.Config) { cfg.PushTimeout = 5 * time.Second })
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if !gitrepotest.IsPush(req) {
			next.ServeHTTP(w, req)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, req)
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		_, _ = w.Write(bytes.TrimSuffix(answer.Body.Bytes(), []byte("0000")))
		_ = http.NewResponseController(w).Flush()
		gitrepotest.Stall(w, req, next)
	})
	update := edit(t, r, "2\n")
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil {
		t.Errorf("Push: %v", err)
	}
	s.Intercept(nil)
	if got := remoteTip(t, r, mainRef); got != update.New {
		t.Errorf("the host has %s, want %s", got, update.New)
	}
}

// A host that cannot be spoken to natively is spoken to by git.
func TestGitIsAskedWhenUnusual(t *testing.T) {
	t.Parallel()
	change := func(from, to string) func([]byte) []byte {
		return func(body []byte) []byte { return bytes.Replace(body, []byte(from), []byte(to), 1) }
	}
	for name, rewrite := range map[string]func([]byte) []byte{
		"NoReports":   change("report-status ", "report-statuz "),
		"AnotherHash": change("object-format=sha1", "object-format=md55"),
		"BadLine":     func(body []byte) []byte { return append([]byte("zzzz"), body...) },
		"BadRef":      change(" refs/heads/main", "xrefs/heads/main"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := seeded(t, map[string]string{"a": "1\n"})
			r := fetched(t, s)
			s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				if req.Method == http.MethodGet && req.UserAgent() == "git/tandem" {
					answer := httptest.NewRecorder()
					next.ServeHTTP(answer, req)
					w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
					_, _ = w.Write(rewrite(answer.Body.Bytes()))
					return
				}
				next.ServeHTTP(w, req)
			})
			update := edit(t, r, "2\n")
			if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil {
				t.Fatal(err)
			}
			if got := remoteTip(t, r, mainRef); got != update.New {
				t.Errorf("the host has %s, want %s", got, update.New)
			}
		})
	}
}

// A redirect never gets our password, nor a push.
func TestNativePushFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		t.Errorf("another host was sent %s %s", req.Method, req.URL)
	}))
	defer other.Close()
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if gitrepotest.IsPush(req) {
			http.Redirect(w, req, other.URL+req.URL.RequestURI(), http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, req)
	})
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{edit(t, r, "2\n")}); !fault.Is(err, fault.Invalid) {
		t.Errorf("Push: %v, want that a redirect is not followed", err)
	}
}
