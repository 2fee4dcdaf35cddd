package converge

import (
	"testing"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

func TestSuspendStopsEveryWrite(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Suspend = true })
			w.took()
			w.touch("a", func(r *live.Record) { r.Baseline[0] = 9 })
			w.deliver(w.commit("two", "a=2", "b"))
			for _, did := range w.took() {
				if did != "status Suspended" {
					t.Errorf("suspended: did %q", did)
				}
			}
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Suspend = false })
			if got := w.took(); len(got) == 0 || got[0] != "apply a" {
				t.Errorf("resumed: did %v", got)
			}
		})
	})
}

func TestNewContentSupersedesARunningApply(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.hold = make(chan struct{})
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			w.hold <- struct{}{} // a is applied, b waits
			w.settle()
			w.took()
			w.mu.Lock()
			hold := w.hold
			w.hold = nil
			w.mu.Unlock()
			w.deliver(w.commit("two", "a", "b=2"))
			close(hold)
			w.settle()
			same(t, "did", w.took(), []string{"apply b", "status Healthy"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0", "Received/0", "Verified/0", "Applied/0", "Healthy/0"})
		})
	})
}

// What is still to be written was not forgotten, so nothing is read again for it.
func TestASupersededApplyReadsNothingAgain(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		hold := make(chan struct{})
		w.hold = hold
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			hold <- struct{}{} // a is applied, b waits
			w.settle()
			w.took()
			w.mu.Lock()
			w.hold = nil
			w.mu.Unlock()
			w.deliver(w.commit("two", "a=2", "b"))
			close(hold)
			w.settle()
			same(t, "did", w.took(), []string{"apply a", "apply b", "status Healthy"})
			if len(w.reads) > 0 {
				t.Errorf("read again: %v", w.reads)
			}
			w.touch("b", func(r *live.Record) { r.Baseline[0] = 9 })
			same(t, "read again to heal, once all was applied", w.reads, []string{"b"})
		})
	})
}
