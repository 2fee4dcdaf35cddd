package converge

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
)

// asks depends on the Sync db by an expression.
func asks(expression string) func(*v1alpha1.Sync) {
	return func(s *v1alpha1.Sync) {
		s.Spec.DependsOn = []v1alpha1.Dependency{{Name: "db", ReadyExpr: expression}}
	}
}

func TestADependencyIsReadyWhenItsExpressionSaysSo(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.health = health.Status{State: health.InProgress, Message: "migrating"}
		w.run(func() {
			w.syncNamed("db", "uid-2", nil)
			w.sync(asks("dep.status.objects.total == 1 && dep.metadata.labels.schema == self.metadata.labels.schema"))
			w.deliver(w.commit("one", "a", "db"))
			w.pass(countsEvery + time.Second)
			same(t, "did while there is no label", applies(w), []string{"db"})
			const says = "Waits for the Sync shop/db to be as spec.dependsOn[0].readyExpr wants it: no such key: labels."
			if got := w.status().Conditions[0].Message; got != says {
				t.Errorf("the resource says %q, want %q", got, says)
			}
			w.sync(func(s *v1alpha1.Sync) { s.Labels = map[string]string{"schema": "2"} })
			w.syncNamed("db", "uid-2", func(s *v1alpha1.Sync) { s.Labels = map[string]string{"schema": "1"} })
			same(t, "did while the labels differ", applies(w), []string{})
			w.syncNamed("db", "uid-2", func(s *v1alpha1.Sync) { s.Labels = map[string]string{"schema": "2"} })
			same(t, "did when they are the same, though the other is not healthy", applies(w), []string{"a"})
		})
	})
}

// One commit for both: the dependent does not go by what the other was before.
func TestAnExpressionIsAskedAboutTheNewestOfTheOther(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.syncNamed("db", "uid-2", nil)
			w.sync(asks("has(dep.status.healthySince)"))
			w.deliver(w.commit("one", "a", "db"))
			w.pass(time.Second)
			same(t, "did at first", applies(w), []string{"db", "a"})
			w.health = health.Status{State: health.InProgress, Message: "migrating"}
			w.deliver(w.commit("two", "a=2", "db=2"))
			w.pass(time.Second)
			same(t, "did while the other rolls out", applies(w), []string{"db"})
			w.touch("db", current)
			same(t, "did once the other is healthy", applies(w), []string{"a"})
			if w.loop.entries[types.NamespacedName{Namespace: "shop", Name: "web"}].waits {
				t.Error("it is woken for nothing from now on")
			}
		})
	})
}

func TestExpressionsThatAreWrong(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ expression, want string }{
		"Syntax": {"dep.status.(", "Spec.dependsOn[0].readyExpr: ERROR: <input>:1:12: Syntax error"},
		"Name":   {"other.status.state == 'Healthy'", "undeclared reference to 'other'"},
		"Type":   {"'Healthy'", "is of type string: bool is needed"},
		"NoBool": {"dep.status.state", "Spec.dependsOn[0].readyExpr, for the Sync shop/db: is string: true or false is needed; correct it."},
		"Cost":   {strings.Repeat("[1,2,3,4,5,6,7,8,9].all(a, ", 5) + "has(dep.status)" + strings.Repeat(")", 5), "cost limit exceeded; correct it."},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.run(func() {
					w.syncNamed("db", "uid-2", nil)
					w.sync(asks(tc.expression))
					w.deliver(w.commit("one", "a", "db"))
					w.pass(time.Second)
					same(t, "did", applies(w), []string{"db"})
					s := w.status()
					if s.State != v1alpha1.StateFailed || len(s.Problems) != 1 || s.Problems[0].Kind != v1alpha1.ProblemConfig || !strings.Contains(s.Problems[0].Message, tc.want) {
						t.Errorf("status: got %s, %+v, want %q", s.State, s.Problems, tc.want)
					}
					w.sync(asks("dep.status.state == 'Healthy'"))
					w.pass(time.Second)
					same(t, "did when it was corrected", applies(w), []string{"a"})
				})
			})
		})
	}
}

func TestASyncHasItsOwnRulesOfHealth(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		label := v1alpha1.Label("shop", "web")
		ruled := func(current string) func(*v1alpha1.Sync) {
			return func(s *v1alpha1.Sync) {
				s.Spec.Health.Rules = []v1alpha1.HealthRule{{Kind: "ConfigMap", Current: "true"}, {Kind: "Secret", Current: current}}
			}
		}
		w.run(func() {
			w.sync(nil)
			if judge, set := w.judges[label]; set && judge != nil {
				t.Error("a Sync without rules has a judge of its own")
			}
			w.sync(ruled("has(self.data)"))
			first := w.judges[label]
			if first == nil {
				t.Fatal("no judge of its own")
			}
			w.deliver(w.commit("one", "a"))
			if w.judges[label] != first {
				t.Error("another judge although the rules are the same")
			}
			w.sync(ruled("has(self."))
			const says = `Spec.health.rules[1], for Secret of "": current: ERROR: <input>:1:`
			s := w.status()
			if len(s.Problems) != 1 || s.Problems[0].Kind != v1alpha1.ProblemConfig || !strings.HasPrefix(s.Problems[0].Message, says) || w.judges[label] != first {
				t.Errorf("status: got %+v, want %q, and the judge that was", s.Problems, says)
			}
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Health.Rules = nil })
			if s := w.status(); len(s.Problems) > 0 || w.judges[label] != nil {
				t.Errorf("status without rules: got %+v", s.Problems)
			}
		})
		w.run(func() {
			w.sync(ruled("true"))
			if w.judges[label] == nil {
				t.Error("no judge of its own")
			}
		})
	})
}

