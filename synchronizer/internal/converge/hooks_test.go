package converge

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

// applies are the names of what was applied since the last time, without the content in the names of hooks.
func applies(w *world) []string {
	names := []string{}
	for _, did := range w.took() {
		if name, ok := strings.CutPrefix(did, "apply "); ok {
			name, _, _ = strings.Cut(name, "-")
			names = append(names, name)
		}
	}
	return names
}

// hook returns the object of a hook that is there.
func (w *world) hook(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.objects {
		if strings.HasPrefix(key.Name, name+"-") {
			return key.Name
		}
	}
	return ""
}

func TestHooksRunOnceForEachContent(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			w.health = health.Status{State: health.InProgress, Message: "running"}
			w.deliver(w.commit("one", "a", "migrate!pre-sync", "smoke!post-sync"))
			same(t, "did at first", applies(w), []string{"migrate"})
			w.pass(passingWait)
			if got := w.status().Conditions[0].Message; !strings.Contains(got, "a pre-sync hook") {
				t.Errorf("the resource says %q, want what is waited for", got)
			}
			w.touch(w.hook("migrate"), current)
			same(t, "did after the migration", applies(w), []string{"a"})
			w.touch("a", current)
			same(t, "did once everything is Current", applies(w), []string{"smoke"})
			same(t, "told before the post-sync hook has ended", w.told(), []string{"Received/0", "Verified/0", "Applied/0"})
			w.touch(w.hook("smoke"), current)
			same(t, "told in the end", w.told(), []string{"Healthy/0"})
		})
		migrate := w.hook("migrate")
		w.run(func() { // a restart, and the Job's time to live is over
			w.health = health.Status{State: health.Current}
			w.deliver(w.commit("one", "a", "migrate!pre-sync", "smoke!post-sync"))
			w.touch(migrate, func(r *live.Record) { *r = live.Record{} })
			same(t, "did for the same content", applies(w), []string{})
			if got := w.status().State; got != v1alpha1.StateHealthy {
				t.Errorf("state without the Job: got %s", got)
			}
			w.deliver(w.commit("two", "a=2", "migrate!pre-sync", "smoke!post-sync"))
			w.pass(time.Minute)
			same(t, "did for other content", applies(w), []string{"migrate", "a", "smoke"})
			w.deliver(w.commit("three", "a", "migrate!pre-sync", "smoke!post-sync"))
			w.pass(time.Minute)
			same(t, "did back at the first content", applies(w), []string{"migrate", "a", "smoke"})
			if n := len(w.inventory["uid-1"]); n != 3 {
				t.Errorf("%d records, want no more than there are objects", n)
			}
		})
	})
}

func TestAnOnFailureHookRunsWhenTheContentFailed(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "call!on-failure"))
			same(t, "did while all is well", applies(w), []string{"a"})
			if got := w.status().State; got != v1alpha1.StateHealthy {
				t.Errorf("state: got %s", got)
			}
			w.touch("a", func(r *live.Record) { r.Health = health.Status{State: health.Failed, Message: "crashes"} })
			w.pass(time.Second)
			same(t, "did after the failure", applies(w), []string{"call"})
			w.touch("a", current)
			same(t, "told", w.told()[4:], []string{"Failed/0", "Healthy/1"})
		})
	})
}
