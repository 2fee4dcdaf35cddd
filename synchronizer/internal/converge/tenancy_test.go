package converge

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/tenancy"
)

func TestAboveItsQuotaNothingIsWrittenOrRemoved(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.events = nil
			over := &tenancy.OverQuotaError{Namespace: "shop", Limit: "objects", Held: 3, Allowed: 2, File: "env/c.yaml"}
			w.renderErr = over
			w.deliver(w.commit("two", "a=2", "c"))
			same(t, "did", w.took(), []string{"status Failed"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0"})
			same(t, "events", w.events, []string{"OverQuota"})
			problem := w.status().Problems[0]
			if problem.File != "env/c.yaml" || !strings.Contains(problem.Message, "holds 3 objects") {
				t.Errorf("problem: got %+v", problem)
			}
			renders := w.renders
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.pass(time.Hour)
			if w.renders != renders {
				t.Errorf("what is too much was rendered %d times more", w.renders-renders)
			}
			w.renderErr = nil
			w.deliver(w.commit("three", "a=3", "b"))
			same(t, "did below the quota", w.took(), []string{"apply a", "status Healthy"})
			w.renderErr = over
			w.deliver(w.commit("two", "a=2", "c"))
			same(t, "did above it again", w.took(), []string{"status Failed"})
		})
	})
}

func TestDependenciesNeedTheAdministratorsConsent(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.alone = fault.New(fault.Unauthorized, "not yours")
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.DependsOn = []v1alpha1.Dependency{{Namespace: "other", Name: "db"}} })
			w.deliver(w.commit("one", "a"))
			for _, did := range w.took() {
				if strings.HasPrefix(did, "apply") {
					t.Errorf("did %s", did)
				}
			}
			if got := w.status().Problems; len(got) != 1 || got[0].Message != "Not yours." || got[0].Kind != v1alpha1.ProblemConfig {
				t.Errorf("problems: got %+v", got)
			}
		})
	})
}
