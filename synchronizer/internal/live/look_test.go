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