// What a Sync looks at is judged as what it owns is, also when it comes back to mode observe.
func TestASyncThatObservesHasItsOwnRulesOfHealth(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		label := v1alpha1.Label("shop", "web")
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) {
				observing(s)
				s.Spec.Health.Rules = []v1alpha1.HealthRule{{Kind: "ConfigMap", Current: "true"}}
			})
			w.deliver(w.commit("one", "a"))
			if w.seeing[label] == nil || w.seeing[label] != w.judges[label] {
				t.Errorf("looks by %v, want %v", w.seeing[label], w.judges[label])
			}
			w.sync(applying)
			if _, set := w.seeing[label]; set {
				t.Error("looks on in mode apply")
			}
			w.sync(observing)
			if w.seeing[label] == nil {
				t.Error("back in mode observe it looks by everybody's rules")
			}
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Health.Rules = nil })
			if w.seeing[label] != nil {
				t.Error("it looks by rules that it has no more")
			}
		})
	})
}

func TestADependentSaysThatANamespaceIsNotLookedAt(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.loop.deps.Namespaces = []string{"shop"}
			w.sync(func(s *v1alpha1.Sync) { s.Spec.DependsOn = []v1alpha1.Dependency{{Namespace: "infra", Name: "db"}} })
			w.deliver(w.commit("one", "a"))
			w.pass(countsEvery + time.Second)
			const want = `Waits for the Sync infra/db, which does not exist: this synchronizer does not look at namespace "infra"; list it under namespaces in the chart's values.`
			if got := meta.FindStatusCondition(w.status().Conditions, v1alpha1.ConditionHealthy).Message; got != want {
				t.Errorf("the condition Healthy says %q, want %q", got, want)
			}
		})
	})
}

// Why a Sync does not get on, those that wait for it say as well: here and where another replica works for it.
func TestADependentSaysWhyItWaits(t *testing.T) {
	t.Parallel()
	const denied = `path "data" of deploy@refs/heads/main is outside the grant of this cluster; add it to .tandem/clusters.yaml in that repository.`
	source := revision.Source{Repository: "deploy", Ref: "refs/heads/main"}
	cases := map[string]struct {
		hears       func(w *world)
		here, there string
	}{
		"Denied":  {func(w *world) { w.loop.Denied(source, []string{"data"}) }, ": " + denied, ": " + denied},
		"Refused": {func(w *world) { w.loop.SourceProblem(source, errors.New("no such repository")) }, ": no such repository.", ": no such repository."},
		"Granted": {func(w *world) { w.loop.Denied(source, []string{"data"}); w.settle(); w.loop.Denied(source, nil) }, ".", "."},
		"Failed": {func(w *world) {
			w.syncNamed("db", "uid-2", func(s *v1alpha1.Sync) {
				s.Status.Problems, s.Status.ObservedGeneration = []v1alpha1.Problem{{Kind: v1alpha1.ProblemApply, Message: "It broke."}}, s.Generation
				s.Spec.Path = barred
			})
		}, ": Boom.", ": It broke."},
	}
	for name, tc := range cases {
		for _, owns := range []func(namespace, name string) bool{nil, allBut("db")} {
			want := "Waits for the Sync shop/db to be healthy" + tc.here
			if owns != nil {
				want = "Waits for the Sync shop/db to be healthy" + tc.there
			}
			t.Run(fmt.Sprintf("%s/elsewhere=%t", name, owns != nil), func(t *testing.T) {
				story(t, func(t *testing.T, w *world) {
					w.owns = owns
					w.run(func() {
						w.syncNamed("db", "uid-2", func(s *v1alpha1.Sync) { s.Spec.Path = "data" })
						w.sync(needs("db"))
						w.deliverTo([]string{"web"}, w.commit("one", "a"))
						tc.hears(w)
						w.pass(countsEvery + time.Second)
						same(t, "did", applies(w), []string{})
						got := meta.FindStatusCondition(w.status().Conditions, v1alpha1.ConditionHealthy).Message
						if got != want {
							t.Errorf("the condition Healthy says %q, want %q", got, want)
						}
					})
				})
			})
		}
	}
}
