package live_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/compare"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

func looking(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, live.Config{Looking: true, Digest: compare.Digest})
}

func (w *world) lookAt(t *testing.T, names ...string) {
	t.Helper()
	keys := make([]object.Key, 0, len(names))
	for _, name := range names {
		keys = append(keys, w.key(name))
	}
	w.Look(w.label, []v1alpha1.ObjectKind{configMapKind}, keys)
	w.until(t, "listed", func() bool { return w.Synced(w.label) })
}

// What is looked at needs no label, and nothing else is kept.
func TestLook(t *testing.T) {
	t.Parallel()
	w := looking(t)
	first := w.apply(t, "helm", "a", "data: {a: '1'}")
	w.apply(t, "helm", "unasked", "data: {a: '1'}")
	w.lookAt(t, "a", "later")
	record, ok := w.Get(w.key("a"))
	if !ok || record.Baseline != compare.Digest(first) || record.Health.State != health.Current {
		t.Fatalf("a: %v %+v", ok, record)
	}
	if _, ok := w.Get(w.key("unasked")); ok {
		t.Error("what nobody looks at is kept")
	}
	second := w.apply(t, "helm", "later", "data: {a: '1'}")
	w.until(t, "made", func() bool { _, ok := w.Get(w.key("later")); return ok })
	w.patch(t, "a", `{"data":{"a":"2"}}`)
	w.until(t, "changed", func() bool { record, _ := w.Get(w.key("a")); return record.Baseline != compare.Digest(first) })
	w.remove(t, "a")
	w.until(t, "gone", func() bool { _, ok := w.Get(w.key("a")); return !ok })
	w.Look(w.label, []v1alpha1.ObjectKind{configMapKind}, nil)
	if _, ok := w.Get(w.key("later")); ok {
		t.Errorf("%s is kept although nobody looks at it any more", second.GetName())
	}
}

func (w *world) remove(t *testing.T, name string) {
	t.Helper()
	if err := w.client.Resource(configMapsAt).Namespace(w.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// An object that was there before it was looked at is known by a look at it, unless the watch has told that it went since.
func TestLookAtWhatWasDropped(t *testing.T) {
	t.Parallel()
	w := looking(t)
	was := w.apply(t, "helm", "a", "data: {a: '1'}")
	gone := w.apply(t, "helm", "b", "data: {a: '1'}")
	w.lookAt(t, "mark")
	w.Look(w.label, []v1alpha1.ObjectKind{configMapKind}, []object.Key{w.key("mark"), w.key("a"), w.key("b")})
	w.Observe(was)
	if record, ok := w.Get(w.key("a")); !ok || record.Baseline != compare.Digest(was) {
		t.Errorf("a: %v %+v", ok, record)
	}
	w.remove(t, "b")
	w.apply(t, "helm", "mark", "data: {a: '1'}")
	w.until(t, "the watch has come further", func() bool { _, ok := w.Get(w.key("mark")); return ok })
	w.Observe(gone)
	if _, ok := w.Get(w.key("b")); ok {
		t.Error("b is there although it went")
	}
}

// Two Syncs that look at the same object each judge it by their own rules, whoever came first.
func TestWhoLooksJudgesByItsOwnRules(t *testing.T) {
	t.Parallel()
	w := looking(t)
	cluster, err := health.NewJudge(nil)
	if err != nil {
		t.Fatal(err)
	}
	strict, err := cluster.With([]health.Rule{{Kind: "ConfigMap", Current: "self.data.a == '2'", Message: "'a is ' + self.data.a"}})
	if err != nil {
		t.Fatal(err)
	}
	other := w.label + "-other"
	kinds, keys := []v1alpha1.ObjectKind{configMapKind}, []object.Key{w.key("a")}
	state := func(label string) health.State {
		record, _ := w.Seen(label, w.key("a"))
		return record.Health.State
	}
	w.apply(t, "helm", "a", "data: {a: '1'}")
	w.apply(t, "helm", "unasked", "data: {a: '1'}")
	w.lookAt(t, "a")
	if got := state(w.label); got != health.Current {
		t.Fatalf("by everybody's rules: %v", got)
	}
	w.Judge(other, strict) // before it looks at what is known already
	w.Look(other, kinds, keys)
	w.until(t, "judged by the other's rules", func() bool { return w.Synced(other) && state(other) == health.InProgress })
	if got := state(w.label); got != health.Current {
		t.Errorf("by the rules of one that has none of its own: %v", got)
	}
	w.Judge(w.label, strict) // of what it looks at already
	w.until(t, "judged by its own rules", func() bool { return w.Synced(w.label) && state(w.label) == health.InProgress })
	w.patch(t, "a", `{"data":{"a":"2"}}`)
	w.until(t, "as the rule wants it", func() bool { return state(w.label) == health.Current && state(other) == health.Current })
	w.patch(t, "a", `{"data":{"a":"3"}}`)
	w.until(t, "and no more", func() bool { return state(w.label) == health.InProgress })
	w.Judge(w.label, nil)
	w.until(t, "by everybody's rules again", func() bool { return w.Synced(w.label) && state(w.label) == health.Current })
	if got := state(other); got != health.InProgress {
		t.Errorf("by the other's rules: %v", got)
	}
	if _, ok := w.Seen(w.label, w.key("unasked")); ok {
		t.Error("what nobody looks at is kept")
	}
}
