package converge

import (
	"slices"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// TestHugeSyncsDoNotKeepOthersFromTheirChanges has as many first applies under way as there are workers, which do not end:
// a change of another Sync is applied nevertheless, and a further first apply waits for one of them.
func TestHugeSyncsDoNotKeepOthersFromTheirChanges(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.syncNamed("db", "uid-db", nil)
			w.deliver(w.commit("first", "db=1"))
			w.stuck, w.hold = map[string]bool{}, make(chan struct{})
			for _, name := range []string{"one", "two"} {
				w.stuck[v1alpha1.Label("shop", name)] = true
				w.syncNamed(name, "uid-"+name, nil)
			}
			w.deliverTo([]string{"one", "two"}, w.commit("huge", "a", "b"))
			w.syncNamed("three", "uid-three", nil)
			w.took()
			w.deliverTo([]string{"db", "three"}, w.commit("second", "db=2", "c"))
			if did := w.took(); !slices.Contains(did, "apply db") || slices.Contains(did, "apply c") {
				t.Errorf("while two are being applied for the first time: did %v, want db applied and c not", did)
			}
			close(w.hold)
			w.settle()
			if did := w.took(); strings.Count(strings.Join(did, " "), "apply") != 5 {
				t.Errorf("once there is room: did %v, want a and b applied for two Syncs, and c", did)
			}
			w.hold = nil
		})
	})
}
