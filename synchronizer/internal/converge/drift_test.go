package converge

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/drift"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

// configMap is an object with one value, which a manager owns.
func configMap(value, manager string) *unstructured.Unstructured {
	operation := "Update"
	if manager == v1alpha1.FieldManager {
		operation = "Apply"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"data": map[string]any{"a": value},
		"metadata": map[string]any{"managedFields": []any{map[string]any{
			"manager": manager, "operation": operation, "time": "2026-11-26T03:07:36Z",
			"fieldsV1": map[string]any{"f:data": map[string]any{"f:a": map[string]any{}}},
		}}},
	}}
}

// edit has somebody change the object a behind the loop's back.
func (w *world) edit(value, manager string) {
	w.mu.Lock()
	w.read["a"] = configMap(value, manager)
	w.mu.Unlock()
	w.touch("a", func(r *live.Record) {
		r.Writers, r.Baseline = []string{manager}, sha256.Sum256([]byte(value))
	})
}

// hear returns what Kubernetes Events said since the last time it was asked.
func (w *world) hear() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	heard := w.heard
	w.heard = nil
	return heard
}

func (w *world) condition(kind string) string {
	for _, c := range w.status().Conditions {
		if c.Type == kind {
			return string(c.Status)
		}
	}
	return ""
}

const edited = `ConfigMap/shop/a (changed by kubectl-edit (Update, 2026-11-26T03:07:36Z): .data.a is "by hand" and not "from Git")`

func TestWhatIsHealedIsExplained(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.answers["a"] = configMap("from Git", v1alpha1.FieldManager)
		w.run(func() {
			deployed(w)
			w.hear()
			w.edit("by hand", "kubectl-edit")
			same(t, "did", w.took(), []string{"apply a", "status Healthy"})
			same(t, "heard", w.hear(), []string{"Healed: Healed " + edited + "."})
		})
	})
}

func TestWhatIsLeftIsExplainedOnce(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.answers["a"] = configMap("from Git", v1alpha1.FieldManager)
		w.run(func() {
			deployed(w)
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Drift = v1alpha1.DriftReport })
			w.took()
			w.hear()
			w.edit("by hand", "kubectl-edit")
			same(t, "did", w.took(), []string{"try a", "status Healthy"})
			same(t, "heard", w.hear(), []string{"Drifted: Found changed and left so: " + edited + "."})
			same(t, "told", w.told(), []string{"Drifted/0"})
			problem := v1alpha1.Problem{
				Kind: v1alpha1.ProblemDrift, Object: "ConfigMap/shop/a", File: "env/a.yaml", Line: 1,
				Message: edited + " differs from Git and is left so, because the drift policy is report.",
			}
			if s := w.status(); !slices.Equal(s.Problems, []v1alpha1.Problem{problem}) || s.Objects.Drifted != 1 || s.State != v1alpha1.StateHealthy {
				t.Errorf("status: got %+v", s)
			}
			w.loop.SyncNow("shop", "web")
			w.pass(time.Hour)
			same(t, "did later", w.took(), []string{})
		})
		w.run(func() { // a restart
			w.pass(time.Hour)
			same(t, "did after a restart", w.took(), []string{"try a"})
			same(t, "heard after a restart", w.hear(), nil)
			w.edit("otherwise", "kubectl-edit")
			if heard := w.hear(); len(heard) != 1 || !strings.Contains(heard[0], `is "otherwise"`) {
				t.Errorf("heard of another change: %q", heard)
			}
			w.touch("a", func(r *live.Record) { r.Baseline, _ = baseline.Of(w.answers["a"], v1alpha1.FieldManager) })
			if s := w.status(); len(s.Problems) > 0 || s.Objects.Drifted != 0 {
				t.Errorf("status after somebody put it right: got %+v", s)
			}
		})
	})
}

func TestObjectsHaveDriftPoliciesOfTheirOwn(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Drift = v1alpha1.DriftIgnore })
			w.deliver(w.commit("one", "a~heal", "b", "c~report"))
			w.took()
			for _, name := range []string{"a", "b", "c"} {
				w.touch(name, func(r *live.Record) { r.Baseline[0] = 9 })
			}
			same(t, "did", w.took(), []string{"apply a", "status Healthy", "try c", "status Healthy"})
		})
	})
}

