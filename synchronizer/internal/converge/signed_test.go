package converge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/evidence"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

// notary refuses objects by their name. It can be slow.
type notary struct {
	mu       sync.Mutex
	unsigned map[string]bool
	asked    []string
	slow     bool
	away     bool          // nothing is known of what is unsigned
	takes    time.Duration // for a Check
	hurried  int
}

func (n *notary) Hurry(objects []*unstructured.Unstructured) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hurried += len(objects)
}

// nextLook is when the notary may say something else.
const nextLook = 10 * time.Second

func (n *notary) Check(ctx context.Context, _ string, objects []*unstructured.Unstructured) (refusals []error, after time.Duration) {
	n.mu.Lock()
	slow, takes := n.slow, n.takes
	n.mu.Unlock()
	time.Sleep(takes) //nolint:forbidigo // the bubble's clock
	if slow {
		<-ctx.Done()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	refusals = make([]error, len(objects))
	for i, o := range objects {
		n.asked = append(n.asked, o.GetName())
		if n.unsigned[o.GetName()] {
			refusals[i], after = errBoom, nextLook
			if n.away {
				refusals[i] = fmt.Errorf("%w: boom", evidence.ErrUnknown)
			}
		}
	}
	return refusals, after
}

func (n *notary) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// questions returns what was asked about since the last time.
func (n *notary) questions() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := n.asked
	n.asked = nil
	if asked == nil {
		asked = []string{}
	}
	return asked
}

func unsigned(names ...string) *notary {
	n := &notary{unsigned: map[string]bool{}}
	for _, name := range names {
		n.unsigned[name] = true
	}
	return n
}

// writes are the applies and removals of what was done.
func writes(did []string) []string {
	only := []string{}
	for _, what := range did {
		if !strings.HasPrefix(what, "status") {
			only = append(only, what)
		}
	}
	return only
}

func TestWhatIsNotSignedIsLeft(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		n := unsigned("b")
		w.signatures = n
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			same(t, "did", writes(w.took()), []string{"apply a"})
			status := w.status()
			if len(status.Problems) != 1 || status.State != v1alpha1.StateFailed {
				t.Fatalf("state %s with problems %+v; want one problem", status.State, status.Problems)
			}
			want := v1alpha1.Problem{Kind: v1alpha1.ProblemApply, Object: "ConfigMap/shop/b", File: "env/b.yaml", Line: 1, Message: "ConfigMap/shop/b is not applied: boom."}
			if got := status.Problems[0]; got != want {
				t.Errorf("problem: got %+v, want %+v", got, want)
			}
			w.pass(nextLook)
			same(t, "did while it is not signed", writes(w.took()), []string{})
			told := 0
			for _, event := range w.events {
				if event == "Unsigned" {
					told++
				}
			}
			if told != 1 {
				t.Errorf("events: %v; want one of what is unsigned, however often it is looked at", w.events)
			}
			n.set(func() { delete(n.unsigned, "b") })
			w.pass(nextLook)
			same(t, "did once it was signed", writes(w.took()), []string{"apply b"})
			if got := w.status(); got.State != v1alpha1.StateHealthy || len(got.Problems) != 0 {
				t.Errorf("state %s, problems %v", got.State, got.Problems)
			}
			n.questions()
			w.pass(time.Hour)
			same(t, "asked when nothing is to be written", n.questions(), []string{})
		})
	})
}

func TestWhatIsNotSignedKeepsWhatItWouldReplace(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		n := unsigned()
		w.signatures = n
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "old"))
			w.took()
			n.set(func() { n.unsigned["new"] = true })
			w.deliver(w.commit("two", "a", "new"))
			w.pass(time.Minute)
			same(t, "did", writes(w.took()), []string{})
			w.touch("a", func(r *live.Record) { r.Baseline[0]++ })
			same(t, "did about drift elsewhere", writes(w.took()), []string{"apply a"})
			n.set(func() { delete(n.unsigned, "new") })
			w.pass(nextLook)
			same(t, "did once it was signed", writes(w.took()), []string{"apply new", "remove old"})
		})
	})
}

func TestNewerContentEndsTheWaitForSignatures(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		n := unsigned()
		n.slow = true
		w.signatures = n
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a"))
			same(t, "did while nobody answers", writes(w.took()), []string{})
			n.set(func() { n.slow = false })
			w.deliver(w.commit("two", "b"))
			same(t, "did", writes(w.took()), []string{"apply b"})
		})
	})
}

