package converge

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

var starting = health.Status{State: health.InProgress, Message: "starting"}

// appliedAt has the clock be set: what was recorded as applied now seems to be of another time.
func appliedAt(s *v1alpha1.Status, at time.Time) { s.Applied.Time = metav1.NewMicroTime(at) }

func TestAClockThatIsSetMovesNoDeadline(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"Forward": -time.Hour, "Back": time.Hour} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.health = starting
				w.run(func() {
					w.sync(nil)
					w.deliver(w.commit("one", "a"))
					w.told()
					appliedAt(&w.loop.entries[types.NamespacedName{Namespace: "shop", Name: "web"}].work.status, time.Now().Add(by))
					w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
					w.pass(9 * time.Minute)
					same(t, "told before the deadline", w.told(), []string{})
					w.pass(2 * time.Minute)
					same(t, "told after the deadline", w.told(), []string{"Failed/0"})
				})
			})
		})
	}
}

func TestARestartClampsWhatWasRecorded(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason      string
		ago         time.Duration // when it was applied, as recorded
		failsAfter  time.Duration
		failed      bool // whether it was told to have failed
		failsAtOnce bool
	}{
		"Usual":   {reason: "It goes on.", ago: 4 * time.Minute, failsAfter: 6 * time.Minute},
		"Future":  {reason: "It has the whole time.", ago: -24 * time.Hour, failsAfter: 10 * time.Minute},
		"LongAgo": {reason: "It has a part of the time.", ago: 24 * time.Hour, failsAfter: 150 * time.Second},
		"Failed":  {reason: "It has had its time.", ago: 24 * time.Hour, failed: true, failsAtOnce: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.health = starting
				w.run(func() {
					w.sync(nil)
					w.deliver(w.commit("one", "a"))
					w.pass(time.Second)
				})
				s := &w.resources["web"].Status
				appliedAt(s, time.Now().Add(-tc.ago))
				if tc.failed {
					s.Problems = []v1alpha1.Problem{{Kind: v1alpha1.ProblemHealth}}
				}
				w.run(func() {
					if tc.failsAtOnce {
						if got := w.status().State; got != v1alpha1.StateFailed {
							t.Errorf("%s: after the restart it is %s", tc.reason, got)
						}
						return
					}
					w.pass(tc.failsAfter - 5*time.Second)
					if got := w.status().State; got != v1alpha1.StateInProgress {
						t.Errorf("%s: before its time it is %s", tc.reason, got)
					}
					w.pass(10 * time.Second)
					if got := w.status().State; got != v1alpha1.StateFailed {
						t.Errorf("%s: after its time it is %s", tc.reason, got)
					}
				})
			})
		})
	}
}

// What was healthy for long has the whole time again when an object of it is made anew.
func TestWhatWasHealthyHasItsTimeAgain(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.pass(time.Hour)
			w.touch("a", func(r *live.Record) { r.Health = starting })
			w.pass(9 * time.Minute)
			same(t, "told before the deadline", w.told(), []string{})
			w.pass(2 * time.Minute)
			same(t, "told after the deadline", w.told(), []string{"Failed/0"})
			if problems := w.status().Problems; len(problems) != 1 || problems[0].Message != "Not healthy 10m0s after it was healthy last: ConfigMap/shop/a is InProgress: starting." {
				t.Errorf("problems: %+v", problems)
			}
		})
	})
}
