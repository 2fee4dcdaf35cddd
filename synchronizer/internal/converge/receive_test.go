package converge

import (
	"testing"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

func TestARefusalStopsBeforeTheCommit(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		bad := w.commit("bad", "a=evil", "b")
		w.refusals[bad] = "not signed"
		w.run(func() {
			deployed(w)
			w.deliver(bad)
			same(t, "did", w.took(), []string{"status Refused"})
			same(t, "told", w.told(), []string{"Received/0", "Refused/0"})
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "did on another look", w.took(), []string{})
			w.touch("b", func(r *live.Record) { r.Baseline[0] = 9 })
			same(t, "drift is healed to what was verified", w.took()[:1], []string{"apply b"})
			w.told()
		})
		w.run(func() { // a restart: the relay brings the same chain again
			w.deliver(bad)
			w.took()
			if got := w.status().State; got != v1alpha1.StateRefused {
				t.Errorf("after a restart: got %s", got)
			}
			w.sync(func(s *v1alpha1.Sync) { s.Annotations = map[string]string{v1alpha1.AnnotationAccept: bad.String()} })
			same(t, "did after consent", w.took(), []string{"apply a", "status Healthy"})
			same(t, "told after consent", w.told(), []string{"Verified/0", "Applied/0", "Healthy/0"})
		})
	})
}

// What the refusal of a first contact asks for counts: the chain begins there, and is asked for at once.
func TestAnInstallerSaysWhereToBegin(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		first := w.commit("first", "a")
		next := w.commit("next", "b")
		w.refusals[first] = "not signed"
		w.run(func() {
			w.sync(nil)
			w.deliver(first)
			before := w.named["shop/web"]
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Trust.Since = first.String() })
			if w.bases["shop/web"] != first || w.named["shop/web"] == before {
				t.Errorf("followed from %s as %q, want from %s as another than before", w.bases["shop/web"], w.named["shop/web"], first)
			}
			w.deliver(next)
			if got := w.status(); got.State != v1alpha1.StateHealthy || len(got.Problems) > 0 {
				t.Errorf("state %s, problems %v", got.State, got.Problems)
			}
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Trust.Since = "" })
			if w.bases["shop/web"] != next {
				t.Errorf("followed from %s, want from the verified commit", w.bases["shop/web"])
			}
		})
	})
}

// Whom a Sync trusts may change while a refused commit waits.
func TestARefusalIsJudgedAgainWhenTheSyncChanges(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		first := w.commit("first", "a")
		w.refusals[first] = "not signed by ada"
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Trust.Signers = []string{"ada"} })
			w.deliver(first)
			delete(w.refusals, first)
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Trust.Signers = nil })
			if got := w.status().State; got != v1alpha1.StateHealthy {
				t.Errorf("state %s", got)
			}
		})
	})
}

func TestASourceProblemIsShownAndCleared(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			source := sourceOf(w.resources["web"])
			w.loop.SourceProblem(source, fault.New(fault.NotFound, "no such ref"))
			w.settle()
			if p := w.status().Problems; len(p) != 1 || p[0].Kind != v1alpha1.ProblemSource || w.status().State != v1alpha1.StateHealthy {
				t.Errorf("status: got %+v", w.status())
			}
			w.loop.Ready(source, w.bases["shop/web"])
			w.settle()
			if p := w.status().Problems; len(p) != 0 {
				t.Errorf("problems: got %+v", p)
			}
		})
	})
}

func TestOtherPathsStartOver(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Path = "other" })
			if base := w.bases["shop/web"]; !base.IsZero() {
				t.Errorf("the chain starts from %s, which was verified for other paths", base)
			}
		})
		if w.status().Verified != nil {
			t.Errorf("verified: got %+v", w.status().Verified)
		}
	})
}
