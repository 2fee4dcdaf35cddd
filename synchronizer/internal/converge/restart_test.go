package converge

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

func TestARestartOfAConvergedSyncDoesNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() { deployed(w) })
		w.run(func() {
			w.pass(time.Hour)
			same(t, "did", w.took(), []string{})
			same(t, "told", w.told(), []string{}) // told again, under the same ids
		})
	})
}

// What is applied is known by its hash; the objects themselves would be most of the memory.
func TestARestartHoldsNoObjectsOfAConvergedSync(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() { deployed(w) })
		w.run(func() {
			rendered := w.loop.entries[types.NamespacedName{Namespace: "shop", Name: "web"}].work.rendered
			if rendered == nil || len(rendered.Objects) != 2 {
				t.Fatalf("rendered after a restart: %+v", rendered)
			}
			for i := range rendered.Objects {
				if rendered.Objects[i].Object != nil {
					t.Errorf("%s is held", rendered.Objects[i].Key)
				}
			}
		})
	})
}

func TestAKillBeforeTheStatusIsWrittenTellsNothingTwice(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		var before v1alpha1.Status
		one, two := w.commit("one", "a", "b"), w.commit("two", "a=2", "b")
		w.run(func() {
			w.sync(nil)
			w.deliver(one)
			before = *w.resources["web"].Status.DeepCopy()
			w.deliver(two)
			w.took()
			w.told()
		})
		w.resources["web"].Status = before // as if the last writes had not happened
		w.inventory["uid-1"][key("a")] = w.inventory["uid-1"][key("b")]
		w.run(func() {
			w.deliver(two)
			same(t, "told", w.told(), []string{})
			if got := w.status().State; got != v1alpha1.StateHealthy {
				t.Errorf("state: got %s", got)
			}
		})
	})
}

func TestASyncMadeAnewStartsOver(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.sync(func(s *v1alpha1.Sync) { s.UID, s.Status = "uid-2", v1alpha1.Status{} })
			if base := w.bases["shop/web"]; !base.IsZero() {
				t.Errorf("the chain starts from %s", base)
			}
			w.deliver(w.commit("one", "a", "b"))
			same(t, "told", w.told(), []string{}) // the fake's ids leave the uid out
			same(t, "inventories that nobody needs", w.forgot, []string{"uid-1"})
		})
		if got := w.status(); got.State != v1alpha1.StateHealthy || got.Objects.Current != 2 {
			t.Errorf("status: got %+v", got)
		}
	})
}

// Nobody waits for what only the next process needs, and it gets it in the end.
func TestTheInventoryIsSavedBehindWhatIsTold(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			w.saveErr = errBoom
			w.deliver(w.commit("one", "a", "b"))
			same(t, "told before the first try", w.saved[0], []string{"Received/0", "Verified/0", "Applied/0", "Healthy/0"})
			w.mu.Lock()
			w.saveErr = nil
			w.mu.Unlock()
			w.pass(time.Minute)
			if got := w.inventory["uid-1"]; len(got) != 2 {
				t.Errorf("saved in the end: %v", got)
			}
		})
	})
}

func TestAStatusNeverSaysMoreThanTheInventoryKnows(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			w.saveErr = errBoom
			w.deliver(w.commit("one", "a", "b"))
			w.pass(time.Minute)
			if got := w.status(); got.Applied != nil || got.State != v1alpha1.StateInProgress {
				t.Errorf("while no inventory can be saved: state %s, applied %+v", got.State, got.Applied)
			}
		})
		w.loop.Flush(t.Context())
		if got := w.status().Applied; got != nil {
			t.Errorf("in the end: applied %+v", got)
		}
		w.saveErr = nil
		w.run(func() {
			w.pass(time.Second)
			if got := w.status(); got.State != v1alpha1.StateHealthy || len(w.inventory["uid-1"]) != 2 {
				t.Errorf("the next process: state %s, %d records", got.State, len(w.inventory["uid-1"]))
			}
		})
	})
}

// TestARestartShowsEverySyncBeforeItLooksAtAny has many Syncs: what is told of them at first is all of them, and as they were.
func TestARestartShowsEverySyncBeforeItLooksAtAny(t *testing.T) {
	const many = 50
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			var names []string
			for i := range many {
				names = append(names, fmt.Sprintf("web-%02d", i))
				w.syncNamed(names[i], fmt.Sprint("uid-", i), nil)
			}
			w.deliverTo(names, w.commit("none"))
		})
		w.shown = nil
		w.open() // nothing is worked on yet
		for _, s := range w.resources {
			w.loop.SyncChanged(s.DeepCopy())
		}
		w.loop.queue.ShutDown()
		if len(w.shown) != many {
			t.Errorf("%d of %d Syncs are told of", len(w.shown), many)
		}
		for name, state := range w.shown {
			if state != v1alpha1.StateHealthy {
				t.Errorf("%s: told to be %s, want as it was written", name, state)
			}
		}
	})
}
