package converge

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

func current(r *live.Record) { r.Health = health.Status{State: health.Current} }

func TestALaterWaveWaitsForHealth(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.health = health.Status{State: health.InProgress, Message: "starting"}
			w.sync(nil)
			w.took()
			w.deliver(w.commit("one", "a", "b@1", "c@2"))
			w.pass(passingWait)
			same(t, "did at first", w.took(), []string{"status InProgress", "apply a", "status InProgress"})
			same(t, "told at first", w.told(), []string{"Received/0", "Verified/0"})
			if got, want := w.status().Conditions[0].Message, "Waits for ConfigMap/shop/a of wave 0."; got != want {
				t.Errorf("the resource says %q, want %q", got, want)
			}
			w.touch("a", current)
			same(t, "did once a is Current", w.took()[:1], []string{"apply b"})
		})
		w.run(func() { // a restart in the middle
			w.deliver(w.commit("one", "a", "b@1", "c@2"))
			w.took()
			w.touch("b", current)
			same(t, "did once b is Current", w.took()[:1], []string{"apply c"})
			w.touch("c", current)
			told := w.told()
			same(t, "told in the end", told[len(told)-2:], []string{"Applied/0", "Healthy/0"})
			if got := w.status().State; got != v1alpha1.StateHealthy {
				t.Errorf("state: got %s", got)
			}
		})
	})
}

func TestWavesOfWhatIsCurrentAtOnceFollowAtOnce(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a@-5", "b", "c@7"))
			w.pass(time.Second)
			var applied []string
			for _, did := range w.took() {
				if strings.HasPrefix(did, "apply") {
					applied = append(applied, did)
				}
			}
			same(t, "did without a wake-up from outside", applied, []string{"apply a", "apply b", "apply c"})
		})
	})
}

func TestAFailureBlocksLaterWavesOnly(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.fail["a"] = &apply.Error{Class: apply.Refused, Message: "no"}
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b", "c@1"))
			did := strings.Join(w.took(), ", ")
			if !strings.Contains(did, "apply b") || strings.Contains(did, "apply c") {
				t.Errorf("did %s; want the rest of the wave, and not the next", did)
			}
			w.mend("a")
			w.pass(time.Minute)
			if did := strings.Join(w.took(), ", "); !strings.Contains(did, "apply a") || !strings.Contains(did, "apply c") {
				t.Errorf("did %s after it was put right; want both", did)
			}
			if got := w.status().State; got != v1alpha1.StateHealthy {
				t.Errorf("state: got %s", got)
			}
		})
	})
}

func TestAWaveThatTakesTooLongIsTold(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.health = health.Status{State: health.InProgress, Message: "starting"}
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b@1"))
			w.told()
			w.pass(time.Hour)
			same(t, "told after the deadline", w.told(), []string{"Failed/0"})
			if got := w.status().State; got != v1alpha1.StateFailed {
				t.Errorf("state: got %s", got)
			}
		})
	})
}

// What failed and then has to wait for an earlier wave is not looked at again and again.
func TestWhatFailedWaitsForAnEarlierWave(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.fail["b"] = errBoom
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b@1"))
			w.pass(time.Second)
			w.touch("a", func(r *live.Record) { r.Health = health.Status{State: health.InProgress, Message: "restarts"} })
			w.pass(time.Second)
			w.mu.Lock()
			before := w.plans
			w.mu.Unlock()
			w.pass(time.Minute)
			w.mu.Lock()
			more := w.plans - before
			w.mu.Unlock()
			if more > 20 {
				t.Errorf("looked %d times in a minute at what waits", more)
			}
			w.mend("b")
			w.touch("a", current)
			if did := w.took(); !slices.Contains(did, "apply b") {
				t.Errorf("did %v once a is Current", did)
			}
		})
	})
}

// An object that cannot be applied is the reason why what waits for it is not healthy, and needs no other.
func TestAWaveBehindWhatCannotBeApplied(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a@1", "b@2"))
			w.touch("a", current)
			w.touch("b", current)
			w.set(func() { w.fail["a"] = errBoom })
			w.deliver(w.commit("two", "a=2@1", "b=2@2"))
			w.pass(time.Hour)
			if got := w.status(); len(got.Problems) != 1 || got.Problems[0].Object != "ConfigMap/shop/a" {
				t.Errorf("problems: %+v; want the one of a", got.Problems)
			}
			if !slices.ContainsFunc(w.heard, func(text string) bool { return strings.Contains(text, "1 objects could not be applied") }) {
				t.Errorf("heard %q; want that an object could not be applied", w.heard)
			}
		})
	})
}
