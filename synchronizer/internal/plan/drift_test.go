package plan_test

import (
	"fmt"
	"testing"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

func TestDriftPolicies(t *testing.T) {
	t.Parallel()
	a := configMap("a")
	cases := map[string]struct {
		reason         string
		sync, object   v1alpha1.DriftPolicy
		rests, removed bool
		unseen         bool
		version        byte
		want           string // how many are healed, left, and left for now
	}{
		"Heal":            {reason: "The default.", version: 1, want: "1 0 0"},
		"Report":          {reason: "It is left.", sync: v1alpha1.DriftReport, version: 1, want: "0 1 0"},
		"ReportRemoved":   {reason: "Removed is changed.", sync: v1alpha1.DriftReport, removed: true, version: 1, want: "0 1 0"},
		"ReportUnseen":    {reason: "It may not be gone.", sync: v1alpha1.DriftReport, removed: true, unseen: true, version: 1, want: "1 0 0"},
		"IgnoreUnseen":    {reason: "The same.", sync: v1alpha1.DriftIgnore, removed: true, unseen: true, version: 1, want: "1 0 0"},
		"Ignore":          {reason: "Nobody hears of it.", sync: v1alpha1.DriftIgnore, version: 1, want: "0 0 0"},
		"ObjectHeals":     {reason: "The object says so.", sync: v1alpha1.DriftIgnore, object: v1alpha1.DriftHeal, version: 1, want: "1 0 0"},
		"ObjectReports":   {reason: "The object says so.", object: v1alpha1.DriftReport, version: 1, want: "0 1 0"},
		"Rests":           {reason: "Somebody fights for it.", rests: true, version: 1, want: "0 0 1"},
		"RestsAndReports": {reason: "What is not healed needs no rest.", object: v1alpha1.DriftReport, rests: true, version: 1, want: "0 1 0"},
		"RestsAndIsNew":   {reason: "What Git says anew is written at once.", rests: true, version: 2, want: "1 0 0"},
		"ReportsAndIsNew": {reason: "The same.", object: v1alpha1.DriftReport, version: 2, want: "1 0 0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := desired(a, "a.yaml", tc.version)
			d.Policy.Drift = tc.object
			in := plan.Input{
				Label: label, Desired: []render.Desired{d}, Live: map[object.Key]plan.Live{a: owned(9)}, Drift: tc.sync,
				Recorded: map[object.Key]inventory.Entry{a: recorded(a, "a.yaml", 1)}, Rests: func(object.Key) bool { return tc.rests },
				Unseen: func(object.Key) bool { return tc.unseen },
			}
			if tc.removed {
				in.Live = nil
			}
			made := plan.Make(in)
			if got := fmt.Sprint(len(made.Steps), len(made.Drift), len(made.Resting)); got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
			}
			for _, s := range append(made.Drift, made.Resting...) {
				if !tc.removed && s.Found != [32]byte{9} {
					t.Errorf("found %x", s.Found)
				}
			}
		})
	}
}
