package gitrepo_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/fault"
)

// TestAnOldAnswerRewindsNothing has a push hear of a commit, and the mirror come further than that by itself before anybody acts on it.
func TestAnOldAnswerRewindsNothing(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	lost := edit(t, r, "2\n")
	c.Write(map[string]string{"b": "theirs\n"})
	c.Commit("foreign")
	c.Push()
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{lost}); !fault.Is(err, fault.Conflict) {
		t.Fatalf("Push: %v, want a conflict", err)
	}
	c.Write(map[string]string{"b": "newer\n"})
	newest := id(t, c.Commit("newer"))
	c.Push()
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	if got := tip(t, r, mainRef); got != newest {
		t.Errorf("the mirror has %s, want %s", got, newest)
	}
}

// brokenTree writes a tree with a file named .git.
func brokenTree(t *testing.T, dir string) string {
	t.Helper()
	blob, err := hex.DecodeString(strings.TrimSpace(gitrepotest.Git(t, dir, "rev-parse", "main:a")))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tree")
	if err := os.WriteFile(file, append([]byte("100644 .git\x00"), blob...), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(gitrepotest.Git(t, dir, "hash-object", "-t", "tree", "-w", "--literally", file))
}

// TestFetchRefTakesNoBrokenObjects has a host serve a tree that no checkout may follow.
func TestFetchRefTakesNoBrokenObjects(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	before := tip(t, r, mainRef)
	broken := strings.TrimSpace(gitrepotest.Git(t, s.Dir, "commit-tree", "-p", before.String(), "-m", "broken", brokenTree(t, s.Dir)))
	gitrepotest.Git(t, s.Dir, "update-ref", mainRef, broken)
	if err := r.FetchRef(t.Context(), mainRef); err == nil {
		t.Error("a tree with .git in it was taken")
	}
	if got := tip(t, r, mainRef); got != before {
		t.Errorf("the mirror has %s, want %s as before", got, before)
	}
}

// TestFetchRefIsBounded has a host send a pack that does not end.
func TestFetchRefIsBounded(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	c.Write(map[string]string{"b": "theirs\n"})
	foreign := id(t, c.Commit("foreign"))
	c.Push()
	const most = 64 << 20
	sent := make(chan int, 1)
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.Method != http.MethodPost || req.UserAgent() != "git/tandem" {
			next.ServeHTTP(w, req)
			return
		}
		fmt.Fprint(w, "000dpackfile\n")
		part := fmt.Sprintf("%04x\x01%s", 60_000+5, strings.Repeat("x", 60_000))
		total := 0
		for total < most {
			n, err := w.Write([]byte(part))
			total += n
			if err != nil {
				break
			}
		}
		sent <- total
	})
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	if got := <-sent; got >= most {
		t.Errorf("%d bytes of a pack were taken, which are more than fit", got)
	}
	if got := tip(t, r, mainRef); got != foreign {
		t.Errorf("the mirror has %s, want %s, as git brings it", got, foreign)
	}
}
