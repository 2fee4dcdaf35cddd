package revision_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/revision"
)

func TestCleanPaths(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		paths  []string
		want   []string
	}{
		"Children":  {reason: "A path below another adds nothing.", paths: []string{"env/dev/db", "base", "env/dev"}, want: []string{"base", "env/dev"}},
		"NotPrefix": {reason: "A name that only starts alike is no child.", paths: []string{"a/b", "a-b", "a"}, want: []string{"a", "a-b"}},
		"Root":      {reason: "The root covers everything.", paths: []string{"x", "./"}, want: []string{""}},
		"Twice":     {reason: "Once is enough.", paths: []string{"a/", "./a"}, want: []string{"a"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := revision.CleanPaths(tc.paths)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nCleanPaths(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	for _, bad := range []string{"/etc", "../x", "a/../../b", "a\x00b", "a\\b", strings.Repeat("a", revision.MaxPathLength+1)} {
		if _, err := revision.CleanPaths([]string{bad}); !fault.Is(err, fault.Invalid) {
			t.Errorf("CleanPaths(%.20q): got %v, want Invalid", bad, err)
		}
	}
}

func TestCleanPathsIsCanonical(t *testing.T) {
	t.Parallel()
	segment := rapid.SampledFrom([]string{"a", "b", "a-b", "a.b", "."})
	paths := rapid.SliceOf(rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "segments"), "/")
	}))
	rapid.Check(t, func(t *rapid.T) {
		in := paths.Draw(t, "paths")
		got, err := revision.CleanPaths(in)
		if err != nil {
			t.Fatal(err)
		}
		again, err := revision.CleanPaths(got)
		if err != nil || !slices.Equal(got, again) {
			t.Fatalf("CleanPaths is not idempotent: %v then %v, %v", got, again, err)
		}
		for i, p := range got {
			if revision.CoveredBy(slices.Delete(slices.Clone(got), i, i+1), p) {
				t.Fatalf("CleanPaths(%v) keeps %q below another: %v", in, p, got)
			}
		}
	})
}

func TestSourceValidate(t *testing.T) {
	t.Parallel()
	if err := (revision.Source{Repository: "deploy", Ref: "refs/heads/main"}).Validate(); err != nil {
		t.Errorf("Validate(good): got %v", err)
	}
	for _, bad := range []revision.Source{
		{Repository: "", Ref: "refs/heads/main"},
		{Repository: "a/b", Ref: "refs/heads/main"},
		{Repository: "a", Ref: "main"},
		{Repository: "a", Ref: "refs/heads/a..b"},
		{Repository: "a", Ref: "refs/heads/*"},
	} {
		if err := bad.Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("Validate(%v): got %v, want Invalid", bad, err)
		}
	}
}

func TestBranches(t *testing.T) {
	t.Parallel()
	if got := revision.BranchRef("release/1"); got != "refs/heads/release/1" {
		t.Errorf("BranchRef: %s", got)
	}
	for ref, want := range map[string]string{"refs/heads/release/1": "release/1", "refs/tags/v1": "refs/tags/v1", "main": "main"} {
		if got := revision.BranchOf(ref); got != want {
			t.Errorf("BranchOf(%q) = %q, want %q", ref, got, want)
		}
	}
}
