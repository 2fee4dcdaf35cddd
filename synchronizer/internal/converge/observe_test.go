package converge

import (
	"testing"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

func TestTheHealthDeadlineIsToldOnce(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.health = health.Status{State: health.InProgress, Message: "1 of 2 replicas"}
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a"))
			w.told()
			w.pass(9 * time.Minute)
			same(t, "told before the deadline", w.told(), []string{})
			w.pass(2 * time.Minute)
			same(t, "told after the deadline", w.told(), []string{"Failed/0"})
			if got := w.status().State; got != v1alpha1.StateFailed {
				t.Errorf("state: got %s", got)
			}
			w.pass(time.Hour)
			same(t, "told much later", w.told(), []string{})
			w.touch("a", func(r *live.Record) { r.Health = health.Status{State: health.Current} })
			same(t, "told in the end", w.told(), []string{"Healthy/0"})
		})
	})
}

func TestCountsAreWrittenNowAndThen(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.health = health.Status{State: health.InProgress, Message: "rolling out"}
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b", "c", "d"))
			w.took()
			for _, name := range []string{"a", "b", "c"} {
				w.touch(name, func(r *live.Record) { r.Health = health.Status{State: health.Current} })
			}
			same(t, "did at once", w.took(), []string{})
			w.pass(6 * time.Second)
			same(t, "did after a while", w.took(), []string{"status InProgress"})
			w.touch("d", func(r *live.Record) { r.Health = health.Status{State: health.Current} })
			same(t, "did in the end", w.took(), []string{"status Healthy"})
		})
	})
}
