package plan_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

const label = "shop.web"

func configMap(name string) object.Key {
	return object.Key{Kind: "ConfigMap", Namespace: "shop", Name: name}
}

func desired(key object.Key, file string, version byte) render.Desired {
	return render.Desired{Key: key, Hash: [32]byte{version}, Origin: object.Origin{File: file, Line: 1}}
}

func owned(version byte) plan.Live {
	return plan.Live{UID: "u", Sync: label, Owned: true, Baseline: [32]byte{version}}
}

func recorded(key object.Key, file string, version byte) inventory.Entry {
	return inventory.Entry{Key: key, UID: "u", File: file, Desired: [32]byte{version}, Baseline: [32]byte{version}}
}

// steps prints a plan for comparison.
func steps(p plan.Plan) []string {
	list := []string{}
	for _, s := range p.Steps {
		list = append(list, s.String())
	}
	for _, s := range p.Held {
		list = append(list, "held: "+s.String())
	}
	for _, s := range p.Drift {
		list = append(list, "drift: "+s.String())
	}
	for _, s := range p.Waiting {
		list = append(list, "waiting: "+s.String())
	}
	return list
}

func TestMake(t *testing.T) {
	t.Parallel()
	a, b := configMap("a"), configMap("b")
	inventoryA := map[object.Key]inventory.Entry{a: recorded(a, "a.yaml", 1)}
	cases := map[string]struct {
		reason string
		in     plan.Input
		want   []string
	}{
		"New": {
			reason: "What is not there is applied.",
			in:     plan.Input{Desired: []render.Desired{desired(a, "a.yaml", 1)}},
			want:   []string{"apply ConfigMap/shop/a (new)"},
		},
		"Unchanged": {
			reason: "What is as it should be costs nothing.",
			in:     plan.Input{Desired: []render.Desired{desired(a, "a.yaml", 1)}, Live: map[object.Key]plan.Live{a: owned(1)}, Recorded: inventoryA},
			want:   []string{},
		},
		"Changed": {
			reason: "Git says something else.",
			in:     plan.Input{Desired: []render.Desired{desired(a, "a.yaml", 2)}, Live: map[object.Key]plan.Live{a: owned(1)}, Recorded: inventoryA},
			want:   []string{"apply ConfigMap/shop/a (changed)"},
		},
		"Drift": {
			reason: "Somebody changed a managed field.",
			in:     plan.Input{Desired: []render.Desired{desired(a, "a.yaml", 1)}, Live: map[object.Key]plan.Live{a: owned(9)}, Recorded: inventoryA},
			want:   []string{"apply ConfigMap/shop/a (drifted)"},
		},
		"DriftReport": {
			reason: "The policy is to report.",
			in: plan.Input{
				Desired: []render.Desired{desired(a, "a.yaml", 1)}, Live: map[object.Key]plan.Live{a: owned(9)},
				Recorded: inventoryA, Drift: v1alpha1.DriftReport,
			},
			want: []string{"drift: apply ConfigMap/shop/a (drifted)"},
		},
		"DriftIgnore": {
			reason: "The policy is to look away.",
			in: plan.Input{
				Desired: []render.Desired{desired(a, "a.yaml", 1)}, Recorded: inventoryA, Drift: v1alpha1.DriftIgnore,
			},
			want: []string{},
		},
		"Vanished": {
			reason: "Somebody removed it.",
			in:     plan.Input{Desired: []render.Desired{desired(a, "a.yaml", 1)}, Recorded: inventoryA},
			want:   []string{"apply ConfigMap/shop/a (vanished)"},
		},
		"Recreated": {
			reason: "Another object stands under its name.",
			in: plan.Input{
				Desired: []render.Desired{desired(a, "a.yaml", 1)}, Recorded: inventoryA,
				Live: map[object.Key]plan.Live{a: {UID: "other", Sync: label, Owned: true, Baseline: [32]byte{1}}},
			},
			want: []string{"apply ConfigMap/shop/a (unrecorded)"},
		},
		"Deleting": {
			reason: "What is on its way out is waited for.",
			in: plan.Input{
				Desired: []render.Desired{desired(a, "a.yaml", 1)},
				Live:    map[object.Key]plan.Live{a: {UID: "u", Sync: label, Owned: true, Deleting: true}},
			},
			want: []string{},
		},
		"Gone": {
			reason: "No longer in Git.",
			in:     plan.Input{Prune: true, Live: map[object.Key]plan.Live{a: owned(1)}, Recorded: inventoryA},
			want:   []string{"remove ConfigMap/shop/a (gone)"},
		},
		"GoneButKept": {
			reason: "It asks to stay.",
			in:     plan.Input{Prune: true, Live: map[object.Key]plan.Live{a: {UID: "u", Sync: label, Owned: true, Keep: true}}, Recorded: inventoryA},
			want:   []string{},
		},
		"PruneOff": {
			reason: "The Sync does not prune.",
			in:     plan.Input{Live: map[object.Key]plan.Live{a: owned(1)}, Recorded: inventoryA},
			want:   []string{},
		},
		"BrokenFile": {
			reason: "What its file holds now is unknown.",
			in:     plan.Input{Prune: true, Broken: map[string]bool{"a.yaml": true}, Live: map[object.Key]plan.Live{a: owned(1)}, Recorded: inventoryA},
			want:   []string{},
		},
		"OtherBrokenFile": {
			reason: "Another file's trouble is not its own.",
			in:     plan.Input{Prune: true, Broken: map[string]bool{"b.yaml": true}, Live: map[object.Key]plan.Live{a: owned(1)}, Recorded: inventoryA},
			want:   []string{"remove ConfigMap/shop/a (gone)"},
		},
		"BrokenFileLostRecord": {
			reason: "It may have come from the broken file.",
			in:     plan.Input{Prune: true, Broken: map[string]bool{"b.yaml": true}, Live: map[object.Key]plan.Live{a: owned(1)}},
			want:   []string{},
		},
		"Incomplete": {
			reason: "After a failed render nothing is known to be gone.",
			in:     plan.Input{Prune: true, Incomplete: true, Live: map[object.Key]plan.Live{a: owned(1)}, Recorded: inventoryA},
			want:   []string{},
		},
		"CopiedLabel": {
			reason: "A child that carries a copy of the label is not ours.",
			in:     plan.Input{Prune: true, Live: map[object.Key]plan.Live{b: {UID: "c", Sync: label}}},
			want:   []string{},
		},
		"AnotherSync": {
			reason: "What another Sync owns is not touched.",
			in:     plan.Input{Prune: true, Live: map[object.Key]plan.Live{b: {UID: "c", Sync: "shop.other", Owned: true}}},
			want:   []string{},
		},
		"Namespace": {
			reason: "A namespace takes everything in it along.",
			in:     plan.Input{Prune: true, Live: map[object.Key]plan.Live{{Kind: "Namespace", Name: "shop"}: owned(1)}},
			want:   []string{"held: remove Namespace/shop (gone)"},
		},
		"NamespaceAllowed": {
			reason: "Somebody consented.",
			in:     plan.Input{Prune: true, AllowPrune: true, Live: map[object.Key]plan.Live{{Kind: "Namespace", Name: "shop"}: owned(1)}},
			want:   []string{"remove Namespace/shop (gone)"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.in.Label = label
			if diff := cmp.Diff(tc.want, steps(plan.Make(tc.in))); diff != "" {
				t.Errorf("%s\nMake(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestGuardCountsShareAndNumber(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		keep, gone int
		held       bool
	}{
		"FewOfFew":     {keep: 1, gone: 9, held: false},
		"ManyOfMore":   {keep: 10, gone: 10, held: false},
		"MoreThanHalf": {keep: 9, gone: 10, held: true},
		"All":          {keep: 0, gone: 10, held: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := plan.Input{Label: label, Prune: true, Live: map[object.Key]plan.Live{}, Recorded: map[object.Key]inventory.Entry{}}
			for i := range tc.keep + tc.gone {
				key := configMap(fmt.Sprint(i))
				in.Live[key], in.Recorded[key] = owned(1), recorded(key, "a.yaml", 1)
				if i < tc.keep {
					in.Desired = append(in.Desired, desired(key, "a.yaml", 1))
				}
			}
			if got := plan.Make(in); (len(got.Held) == tc.gone) != tc.held || (len(got.Steps) == 0) != tc.held {
				t.Errorf("Make(...): %d held, %d steps; want held %v", len(got.Held), len(got.Steps), tc.held)
			}
		})
	}
}

// world is a cluster and an inventory that steps can be carried out on.
type world struct{ in plan.Input }

func (w *world) take(p plan.Plan) {
	for _, s := range p.Steps {
		if s.Action == plan.Delete {
			delete(w.in.Live, s.Key)
			delete(w.in.Recorded, s.Key)
			continue
		}
		uid := types.UID("uid of " + s.Key.ID())
		w.in.Live[s.Key] = plan.Live{UID: uid, Sync: w.in.Label, Owned: true, Baseline: s.Desired.Hash}
		w.in.Recorded[s.Key] = inventory.Entry{
			Key: s.Key, UID: uid, File: s.Desired.Origin.File, Desired: s.Desired.Hash, Baseline: s.Desired.Hash,
		}
	}
}

func TestPlanningWhatWasAppliedIsEmpty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{in: drawInput(t)}
		first := plan.Make(w.in)
		for _, s := range append(first.Steps, first.Held...) {
			checkRemoval(t, w.in, s)
		}
		w.take(first)
		if second := plan.Make(w.in); len(second.Steps) > 0 {
			t.Fatalf("Make(after taking %v): got %v, want nothing", steps(first), steps(second))
		}
	})
}

