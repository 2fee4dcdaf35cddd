package converge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
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

// What could not be written can be removed: by a deletion of its Sync, and when Git does not ask for it any more.
func TestWhatCouldNotBeWrittenIsRemoved(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		signatures *notary // nil when nothing must be signed
		goes       func(w *world)
		want       []string
	}{
		"Deleted":         {goes: func(w *world) { w.sync(func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() }) }, want: []string{"remove a", "remove b", "let go"}},
		"DeletedUnsigned": {signatures: unsigned(), goes: func(w *world) { w.sync(func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() }) }, want: []string{"remove a", "remove b", "let go"}},
		"Pruned":          {goes: func(w *world) { w.deliver(w.commit("three", "b")) }, want: []string{"remove a"}},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				if tc.signatures != nil {
					w.signatures = tc.signatures
				}
				w.run(func() {
					w.sync(func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
					w.deliver(w.commit("one", "a", "b"))
					if tc.signatures != nil {
						tc.signatures.set(func() { tc.signatures.unsigned["a"] = true })
					} else {
						w.set(func() { w.fail["a"] = errBoom })
					}
					w.deliver(w.commit("two", "a=2", "b"))
					if got := w.status(); len(got.Problems) != 1 {
						t.Fatalf("problems: %+v; want that a could not be written", got.Problems)
					}
					w.mend("a")
					w.took()
					tc.goes(w)
					w.pass(time.Second)
					same(t, "did", writes(w.took()), tc.want)
				})
			})
		})
	}
}

// dying begins the deletion of a Sync of two objects, one of which a finalizer holds.
func dying(w *world) {
	w.holds = map[string]bool{"a": true}
	w.sync(func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	w.deliver(w.commit("one", "a", "b"))
	w.took()
	w.sync(func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() })
	w.loop.ObjectChanged(v1alpha1.Label("shop", "web")) // as the watch does
	w.settle()
}

// vanish has an object gone, as when its finalizer was taken off.
func (w *world) vanish(name string) { w.touch(name, func(r *live.Record) { r.UID = "" }) }

func TestASyncStaysUntilItsObjectsAreGone(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		stays := func(when string, problems int) {
			t.Helper()
			s := w.status()
			waits := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionDeleting)
			if waits == nil || waits.Reason != "ObjectsRemain" || !strings.Contains(waits.Message, "ConfigMap/shop/a (held by the finalizer example.com/hold)") ||
				strings.Contains(waits.Message, "shop/b") || !strings.Contains(waits.Message, `kubectl -n shop patch sync web`) {
				t.Errorf("%s: the condition Deleting is %+v", when, waits)
			}
			if w.condition(v1alpha1.ConditionReady) != "False" || len(s.Problems) != problems {
				t.Errorf("%s: %s, Ready is %s, problems %+v", when, s.State, w.condition(v1alpha1.ConditionReady), s.Problems)
			}
		}
		w.run(func() {
			dying(w)
			w.pass(time.Second)
			same(t, "did", w.took(), []string{"remove a", "remove b", "status InProgress"})
			stays("while it hangs", 0)
		})
		w.run(func() {
			same(t, "did after a restart", w.took(), []string{})
			stays("after a restart", 0)
			w.pass(time.Hour)
			same(t, "did when it hangs for long", w.took(), []string{"status Failed"})
			stays("when it hangs for long", 1)
			looked := w.plans
			w.pass(24 * time.Hour)
			if w.plans != looked {
				t.Errorf("looked %d times while nothing happened", w.plans-looked)
			}
			w.vanish("a")
			same(t, "did when it had gone", w.took(), []string{"let go"})
		})
	})
}

func TestOrphanLetsASyncGoWithoutWhatHangs(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			dying(w)
			w.took()
			w.sync(func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })
			same(t, "did", w.took(), []string{"let go"})
		})
	})
}

// What cannot go before the Sync does is not waited for.
func TestASyncWaitsForNothingThatWaitsForIt(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		for _, k := range []object.Key{
			{Kind: "Namespace", Name: "shop"},
			{Group: "tandem.dev", Kind: "Sync", Namespace: "shop", Name: "web"},
			{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "syncs.tandem.dev"},
		} {
			w.objects[k] = live.Record{Key: k, UID: "uid", Sync: v1alpha1.Label("shop", "web"), OwnerNamesItself: true, Ours: true, Deleting: true}
		}
		w.run(func() {
			dying(w)
			w.took()
			w.vanish("a")
			same(t, "did", w.took(), []string{"let go"})
		})
	})
}

// What was answered and not done is asked for again, though no watch says anything.
func TestARemovalThatWasNotCarriedOut(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
			w.deliver(w.commit("one", "a"))
			w.set(func() { w.deaf = true })
			w.took()
			w.sync(func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() })
			same(t, "did", writes(w.took()), []string{"remove a"})
			w.set(func() { w.deaf = false })
			w.pass(2 * removeAgain)
			if did := writes(w.took()); len(did) < 2 || did[0] != "remove a" || did[1] != "let go" {
				t.Errorf("did %q later; want it removed, and the Sync gone", did)
			}
		})
	})
}

// A large removal does not write the status for each object that goes.
func TestWhatASyncStillWaitsForIsWrittenNowAndThen(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			dying(w)
			w.pass(time.Hour)
			w.took()
			for i := range 20 {
				w.touch("a", func(r *live.Record) { r.Health.Message = fmt.Sprintf("held by %d finalizers", 20-i) })
			}
			same(t, "did at once", w.took(), []string{"status Failed"})
			w.pass(countsEvery)
			same(t, "did a little later", w.took(), []string{"status Failed"})
			if waits := meta.FindStatusCondition(w.status().Conditions, v1alpha1.ConditionDeleting); !strings.Contains(waits.Message, "held by 1 finalizers") {
				t.Errorf("the condition says %q; want the newest", waits.Message)
			}
		})
	})
}
