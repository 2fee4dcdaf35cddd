package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	a := configMap("a")
	with := func(policy v1alpha1.ApplyPolicy, version byte) []render.Desired {
		d := desired(a, "a.yaml", version)
		d.Policy.Apply = policy
		return []render.Desired{d}
	}
	ours := map[object.Key]inventory.Entry{a: recorded(a, "a.yaml", 1)}
	theirs := map[object.Key]inventory.Entry{a: {Key: a, UID: "u", File: "a.yaml", Desired: [32]byte{1}}}
	cases := map[string]struct {
		reason string
		in     plan.Input
		want   []string
	}{
		"Skip": {
			reason: "It is neither written nor removed.",
			in:     plan.Input{Prune: true, Desired: with(v1alpha1.ApplySkip, 2), Live: map[object.Key]plan.Live{a: owned(9)}, Recorded: ours},
			want:   []string{},
		},
		"CreateOnlyNew": {
			reason: "It is not there.",
			in:     plan.Input{Desired: with(v1alpha1.ApplyCreateOnly, 1)},
			want:   []string{"apply ConfigMap/shop/a (new)"},
		},
		"CreateOnlyChanged": {
			reason: "Neither Git nor people make it change again.",
			in:     plan.Input{Desired: with(v1alpha1.ApplyCreateOnly, 2), Live: map[object.Key]plan.Live{a: owned(9)}, Recorded: ours},
			want:   []string{},
		},
		"CreateOnlyVanished": {
			reason: "What we made and somebody removed is made again.",
			in:     plan.Input{Desired: with(v1alpha1.ApplyCreateOnly, 1), Recorded: ours},
			want:   []string{"apply ConfigMap/shop/a (vanished)"},
		},
		"CreateOnlyForeign": {
			reason: "It was there before us: it carries no label of ours, so that nobody sees it, and is none of our business.",
			in:     plan.Input{Desired: with(v1alpha1.ApplyCreateOnly, 2), Recorded: theirs},
			want:   []string{},
		},
		"Confirm": {
			reason: "It asks before it goes, although it is the only one.",
			in:     plan.Input{Prune: true, Live: map[object.Key]plan.Live{a: {UID: "u", Sync: label, Owned: true, Confirm: true}}, Recorded: ours},
			want:   []string{"held: remove ConfigMap/shop/a (gone)"},
		},
		"Confirmed": {
			reason: "The question was answered.",
			in: plan.Input{
				Prune: true, AllowPrune: true, Live: map[object.Key]plan.Live{a: {UID: "u", Sync: label, Owned: true, Confirm: true}}, Recorded: ours,
			},
			want: []string{"remove ConfigMap/shop/a (gone)"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.in.Label = label
			if diff := cmp.Diff(tc.want, steps(plan.Make(tc.in))); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWaves(t *testing.T) {
	t.Parallel()
	a, b := configMap("a"), configMap("b")
	wanted := func(versionA, versionB byte) []render.Desired {
		first, second := desired(a, "a.yaml", versionA), desired(b, "b.yaml", versionB)
		first.Policy.Wave, second.Policy.Wave = -1, 3
		return []render.Desired{second, first}
	}
	both := map[object.Key]inventory.Entry{a: recorded(a, "a.yaml", 1), b: recorded(b, "b.yaml", 1)}
	current, rolling := owned(1), owned(1)
	current.Current = true
	cases := map[string]struct {
		reason string
		in     plan.Input
		want   []string
		behind string
	}{
		"Nothing": {
			reason: "The first wave goes first.",
			in:     plan.Input{Desired: wanted(1, 1)},
			want:   []string{"apply ConfigMap/shop/a (new)", "waiting: apply ConfigMap/shop/b (new)"}, behind: "ConfigMap/shop/a of wave -1",
		},
		"Rolling": {
			reason: "What is written need not be Current.",
			in:     plan.Input{Desired: wanted(1, 1), Live: map[object.Key]plan.Live{a: rolling}, Recorded: both},
			want:   []string{"apply ConfigMap/shop/b (vanished)"}, // it was there before, so it waits for nobody
		},
		"RollingNew": {
			reason: "The second wave waits for health.",
			in: plan.Input{
				Desired: wanted(1, 2), Live: map[object.Key]plan.Live{a: rolling, b: current},
				Recorded: both,
			},
			want: []string{"waiting: apply ConfigMap/shop/b (changed)"}, behind: "ConfigMap/shop/a of wave -1",
		},
		"Current": {
			reason: "The first wave is done.",
			in:     plan.Input{Desired: wanted(1, 2), Live: map[object.Key]plan.Live{a: current, b: current}, Recorded: both},
			want:   []string{"apply ConfigMap/shop/b (changed)"},
		},
		"Later": {
			reason: "An earlier wave does not wait for a later one.",
			in:     plan.Input{Desired: wanted(2, 1), Live: map[object.Key]plan.Live{a: current, b: rolling}, Recorded: both},
			want:   []string{"apply ConfigMap/shop/a (changed)"},
		},
		"Conflict": {
			reason: "What another Sync owns is never ours, so nothing may stand on it.",
			in: plan.Input{Desired: wanted(1, 1), Owner: func(key object.Key) string {
				if key == a {
					return "other.sync"
				}
				return ""
			}},
			want: []string{"waiting: apply ConfigMap/shop/b (new)"}, behind: "ConfigMap/shop/a of wave -1",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.in.Label = label
			got := plan.Make(tc.in)
			if diff := cmp.Diff(tc.want, steps(got)); diff != "" || got.Behind != tc.behind {
				t.Errorf("%s: behind %q, want %q; -want, +got:\n%s", tc.reason, got.Behind, tc.behind, diff)
			}
		})
	}
}