// checkRemoval fails when a removal could be wrong.
func checkRemoval(t *rapid.T, in plan.Input, s plan.Step) {
	if s.Action != plan.Delete {
		return
	}
	live := in.Live[s.Key]
	entry, known := in.Recorded[s.Key]
	switch {
	case !live.Owned || live.Sync != in.Label || live.UID != s.UID:
		t.Fatalf("%v: not ours: %+v", s, live)
	case in.Incomplete || known && in.Broken[entry.File] || !known && len(in.Broken) > 0:
		t.Fatalf("%v: its file could not be read", s)
	}
	for _, d := range in.Desired {
		if d.Key == s.Key {
			t.Fatalf("%v: Git has it", s)
		}
	}
}

func drawInput(t *rapid.T) plan.Input {
	in := plan.Input{
		Label: label, Live: map[object.Key]plan.Live{}, Recorded: map[object.Key]inventory.Entry{}, Broken: map[string]bool{},
		Incomplete: rapid.Bool().Draw(t, "incomplete"), Prune: rapid.Bool().Draw(t, "prune"), AllowPrune: rapid.Bool().Draw(t, "allow"),
		Drift: rapid.SampledFrom([]v1alpha1.DriftPolicy{v1alpha1.DriftHeal, v1alpha1.DriftReport, v1alpha1.DriftIgnore}).Draw(t, "drift"),
	}
	files := rapid.SampledFrom([]string{"a.yaml", "b.yaml"})
	version := rapid.Byte().Filter(func(b byte) bool { return b < 3 })
	if rapid.Bool().Draw(t, "broken") {
		in.Broken[files.Draw(t, "broken file")] = true
	}
	for i := range rapid.IntRange(0, 25).Draw(t, "objects") {
		key := configMap(fmt.Sprint(i))
		if rapid.Bool().Draw(t, "desired") {
			in.Desired = append(in.Desired, desired(key, files.Draw(t, "file"), version.Draw(t, "hash")))
		}
		if rapid.Bool().Draw(t, "recorded") {
			in.Recorded[key] = recorded(key, files.Draw(t, "recorded file"), version.Draw(t, "recorded hash"))
		}
		if rapid.Bool().Draw(t, "live") {
			in.Live[key] = plan.Live{
				UID: types.UID(rapid.SampledFrom([]string{"u", "v"}).Draw(t, "uid")), Owned: rapid.Bool().Draw(t, "owned"),
				Sync:     rapid.SampledFrom([]string{label, "shop.other"}).Draw(t, "sync"),
				Baseline: [32]byte{version.Draw(t, "baseline")}, Deleting: rapid.Bool().Draw(t, "deleting"), Keep: rapid.Bool().Draw(t, "keep"),
			}
		}
	}
	return in
}
