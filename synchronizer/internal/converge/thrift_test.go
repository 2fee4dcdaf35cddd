package converge

import (
	"slices"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// What tells of no trouble waits when there is much of it.
func TestManyMovingStatusesWait(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.health = health.Status{State: health.InProgress, Message: "starting"}
			w.loop.crowded = func() bool { return true }
			deployed(w)
			w.pass(crowdedWait)
			w.took()
			w.deliver(w.commit("two", "a=2", "b"))
			same(t, "did at first", w.took(), []string{"apply a"})
			w.pass(crowdedWait - time.Millisecond)
			same(t, "did before it is time", w.took(), []string{})
			w.pass(time.Millisecond)
			same(t, "did when it is time", w.took(), []string{"status InProgress"})

			w.deliver(w.commit("three", "a=3", "b"))
			w.took()
			w.touch("a", current)
			w.touch("b", current)
			same(t, "did when it ended", w.took(), []string{})
			w.pass(crowdedWait)
			same(t, "did when it is time", w.took(), []string{"status Healthy"})
			same(t, "nothing follows", func() []string { w.pass(2 * crowdedWait); return w.took() }(), []string{})
		})
	})
}

// When nobody waits for a worker any more, what is owed is written without further delay.
func TestAStatusThatIsOwedIsWrittenWhenThereIsNothingElse(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		crowded := true
		w.run(func() {
			w.loop.crowded = func() bool { return crowded }
			deployed(w)
			w.pass(crowdedWait / 2)
			if got := w.status().State; got == v1alpha1.StateHealthy {
				t.Errorf("while others wait: the API server knows that it is %s", got)
			}
			crowded = false
			w.syncNamed("db", "uid-2", nil) // any other pass
			if got := w.status().State; got != v1alpha1.StateHealthy {
				t.Errorf("when nobody waits: the API server knows that it is %q", got)
			}
			w.took()
			same(t, "did later", func() []string { w.pass(2 * crowdedWait); return w.took() }(), []string{})
		})
	})
}

func TestAStatusThatWaitsIsWrittenInTheEnd(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.health = health.Status{State: health.InProgress, Message: "starting"}
			deployed(w)
		})
		w.loop.Flush(t.Context())
		same(t, "did in the end", w.took(), []string{"status InProgress"})
		if w.status().Applied == nil {
			t.Error("the status does not say what was applied")
		}
	})
}

func TestCountsThatWaitAreWrittenInTheEnd(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.health = health.Status{State: health.InProgress, Message: "starting"}
			deployed(w)
			w.pass(2 * passingWait)
			w.took()
			w.touch("a", current)
			same(t, "did while they wait", w.took(), []string{})
		})
		w.loop.Flush(t.Context())
		same(t, "did in the end", w.took(), []string{"status InProgress"})
		if got := w.status().Objects.Current; got != 1 {
			t.Errorf("%d objects are said to be Current, want 1", got)
		}
	})
}

func TestAKindIsWrittenAheadOnce(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.syncNamed("db", "uid-2", nil)
			w.took()
			w.deliver(w.commit("two", "a", "b", "dba"))
			if did := w.took(); !slices.Contains(did, "apply dba") || slices.Contains(did, "status InProgress") {
				t.Errorf("for the second Sync with this kind nothing is to be written before it is applied: %v", did)
			}
		})
		if kinds := w.resources["db"].Status.Kinds; len(kinds) != 1 {
			t.Errorf("kinds of the second Sync: got %v", kinds)
		}
	})
}

// A process that is killed between an apply and the status leaves a kind that only another Sync lists.
func TestAKindThatWasNotListedIsFound(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		var before v1alpha1.Status
		w.run(func() {
			deployed(w)
			w.syncNamed("db", "uid-2", nil)
			before = *w.resources["db"].Status.DeepCopy()
			w.deliver(w.commit("two", "a", "b", "dba"))
		})
		w.resources["db"].Status = before
		delete(w.inventory, "uid-2")
		w.run(func() {
			w.took()
			w.deliver(w.commit("three", "a", "b"))
			w.pass(time.Second)
			if did := w.took(); !slices.Contains(did, "remove dba") {
				t.Errorf("what Git no longer has is to go, but only this was done: %v", did)
			}
		})
		if kinds := w.resources["db"].Status.Kinds; len(kinds) != 1 {
			t.Errorf("kinds: got %v", kinds)
		}
		if _, left := w.objects[object.Key{Kind: "ConfigMap", Namespace: "shop", Name: "dba"}]; left {
			t.Error("dba is left")
		}
	})
}

// A process that does not know what was applied takes it for somebody else's change. Where that is left so, it is told at once;
// so is a hook, which must not run twice.
func TestWhatMustBeRememberedIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		policy v1alpha1.DriftPolicy
		more   string
		want   []string
	}{
		"Heal":   {policy: v1alpha1.DriftHeal, more: "b", want: []string{"apply a"}},
		"Report": {policy: v1alpha1.DriftReport, more: "b", want: []string{"apply a", "status InProgress"}},
		"Ignore": {policy: v1alpha1.DriftHeal, more: "b~ignore", want: []string{"apply a", "status InProgress"}},
		"Hook":   {policy: v1alpha1.DriftHeal, more: "b!on-failure", want: []string{"apply a", "status InProgress"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.inline = true
				w.health = health.Status{State: health.InProgress, Message: "starting"}
				w.run(func() {
					w.loop.crowded = func() bool { return true }
					w.sync(func(s *v1alpha1.Sync) { s.Spec.Drift = tc.policy })
					w.deliver(w.commit("one", "a", tc.more))
					w.pass(crowdedWait)
					w.took()
					w.deliver(w.commit("two", "a=2", tc.more))
					same(t, "did", w.took(), tc.want)
				})
			})
		})
	}
}

// The objects of such a kind go with their Sync, too.
func TestAKindThatWasNotListedIsFoundWhenItsSyncGoes(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		var before v1alpha1.Status
		w.run(func() {
			deployed(w)
			w.syncNamed("db", "uid-2", func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
			before = *w.resources["db"].Status.DeepCopy()
			w.deliver(w.commit("two", "a", "b", "dba"))
			w.took()
		})
		w.resources["db"].Status, w.resources["db"].DeletionTimestamp = before, deletedNow()
		delete(w.inventory, "uid-2")
		w.run(func() {
			w.pass(time.Second)
			w.mu.Lock()
			needs := w.needs[v1alpha1.Label("shop", "db")]
			w.mu.Unlock()
			if len(needs) != 1 {
				t.Errorf("it does not look for the kinds of others: %v", needs)
			}
			if did := w.took(); !slices.Contains(did, "remove dba") {
				t.Errorf("did %v", did)
			}
		})
	})
}