// Removed is one more way of being changed.
func TestAnIgnoredRemovalLeavesTheSyncHealthy(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Drift = v1alpha1.DriftIgnore })
			w.deliver(w.commit("one", "a", "b"))
			w.touch("a", func(r *live.Record) { *r = live.Record{} })
			w.pass(time.Hour)
			if s := w.status(); s.State != v1alpha1.StateHealthy || s.Objects.Total != 1 {
				t.Errorf("status: got %+v", s)
			}
		})
	})
}

func TestAFightIsDampedAndNamed(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.answers["a"] = configMap("from Git", v1alpha1.FieldManager)
		w.run(func() {
			deployed(w)
			for range drift.FightAfter {
				w.edit("by force", "operator")
			}
			w.took()
			w.hear()
			w.edit("by force", "operator")
			same(t, "did when it was undone often", w.took(), []string{"status Healthy"})
			heard := w.hear()
			const says = "Fighting: ConfigMap/shop/a is fought for: what is healed is changed again and again by operator at .data.a, so that it is healed " +
				"less and less often. Leave it to the other by the annotation tandem.dev/ignore: /data/a or tandem.dev/drift: report in Git, or stop the other."
			same(t, "heard", heard, []string{says})
			s := w.status()
			if w.condition(v1alpha1.ConditionFighting) != "True" || len(s.Problems) != 1 || s.Problems[0].File != "env/a.yaml" || s.Objects.Drifted != 1 {
				t.Errorf("status: got %+v", s)
			}
			w.pass(drift.FirstPause)
			same(t, "did after a rest", w.took(), []string{"apply a", "status Healthy"})
			w.edit("by force", "operator")
			w.pass(drift.FirstPause + time.Second)
			same(t, "did while it rests for longer", w.took(), []string{"status Healthy"})
			w.pass(drift.FirstPause)
			same(t, "did after that", w.took()[:1], []string{"apply a"})
			w.pass(drift.Quiet + time.Minute)
			if s := w.status(); w.condition(v1alpha1.ConditionFighting) != "" || len(s.Problems) > 0 || s.Objects.Drifted != 0 {
				t.Errorf("status when the other has stopped: got %+v", s)
			}
			w.took()
			w.edit("by hand", "kubectl-edit")
			same(t, "did at the next change", w.took()[:1], []string{"apply a"})
		})
	})
}

// Whatever somebody fights for, what Git says anew is applied at once; and a person who asks is served at once.
func TestAFightHoldsNothingElseUp(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.answers["a"] = configMap("from Git", v1alpha1.FieldManager)
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b", "c@1"))
			fight := func() {
				for range drift.FightAfter + 1 {
					w.edit("by force", "operator")
				}
				w.took()
			}
			fight()
			w.deliver(w.commit("two", "a", "b", "c=2@1"))
			same(t, "later waves", w.took()[:1], []string{"apply c"})
			w.deliver(w.commit("three", "a=3", "b", "c=2@1"))
			same(t, "new content", w.took()[:1], []string{"apply a"})
			if w.condition(v1alpha1.ConditionFighting) != "" {
				t.Error("the fight goes on although Git says something else")
			}
			fight()
			w.sync(func(s *v1alpha1.Sync) { s.Annotations = map[string]string{v1alpha1.AnnotationSyncNow: "1"} })
			same(t, "sync now", w.took()[:1], []string{"apply a"})
		})
	})
}

