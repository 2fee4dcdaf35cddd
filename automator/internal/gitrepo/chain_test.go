package gitrepo_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// history makes commits out of "name: parent parent" lines in the host's repository and returns their ids by name. Every
// commit is a branch as well.
func history(tb testing.TB, s *gitrepotest.Server, lines ...string) map[string]gitobject.ID {
	tb.Helper()
	tree := strings.TrimSpace(gitrepotest.Git(tb, s.Dir, "hash-object", "-t", "tree", "-w", "/dev/null"))
	ids := map[string]gitobject.ID{}
	for i, line := range lines {
		name, parents, _ := strings.Cut(line, ":")
		args := []string{"commit-tree", "-m", fmt.Sprintf("%s %d", name, i), tree}
		for parent := range strings.FieldsSeq(parents) {
			args = append(args, "-p", ids[parent].String())
		}
		ids[name] = id(tb, strings.TrimSpace(gitrepotest.Git(tb, s.Dir, args...)))
		gitrepotest.Git(tb, s.Dir, "update-ref", "refs/heads/"+name, ids[name].String())
	}
	return ids
}

func TestChain(t *testing.T) {
	t.Parallel()
	s := gitrepotest.New(t)
	lines := []string{"a:", "b: a", "c: b", "d: c", "side: b", "merge: d side", "lonely:"}
	last := "merge"
	for i := range 30 { // farther away than what is looked at without git
		name := fmt.Sprintf("far%d", i)
		lines = append(lines, name+": "+last)
		last = name
	}
	ids := history(t, s, lines...)
	r := fetched(t, s)
	far := []string{"merge"}
	for i := range 30 {
		far = append(far, fmt.Sprintf("far%d", i))
	}
	for name, tc := range map[string]struct {
		reason     string
		held, want string
		chain      []string
	}{
		"Same":     {"nothing to do", "c", "c", nil},
		"Parent":   {"the usual case", "b", "c", []string{"c"}},
		"Few":      {"some commits at once", "a", "d", []string{"b", "c", "d"}},
		"Merge":    {"the shorter side of a merge", "b", "merge", []string{"side", "merge"}},
		"FromSide": {"what was held was merged", "side", "merge", []string{"merge"}},
		"Far":      {"git is asked", "side", "far29", far},
		"FarMerge": {"the shorter side, far away", "b", "far29", append([]string{"side"}, far...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := r.Chain(t.Context(), ids[tc.held], ids[tc.want])
			if err != nil {
				t.Fatal(err)
			}
			var want []gitobject.ID
			for _, commit := range tc.chain {
				want = append(want, ids[commit])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Chain(): %s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNoChain(t *testing.T) {
	t.Parallel()
	s := gitrepotest.New(t)
	ids := history(t, s, "a:", "b: a", "c: b", "rewritten: b", "lonely:")
	ids["unknown"] = id(t, strings.Repeat("1", 40))
	r := fetched(t, s)
	for name, tc := range map[string]struct {
		held, want, base string
	}{
		"Rewind":    {"c", "b", "b"},
		"ForcePush": {"c", "rewritten", "b"},
		"Unrelated": {"lonely", "c", ""},
		"Unknown":   {"unknown", "c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := r.Chain(t.Context(), ids[tc.held], ids[tc.want])
			var none *gitrepo.NoChainError
			if !errors.As(err, &none) || !errors.Is(err, gitrepo.ErrNoChain) || !fault.Is(err, fault.Stale) {
				t.Fatalf("Chain: %v, want ErrNoChain", err)
			}
			if none.MergeBase != ids[tc.base] {
				t.Errorf("merge base %s, want %s", none.MergeBase, ids[tc.base])
			}
		})
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	s := gitrepotest.New(t)
	ids := history(t, s, "a:", "b: a", "c: b", "x: a")
	ids["unknown"] = id(t, strings.Repeat("1", 40))
	r := fetched(t, s)
	for name, tc := range map[string]struct {
		commit string
		refs   []string
		want   bool
	}{
		"Tip":        {"c", []string{"refs/heads/x", "refs/heads/c"}, true},
		"Ancestor":   {"a", []string{"refs/heads/c"}, true},
		"OtherRef":   {"c", []string{"refs/heads/x", "refs/heads/b"}, false},
		"Pattern":    {"c", []string{"refs/heads/*"}, true},
		"NoPattern":  {"c", []string{"refs/*"}, false},
		"NoRef":      {"c", nil, false},
		"UnknownRef": {"c", []string{"refs/heads/none"}, false},
		"Unknown":    {"unknown", []string{"refs/heads/c"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := r.Reachable(t.Context(), ids[tc.commit], tc.refs)
			if err != nil || got != tc.want {
				t.Errorf("Reachable = %t, %v, want %t", got, err, tc.want)
			}
		})
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	s := gitrepotest.New(t)
	ids := history(t, s, "a:", "b: a", "x: a", "m: b x", "n: m", "rewritten: a")
	r := fetched(t, s)
	none := gitobject.ID{}
	for name, tc := range map[string]struct {
		span      gitrepo.Span
		want      []string
		continues bool
	}{
		"Since":     {gitrepo.Span{Held: ids["b"], Want: ids["n"], Limit: 10}, []string{"n", "m", "x"}, true},
		"Nothing":   {gitrepo.Span{Held: ids["n"], Want: ids["n"], Limit: 10}, nil, true},
		"Beginning": {gitrepo.Span{Held: none, Want: ids["x"], Limit: 10}, []string{"x", "a"}, false},
		"Limit":     {gitrepo.Span{Held: none, Want: ids["n"], Limit: 2}, []string{"n", "m"}, false},
		"Rewritten": {gitrepo.Span{Held: ids["n"], Want: ids["rewritten"], Limit: 10}, []string{"rewritten", "a"}, false},
		"Unknown":   {gitrepo.Span{Held: id(t, strings.Repeat("1", 40)), Want: ids["b"], Limit: 10}, []string{"b", "a"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, continues, err := r.Walk(t.Context(), tc.span)
			var want []gitobject.ID
			for _, commit := range tc.want {
				want = append(want, ids[commit])
			}
			if diff := cmp.Diff(want, got); err != nil || diff != "" || continues != tc.continues {
				t.Errorf("Walk: %t, %v, -want, +got:\n%s", continues, err, diff)
			}
		})
	}
}

func TestWalkPaths(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"env/dev/a": "1\n", "env/prod/a": "1\n", "*": "1\n"})
	c.Write(map[string]string{"env/dev/a": "2\n"})
	dev := id(t, c.Commit("dev"))
	c.Write(map[string]string{"env/prod/a": "2\n"})
	prod := id(t, c.Commit("prod"))
	c.Push()
	r := fetched(t, s)
	first := id(t, gitrepotest.Git(t, c.Dir, "rev-parse", "HEAD~2")[:40])
	for name, tc := range map[string]struct{ paths, want []string }{
		"One":     {[]string{"env/dev"}, []string{dev.String(), first.String()}},
		"Both":    {[]string{"env/dev", "env/prod"}, []string{prod.String(), dev.String(), first.String()}},
		"Literal": {[]string{"*"}, []string{first.String()}},
		"Whole":   {[]string{""}, []string{prod.String(), dev.String(), first.String()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := r.Walk(t.Context(), gitrepo.Span{Want: prod, Limit: 10, Paths: tc.paths})
			var hexes []string
			for _, commit := range got {
				hexes = append(hexes, commit.String())
			}
			if diff := cmp.Diff(tc.want, hexes); err != nil || diff != "" {
				t.Errorf("Walk: %v, -want, +got:\n%s", err, diff)
			}
			since, continues, err := r.Walk(t.Context(), gitrepo.Span{Want: prod, Held: first, Limit: 10, Paths: tc.paths})
			if diff := cmp.Diff(got[:len(got)-1], since, cmpopts.EquateEmpty()); err != nil || diff != "" || !continues {
				t.Errorf("Walk since the first: %t, %v, -want, +got:\n%s", continues, err, diff)
			}
		})
	}
}
