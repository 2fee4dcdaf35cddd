package gitobject

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestDeltaLeadsToItsTarget(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawAlgorithm(t)
		from, to := drawTree(t, a), drawTree(t, a)
		got, err := TreeDelta(from, to).Apply(from)
		if err != nil {
			t.Fatalf("Apply(...): %v", err)
		}
		if diff := cmp.Diff(to, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("TreeDelta(from, to).Apply(from): -want, +got:\n%s", diff)
		}
		if d := TreeDelta(to, to); len(d.Set)+len(d.Remove) > 0 {
			t.Fatalf("TreeDelta(to, to) = %v, want nothing", d)
		}
	})
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	id, err := Hash(SHA1, TypeBlob, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := Entry{ModeFile, "a", id}, Entry{ModeFile, "b", id}
	cases := map[string]struct {
		reason string
		delta  Delta
	}{
		"RemoveAbsent":  {"what is not there cannot go", Delta{Remove: []string{"b"}}},
		"RemoveTwice":   {"nothing goes twice", Delta{Remove: []string{"a", "a"}}},
		"RemoveAndSet":  {"an entry has one fate", Delta{Remove: []string{"a"}, Set: []Entry{a}}},
		"SetTwice":      {"an entry has one value", Delta{Set: []Entry{b, b}}},
		"SetReserved":   {"the outcome is a tree Git accepts", Delta{Set: []Entry{{ModeFile, ".GIT", id}}}},
		"SetWithoutAny": {"an absent entry is not set", Delta{Set: []Entry{{}}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := tc.delta.Apply(Tree{a}); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: Apply(...) = %v, %v, want %v", tc.reason, got, err, ErrMalformed)
			}
		})
	}
}
