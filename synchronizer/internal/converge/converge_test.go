package converge

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

// story runs a story in a bubble with a clock of its own.
func story(t *testing.T, tell func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { tell(t, newWorld(t)) })
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want, +got:\n%s", what, diff)
	}
}

// deployed brings a Sync to two healthy objects.
func deployed(w *world) {
	w.sync(nil)
	w.deliver(w.commit("one", "a", "b"))
	w.took()
	w.told()
}

func TestFirstContact(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			if got := w.status().State; got != v1alpha1.StateWaiting {
				t.Errorf("before anything arrived: got %s", got)
			}
			w.took()
			w.deliver(w.commit("one", "a", "b"))
			same(t, "did", w.took(), []string{"status InProgress", "apply a", "apply b", "status Healthy"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0", "Applied/0", "Healthy/0"})
		})
		s := w.status()
		if s.State != v1alpha1.StateHealthy || s.Objects.Current != 2 || s.HealthySince == nil || s.Shards != 1 || len(s.Kinds) != 1 {
			t.Errorf("status: got %+v", s)
		}
	})
}

func TestTheSameContentCostsNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			next := w.commit("two", "a", "b")
			w.deliver(next)
			same(t, "did", w.took(), []string{})
			same(t, "told", w.told(), []string{})
			w.pass(rebaseAfter)
			if w.bases["shop/web"] != next {
				t.Errorf("the next transfer starts from %s, want %s", w.bases["shop/web"], next)
			}
		})
	})
}

func TestOnlyWhatChangedIsApplied(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.deliver(w.commit("two", "a=2", "b"))
			same(t, "did", w.took(), []string{"apply a", "status Healthy"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0", "Applied/0", "Healthy/0"})
		})
	})
}

func TestAnEmptyTreeIsHealthy(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("none"))
		})
		if got := w.status().State; got != v1alpha1.StateHealthy {
			t.Errorf("state: got %s", got)
		}
	})
}

func TestAFailedObjectIsTriedAgainAndHoldsNothingUp(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.fail["a"] = fault.New(fault.Invalid, "boom")
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			same(t, "did", w.took(), []string{"status Waiting", "status InProgress", "fail a", "apply b", "status Failed"})
			if problems := w.status().Problems; len(problems) != 1 || problems[0].File != "env/a.yaml" || problems[0].Object != "ConfigMap/shop/a" {
				t.Errorf("problems: got %+v", problems)
			}
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "did before it is due", w.took(), []string{})
			w.pass(1100 * time.Millisecond)
			same(t, "did when it is due", w.took(), []string{"fail a"})
			w.mu.Lock()
			delete(w.fail, "a")
			w.mu.Unlock()
			w.pass(time.Minute)
			same(t, "did when it works", w.took(), []string{"apply a", "status Healthy"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0", "Applied/0", "Healthy/0"})
		})
	})
}

func TestDriftIsHealedAndTold(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.touch("a", func(r *live.Record) { r.Baseline[0], r.Writers = 9, []string{"kubectl-edit"} })
			same(t, "did", w.took(), []string{"apply a", "status Healthy"})
			same(t, "told", w.told(), []string{"Drifted/0", "Healed/0"})
			w.touch("b", func(r *live.Record) { *r = live.Record{} })
			same(t, "did after a deletion", w.took(), []string{"apply b", "status Healthy"})
			same(t, "told after a deletion", w.told(), []string{"Drifted/1", "Healed/1"})
		})
	})
}

func TestDriftIsReportedOnly(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Drift = v1alpha1.DriftReport })
			w.deliver(w.commit("one", "a", "b"))
			w.took()
			w.touch("a", func(r *live.Record) { r.Baseline[0] = 9 })
			same(t, "did", w.took(), []string{"try a", "status Healthy"})
			if s := w.status(); len(s.Problems) != 1 || s.Problems[0].Kind != v1alpha1.ProblemDrift || s.Objects.Drifted != 1 {
				t.Errorf("status: got %+v", s)
			}
		})
	})
}

func TestAKindThatComesLaterIsFoundLater(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.health = health.Status{State: health.InProgress, Message: "starting"}
			two := w.commit("two", "a", "b")
			tree := w.trees[two]
			tree.Unknown, tree.Broken = 1, map[string]bool{"env/x.yaml": true}
			tree.Objects[0].Hash[0]++ // other content
			w.trees[two] = tree
			w.deliver(two)
			w.took()
			w.pass(unknownAgain + time.Second) // looked for in vain, and woken in between for another reason
			w.took()
			three := w.trees[w.commit("three", "a", "b", "x")]
			w.mu.Lock()
			w.trees[two] = three
			w.mu.Unlock()
			w.pass(unknownAgain + time.Second)
			if got := w.took(); len(got) == 0 || !slices.Contains(got, "apply x") {
				t.Errorf("did later: %v", got)
			}
		})
	})
}

func TestABrokenRenderKeepsWhatRuns(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.mu.Lock()
			w.renderErr = fault.New(fault.NotFound, "path %q does not exist", "env")
			w.mu.Unlock()
			w.deliver(w.commit("two"))
			same(t, "did", w.took(), []string{"status Failed"})
			w.mu.Lock()
			w.renderErr = nil
			w.mu.Unlock()
		})
		if len(w.objects) != 2 {
			t.Errorf("objects: got %d, want both", len(w.objects))
		}
	})
}

// What the API server does not let us list is withheld, said, and applied as soon as it can be listed.
func TestAKindThatMayNotBeListedIsWithheld(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.unsynced, w.refused = true, errBoom
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			same(t, "did while it is refused", w.took(), []string{"status Waiting", "status InProgress", "status Failed"})
			if problems := w.status().Problems; len(problems) != 2 || !strings.Contains(problems[0].Message, "ConfigMap/shop/a waits until its kind can be watched: boom") {
				t.Errorf("problems: got %v", problems)
			}
			w.mu.Lock()
			w.unsynced = false
			w.mu.Unlock()
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "did when it is listed", w.took(), []string{"apply a", "apply b", "status Healthy"})
			if problems := w.status().Problems; len(problems) != 0 {
				t.Errorf("problems in the end: got %v", problems)
			}
		})
	})
}

// Our own writes of a status need no pass, also while a Sync is being deleted.
func TestIsRelevant(t *testing.T) {
	t.Parallel()
	deleted := func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() }
	for name, tc := range map[string]struct {
		before, now func(*v1alpha1.Sync)
		want        bool
	}{
		"Spec":       {now: func(s *v1alpha1.Sync) { s.Generation++ }, want: true},
		"Annotation": {now: func(s *v1alpha1.Sync) { s.Annotations = map[string]string{"a": "b"} }, want: true},
		"Label":      {now: func(s *v1alpha1.Sync) { s.Labels = map[string]string{"a": "b"} }, want: true},
		"Status":     {now: func(s *v1alpha1.Sync) { s.Status.Commit = "a" }},
		"Deleted":    {now: deleted, want: true},
		"StatusMeanwhile": {before: deleted, now: func(s *v1alpha1.Sync) {
			deleted(s)
			s.Status.Commit = "a"
		}},
	} {
		before, now := &v1alpha1.Sync{}, &v1alpha1.Sync{}
		if tc.before != nil {
			tc.before(before)
		}
		tc.now(now)
		if got := isRelevant(before, now); got != tc.want {
			t.Errorf("%s: isRelevant: got %t", name, got)
		}
	}
}
