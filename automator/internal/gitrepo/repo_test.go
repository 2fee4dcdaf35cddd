package gitrepo_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mainRef  = "refs/heads/main"
	otherRef = "refs/heads/other"
)

// open opens a mirror of the host, closed with the test.
func open(tb testing.TB, s *gitrepotest.Server, change ...func(*gitrepo.Config)) *gitrepo.Repo {
	tb.Helper()
	cfg := gitrepo.Config{Name: "app", URL: s.URL(), Dir: tb.TempDir()}
	for _, f := range change {
		f(&cfg)
	}
	r, err := gitrepo.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Close() })
	return r
}

// fetched is a mirror that has fetched.
func fetched(tb testing.TB, s *gitrepotest.Server, change ...func(*gitrepo.Config)) *gitrepo.Repo {
	tb.Helper()
	r := open(tb, s, change...)
	if _, err := r.Fetch(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return r
}

func id(tb testing.TB, hex string) gitobject.ID {
	tb.Helper()
	parsed, err := gitobject.ParseID(hex)
	if err != nil {
		tb.Fatal(err)
	}
	return parsed
}

func tip(tb testing.TB, r *gitrepo.Repo, ref string) gitobject.ID {
	tb.Helper()
	at, ok := r.Tip(ref)
	if !ok {
		tb.Fatalf("%s is not in the mirror", ref)
	}
	return at
}

// seeded is a host whose main has one commit of these files.
func seeded(tb testing.TB, files map[string]string, initArgs ...string) (*gitrepotest.Server, *gitrepotest.Clone) {
	tb.Helper()
	s := gitrepotest.New(tb, initArgs...)
	c := s.Clone(tb)
	c.Write(files)
	c.Commit("first")
	c.Push()
	return s, c
}

// Whoever fetches again and again leaves as much time to pushes.
func TestRest(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := open(t, s)
	if rest := r.Rest(); rest != 0 {
		t.Errorf("before the first fetch: %s", rest)
	}
	const took = 24 * time.Hour
	r.Rested(time.Now().Add(-took))
	if rest := r.Rest(); rest > took+time.Second || rest < took/2 {
		t.Errorf("%s after a fetch of %s", rest, took)
	}
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rest := r.Rest(); rest > took/2 {
		t.Errorf("%s after a fetch that took less", rest)
	}
}

func TestFetchReportsWhatMoved(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	var told []gitrepo.RefChange
	r := open(t, s, func(cfg *gitrepo.Config) {
		cfg.OnChange = func(changed []gitrepo.RefChange) { told = append(told, changed...) }
	})
	if _, ok := r.Tip(mainRef); ok {
		t.Error("a mirror that never fetched has a tip")
	}

	gitrepotest.Git(t, c.Dir, "branch", "other")
	gitrepotest.Git(t, c.Dir, "tag", "-a", "-m", "one", "v1")
	c.Push("other", "v1")
	first := id(t, head(t, c))
	tag := id(t, gitrepotest.Git(t, c.Dir, "rev-parse", "v1")[:40])
	step(t, r, []gitrepo.RefChange{
		{Ref: mainRef, New: first}, {Ref: otherRef, New: first}, {Ref: "refs/tags/v1", New: tag},
	})
	step(t, r, nil)

	c.Write(map[string]string{"a": "2\n"})
	second := id(t, c.Commit("second"))
	c.Push(":other")
	step(t, r, []gitrepo.RefChange{{Ref: mainRef, Old: first, New: second}, {Ref: otherRef, Old: first}})
	if len(told) != 5 {
		t.Errorf("OnChange was told of %d changes, want 5", len(told))
	}
	if at, ok, err := r.RemoteTip(t.Context(), mainRef); err != nil || !ok || at != second {
		t.Errorf("RemoteTip = %s, %t, %v, want %s", at, ok, err, second)
	}
	if _, ok, err := r.RemoteTip(t.Context(), otherRef); err != nil || ok {
		t.Errorf("RemoteTip of a deleted branch = %t, %v", ok, err)
	}
	want := []gitrepo.Ref{{Name: "refs/tags/v1", ID: tag}}
	if diff := cmp.Diff(want, r.Refs("refs/tags/")); diff != "" {
		t.Errorf("Refs: -want, +got:\n%s", diff)
	}
}

func head(tb testing.TB, c *gitrepotest.Clone) string {
	tb.Helper()
	return gitrepotest.Git(tb, c.Dir, "rev-parse", "HEAD")[:40]
}

func step(t *testing.T, r *gitrepo.Repo, want []gitrepo.RefChange) {
	t.Helper()
	got, err := r.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Fetch(): -want, +got:\n%s", diff)
	}
}

// A branch that becomes a folder of branches, and back, must not stop the mirror.
func TestFetchFileAndFolder(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	c.Push("main:team")
	r := fetched(t, s)
	c.Push(":team")
	c.Push("main:team/a")
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Push(":team/a")
	c.Push("main:team")
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	tip(t, r, "refs/heads/team")
}

