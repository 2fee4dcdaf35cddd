package converge

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

func needs(names ...string) func(*v1alpha1.Sync) {
	return func(s *v1alpha1.Sync) {
		s.Spec.DependsOn = nil
		for _, name := range names {
			s.Spec.DependsOn = append(s.Spec.DependsOn, v1alpha1.Dependency{Name: name})
		}
	}
}

func TestADependentWaitsForTheNewestOfTheOther(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.syncNamed("db", "uid-2", nil)
			w.sync(needs("db"))
			w.deliver(w.commit("one", "a", "db"))
			w.pass(time.Second)
			same(t, "did at first", applies(w), []string{"db", "a"})
			w.health = health.Status{State: health.InProgress, Message: "migrating"}
			w.deliver(w.commit("two", "a=2", "db=2")) // one commit for both: the dependent does not go by what the other was
			w.pass(time.Second)
			same(t, "did while the other rolls out", applies(w), []string{"db"})
			if got, want := w.status().Conditions[0].Message, "Waits for the Sync shop/db to be healthy."; got != want {
				t.Errorf("the resource says %q, want %q", got, want)
			}
			w.touch("db", current)
			same(t, "did once the other is healthy", applies(w), []string{"a"})
		})
	})
}

func TestADependencyThatIsStillListingANewKindIsNotReady(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.syncNamed("db", "uid-2", nil)
			w.sync(needs("db"))
			w.deliver(w.commit("one", "a", "db"))
			w.pass(time.Second)
			applies(w)
			w.list("db")
			w.deliver(w.commit("two", "a=2", "db=2"))
			w.pass(time.Second)
			same(t, "did while nothing is known of what is there", applies(w), []string{})
			w.health = health.Status{State: health.InProgress, Message: "migrating"}
			w.list("")
			same(t, "did once it is listed", applies(w), []string{"db"})
		})
	})
}

func TestDriftIsHealedWhileADependencyIsDown(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.syncNamed("db", "uid-2", nil)
			w.sync(needs("db"))
			w.deliver(w.commit("one", "a", "db"))
			w.pass(time.Second)
			w.touch("db", func(r *live.Record) { r.Health = health.Status{State: health.Failed} })
			applies(w)
			w.touch("a", func(r *live.Record) { r.Baseline[0] = 9 })
			same(t, "did", applies(w), []string{"a"})
		})
	})
}

func TestADependencyThatIsNotThereIsNamed(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(needs("db"))
			w.deliver(w.commit("one", "a", "db"))
			w.pass(countsEvery)
			same(t, "did", applies(w), []string{})
			if got := w.status().Conditions[0].Message; !strings.Contains(got, "shop/db, which does not exist") {
				t.Errorf("the resource says %q", got)
			}
			w.pass(time.Hour)
			if got := w.status().State; got != v1alpha1.StateFailed {
				t.Errorf("state after the deadline: got %s", got)
			}
			w.syncNamed("db", "uid-2", nil)
			w.deliver(w.commit("two", "a", "db"))
			w.pass(time.Second)
			same(t, "did once it is there", applies(w), []string{"db", "a"})
		})
	})
}

func TestACircleIsNamed(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.syncNamed("db", "uid-2", needs("web"))
			w.sync(needs("db"))
			if got, want := w.status().Conditions[0].Message, "DependsOn goes in a circle: shop/web → shop/db → shop/web; take one of them out."; got != want {
				t.Errorf("the resource says %q, want %q", got, want)
			}
			w.syncNamed("db", "uid-2", needs())
			w.sync(nil)
			w.deliver(w.commit("one", "a", "db"))
			w.pass(time.Second)
			same(t, "did without the circle", applies(w), []string{"db", "a"})
		})
	})
}