// Newer content that arrives together with a change is what counts: nothing older is put back first.
func TestSupersededContentIsNotHealed(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.hold = make(chan struct{})
		w.run(func() {
			w.sync(nil)
			go func() { w.hold <- struct{}{}; w.hold <- struct{}{} }()
			w.deliver(w.commit("one", "a", "b"))
			w.took()
			w.touch("a", func(r *live.Record) { r.Baseline[0] = 9 }) // the heal waits
			w.mu.Lock()
			hold := w.hold
			w.hold = nil
			w.mu.Unlock()
			w.deliver(w.commit("two", "a=2", "b"))
			close(hold)
			w.settle()
			for _, fact := range w.told() {
				if strings.HasPrefix(fact, "Healed") {
					t.Error("the old content was put back")
				}
			}
			if s := w.status(); s.State != v1alpha1.StateHealthy || s.Objects.Drifted != 0 {
				t.Errorf("status: got %+v", s)
			}
		})
	})
}

// What a heal leaves as it was found is what admission makes of it: it is told once and not fought.
func TestWhatAdmissionChangesIsAccepted(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]v1alpha1.DriftPolicy{"Heal": v1alpha1.DriftHeal, "Report": v1alpha1.DriftReport} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.answers["a"] = configMap("from Git", v1alpha1.FieldManager)
				w.sent = configMap("from Git", "")
				w.run(func() {
					w.sync(func(s *v1alpha1.Sync) { s.Spec.Drift = policy })
					w.deliver(w.commit("one", "a", "b"))
					w.took()
					w.told()
					w.hear()
					rewritten := configMap("by policy", v1alpha1.FieldManager)
					w.mu.Lock()
					w.read["a"], w.answers["a"] = rewritten, rewritten
					w.mu.Unlock()
					digest, _ := baseline.Of(rewritten, v1alpha1.FieldManager)
					w.touch("a", func(r *live.Record) { r.Baseline = digest })
					same(t, "heard", w.hear(), []string{`MutatedByAdmission: Admission changes what is applied, and that is taken as it is: ConfigMap/shop/a (.data.a is "by policy" and not "from Git").`})
					same(t, "told", w.told(), []string{"Drifted/0"})
					w.took()
					w.pass(time.Hour)
					same(t, "did later", w.took(), []string{})
					if s := w.status(); len(s.Problems) > 0 || s.Objects.Drifted != 0 || s.State != v1alpha1.StateHealthy {
						t.Errorf("status: got %+v", s)
					}
					w.touch("a", func(r *live.Record) { r.Baseline[0] ^= 1 })
					w.touch("a", func(r *live.Record) { r.Baseline = digest })
					if heard := w.hear(); slices.ContainsFunc(heard, func(s string) bool { return strings.HasPrefix(s, "Mutated") }) {
						t.Errorf("told again: %q", heard)
					}
				})
			})
		})
	}
}

// Of a kind that may not be listed nobody knows whether an object has gone: it counts neither as drift nor as well.
func TestWhatIsNotSeenIsNotDrift(t *testing.T) {
	t.Parallel()
	for _, policy := range v1alpha1.DriftPolicies() {
		t.Run(string(policy), func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.run(func() {
					w.sync(func(s *v1alpha1.Sync) { s.Spec.Drift = policy })
					w.deliver(w.commit("one", "a"))
				})
				clear(w.objects)
				w.unsynced, w.refused, w.heard = true, errBoom, nil
				w.run(func() {
					w.pass(time.Second)
					problems := w.status().Problems
					if len(problems) != 1 || !strings.Contains(problems[0].Message, "waits until its kind can be watched") {
						t.Errorf("problems: got %+v", problems)
					}
					if s := w.status(); s.State != v1alpha1.StateFailed || s.Objects.NotApplied != 1 || s.Objects.Drifted != 0 {
						t.Errorf("status: got %+v", s)
					}
					same(t, "heard", w.hear(), nil)
				})
			})
		})
	}
}

func TestWhatCannotBeExplainedIsLookedIntoLater(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Drift = v1alpha1.DriftReport })
			w.mu.Lock()
			w.fail["a"] = errBoom
			w.mu.Unlock()
			w.took()
			w.edit("by hand", "kubectl-edit")
			same(t, "did", w.took(), []string{"try a", "status Healthy"})
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "did at the next look", w.took(), []string{})
			w.pass(explainAgain)
			same(t, "did later", w.took(), []string{"try a"})
		})
	})
}