func TestRestart(t *testing.T) {
	s, c := seeded(t, map[string]string{"a": "1\n"})
	dir := t.TempDir()
	in := func(cfg *gitrepo.Config) { cfg.Dir = dir }
	r := fetched(t, s, in)
	gitDir, at := r.GitDir(), tip(t, r, mainRef)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("LocksOfAKilledPredecessor", func(t *testing.T) {
		for _, name := range []string{"refs/heads/main.lock", "packed-refs.lock", "HEAD.lock", "objects/pack/tmp_pack_x"} {
			if err := os.WriteFile(filepath.Join(gitDir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c.Write(map[string]string{"a": "2\n"})
		next := id(t, c.Commit("next"))
		c.Push()
		r := open(t, s, in)
		if got := tip(t, r, mainRef); got != at {
			t.Errorf("tip after a restart is %s, want %s", got, at)
		}
		step(t, r, []gitrepo.RefChange{{Ref: mainRef, Old: at, New: next}})
		_ = r.Close()
	})
	t.Run("AnotherRemote", func(t *testing.T) {
		other, _ := seeded(t, map[string]string{"b": "1\n"})
		r := open(t, other, in)
		if _, ok := r.Tip(mainRef); ok {
			t.Error("the mirror of another remote was taken over")
		}
		_ = r.Close()
	})
}

func TestDamagedMirrorIsRebuilt(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	for _, path := range packs(t, r) {
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	c.Write(map[string]string{"a": "2\n"})
	next := id(t, c.Commit("next"))
	c.Push()
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Commit(t.Context(), next); err != nil {
		t.Error(err)
	}
	if chain, err := r.Chain(t.Context(), id(t, gitrepotest.Git(t, c.Dir, "rev-parse", "HEAD~1")[:40]), next); err != nil || len(chain) != 1 {
		t.Errorf("Chain = %v, %v", chain, err)
	}
}

func packs(t *testing.T, r *gitrepo.Repo) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(r.GitDir(), "objects", "pack", "*.pack"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("packs: %v, %v", paths, err)
	}
	return paths
}

func TestOneProcessPerMirror(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	dir := t.TempDir()
	r := fetched(t, s, func(cfg *gitrepo.Config) { cfg.Dir = dir })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	cfg := gitrepo.Config{Name: "app", URL: s.URL(), Dir: dir}
	if _, err := gitrepo.Open(ctx, cfg); !fault.Is(err, fault.Conflict) {
		t.Errorf("second Open: %v, want a conflict", err)
	}
	_ = r.Close()
	second, err := gitrepo.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
}

func TestEmptyRemote(t *testing.T) {
	t.Parallel()
	s := gitrepotest.New(t, "--object-format=sha256")
	r := fetched(t, s)
	c := s.Clone(t)
	c.Write(map[string]string{"a": "1\n"})
	first := id(t, c.Commit("first"))
	c.Push()
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := tip(t, r, mainRef); got != first || got.Algorithm() != gitobject.SHA256 {
		t.Errorf("tip = %s of %s, want %s", got, got.Algorithm(), first)
	}
}

func TestMaintain(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	first := tip(t, r, mainRef)
	for _, content := range []string{"2\n", "3\n", "4\n"} {
		c.Write(map[string]string{"a": content})
		c.Commit(content)
		c.Push()
		if _, err := r.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(packs(t, r)); n != 4 || !r.MaintenanceDue() {
		t.Errorf("%d packs after four fetches, maintenance due: %t", n, r.MaintenanceDue())
	}
	for range 2 {
		if err := r.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(packs(t, r)); n > 2 || r.MaintenanceDue() {
			t.Errorf("%d packs after Maintain, due again: %t", n, r.MaintenanceDue())
		}
		if chain, err := r.Chain(t.Context(), first, tip(t, r, mainRef)); err != nil || len(chain) != 3 {
			t.Errorf("Chain after Maintain = %v, %v", chain, err)
		}
	}
}

func TestLooseObjectsAreMaintained(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	if err := r.Maintain(t.Context()); err != nil || r.MaintenanceDue() {
		t.Fatalf("after Maintain: due %t, %v", r.MaintenanceDue(), err)
	}
	dir, args := t.TempDir(), []string{"hash-object", "-w"}
	n := 0
	for ; len(args) < 30; n++ { // only objects of one folder in 256 are written: git would take minutes for all
		content := []byte(strconv.Itoa(n))
		id, err := gitobject.Hash(gitobject.SHA1, gitobject.TypeBlob, content)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(id.String(), "17") {
			continue
		}
		file := filepath.Join(dir, id.String())
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	gitrepotest.Git(t, r.GitDir(), args...)
	if !r.MaintenanceDue() || n < 5000 || n > 10_000 {
		t.Errorf("due %t with loose objects that stand for %d, want about 7,000", r.MaintenanceDue(), n)
	}
	if err := r.Maintain(t.Context()); err != nil || r.MaintenanceDue() {
		t.Errorf("after Maintain with loose objects: due %t, %v", r.MaintenanceDue(), err)
	}
}
