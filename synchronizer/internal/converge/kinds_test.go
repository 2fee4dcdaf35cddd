package converge

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

var configMaps = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}

// The status lists what has to be watched for a Sync, and nothing for ever.
func TestAKindOfWhichNothingIsLeftIsDropped(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		before func(w *world)
		want   int
	}{
		"Nothing": {reason: "No object of it is left.", before: func(*world) {}, want: 0},
		"Unseen": {
			reason: "It may be of a Sync whose status does not list the kind yet, and no other does.", want: 1,
			before: func(w *world) {
				w.touch("x", func(r *live.Record) {
					*r = live.Record{Key: key("x"), GVK: configMaps, Sync: "shop.other", OwnerNamesItself: true, Ours: true, UID: "u"}
				})
			},
		},
		"Listed": {
			reason: "Another Sync lists the kind, and goes on.", want: 0,
			before: func(w *world) {
				w.syncNamed("db", "uid-2", nil)
				w.deliverTo([]string{"db"}, w.commit("one", "a", "b", "dba"))
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.run(func() {
					deployed(w)
					tc.before(w)
					w.deliverTo([]string{"web"}, w.commit("none"))
					w.loop.ObjectChanged(v1alpha1.Label("shop", "web")) // as a watch does when they are gone
					w.settle()
					if got := w.status(); len(got.Kinds) != tc.want || got.State != v1alpha1.StateHealthy {
						t.Errorf("%s\nstate %s, kinds %v, want %d", tc.reason, got.State, got.Kinds, tc.want)
					}
				})
			})
		})
	}
}

func TestAKindThatGitAsksForStays(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.touch("a", func(r *live.Record) { *r = live.Record{} })
			w.touch("b", func(r *live.Record) { *r = live.Record{} })
			if got := w.status().Kinds; len(got) != 1 {
				t.Errorf("kinds: got %v, want one", got)
			}
		})
	})
}
