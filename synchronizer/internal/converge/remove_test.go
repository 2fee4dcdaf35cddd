package converge

import (
	"testing"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

func TestRemovalsWaitUntilEverythingIsApplied(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.mu.Lock()
			w.fail["c"] = errBoom
			w.mu.Unlock()
			w.deliver(w.commit("two", "b", "c")) // a was renamed to c
			same(t, "did while c fails", w.took(), []string{"fail c", "status Failed"})
			w.mu.Lock()
			delete(w.fail, "c")
			w.mu.Unlock()
			w.pass(time.Minute)
			same(t, "did when c works", w.took(), []string{"apply c", "status Healthy", "remove a", "status Healthy"})
		})
	})
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		policy v1alpha1.DeletionPolicy
		want   []string
	}{
		"Orphan": {reason: "The objects stay as they are.", policy: v1alpha1.DeletionOrphan, want: []string{}},
		"Delete": {reason: "The objects go first, then the Sync.", policy: v1alpha1.DeletionDelete, want: []string{"remove a", "remove b", "let go"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.run(func() {
					w.sync(func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = tc.policy })
					w.deliver(w.commit("one", "a", "b"))
					w.took()
					w.sync(func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() })
					w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
					w.settle()
					var did []string
					for _, d := range w.took() {
						if d != "status Healthy" && d != "status InProgress" && d != "status Failed" {
							did = append(did, d)
						}
					}
					if did == nil {
						did = []string{}
					}
					same(t, tc.reason, did, tc.want)
				})
			})
		})
	}
}

// A Sync does not go before its objects, however often those cannot be removed.
func TestWhatCannotBeRemovedKeepsItsSync(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
			w.deliver(w.commit("one", "a"))
			w.took()
			w.mu.Lock()
			w.fail["a"] = errBoom
			w.mu.Unlock()
			w.sync(func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() })
			w.sync(nil) // as the watch does when the status was written
			same(t, "did while it cannot be removed", w.took(), []string{"fail a", "status Failed"})
			w.mend("a")
			w.pass(time.Minute)
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			did := w.took()
			same(t, "did when it could be", []string{did[0], did[len(did)-1]}, []string{"remove a", "let go"})
		})
	})
}