func TestWhoAsksForASyncDoesNotWait(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		n := unsigned("a")
		w.signatures = n
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			if n.hurried != 0 {
				t.Errorf("hurried about %d objects that nobody asked about", n.hurried)
			}
			w.sync(func(s *v1alpha1.Sync) { s.Annotations = map[string]string{v1alpha1.AnnotationSyncNow: "now"} })
			if n.hurried != 1 {
				t.Errorf("hurried about %d objects; want the one that is not applied", n.hurried)
			}
			w.loop.SyncNow("shop", "web")
			w.settle()
			if n.hurried != 2 {
				t.Errorf("hurried about %d objects; want the same again", n.hurried)
			}
		})
	})
}

func TestASyncThatChangesMeanwhileIsNotAppliedAsPlanned(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		n := unsigned()
		n.takes = 3 * time.Second
		w.signatures = n
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a"))
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Suspend = true })
			w.pass(time.Minute)
			same(t, "did once it was suspended", writes(w.took()), []string{})
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Suspend = false })
			w.pass(time.Minute)
			same(t, "did", writes(w.took()), []string{"apply a"})
		})
	})
}

// TestWhatBecomesDueMeanwhileIsLookedAt has the time of another try come while something else is looked at.
func TestWhatBecomesDueMeanwhileIsLookedAt(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		n := unsigned()
		w.signatures = n
		w.fail = map[string]error{"b": errBoom}
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			w.took()
			n.questions()
			n.set(func() { n.takes = time.Minute })
			w.touch("a", func(r *live.Record) { r.Baseline[0]++ })
			w.mend("b")
			w.pass(time.Hour)
			did, asked := writes(w.took()), n.questions()
			if !slices.Contains(did, "apply b") || !slices.Contains(asked, "b") {
				t.Errorf("did %q, having asked about %q; want b looked at and applied", did, asked)
			}
		})
	})
}

func TestOneEventNamesAllThatIsLeft(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		n := unsigned("b", "c")
		n.away = true
		w.signatures = n
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b", "c"))
			n.set(func() { n.away = false })
			w.pass(3 * nextLook)
			heard := slices.DeleteFunc(slices.Clone(w.heard), func(text string) bool { return !strings.Contains(text, "igned") })
			same(t, "events", heard, []string{
				"SignaturesUnknown: Not applied, since it is not known yet whether images are signed: ConfigMap/shop/b, ConfigMap/shop/c.",
				"Unsigned: Not applied, since images are not signed as this cluster demands: ConfigMap/shop/b, ConfigMap/shop/c.",
			})
		})
	})
}

// TestAnEventNamesFew has more objects left, and removed, than a message names, whose names are as long as names may be.
func TestAnEventNamesFew(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		var names []string
		for i := range maxNamed + 3 {
			names = append(names, fmt.Sprint(i, strings.Repeat("x", 252)))
		}
		n := unsigned(names...)
		w.signatures = n
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", append(names, "a")...))
			n.set(func() { clear(n.unsigned) })
			w.pass(nextLook)
			w.deliver(w.commit("two", append(names[maxNamed+1:], "a")...))
			for _, reason := range []string{"Unsigned: ", "Pruned: "} {
				told := slices.DeleteFunc(slices.Clone(w.heard), func(text string) bool { return !strings.HasPrefix(text, reason) })
				if len(told) != 1 || len(told[0]) != len(reason)+maxMessage || !strings.HasSuffix(told[0], "...") {
					t.Errorf("%s%d events: %.2000q; want one of %d bytes", reason, len(told), told, maxMessage)
				}
			}
		})
	})
}

func TestAnEventCountsTheRest(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.signatures = unsigned("a", "b", "c", "d", "e", "f", "g")
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "g", "f", "e", "d", "c", "b", "a"))
			want := "Unsigned: Not applied, since images are not signed as this cluster demands: " +
				"ConfigMap/shop/a, ConfigMap/shop/b, ConfigMap/shop/c, ConfigMap/shop/d, ConfigMap/shop/e and 2 more."
			if !slices.Contains(w.heard, want) {
				t.Errorf("heard %q, want %q", w.heard, want)
			}
		})
	})
}
