package live_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

var (
	configMapKind = v1alpha1.ObjectKind{Version: "v1", Kind: "ConfigMap", Namespaced: true}
	crdKind       = v1alpha1.ObjectKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
	configMapsAt  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	crdsAt        = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// world is a store that watches one namespace of a real cluster.
type world struct {
	*live.Store
	label     string
	namespace string
	client    dynamic.Interface // of the test, not counted
	news      chan struct{}

	mu       sync.Mutex
	requests []string // of the store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, live.Config{})
}

// newWorldOf has a store with some of its configuration.
func newWorldOf(t *testing.T, store live.Config) *world {
	t.Helper()
	config := kubetest.Config(t)
	client := kubetest.Client(t, config)
	w := &world{client: client, namespace: kubetest.Namespace(t, client)}
	return w.with(t, config, store)
}

// as returns the same namespace with a store that somebody else runs.
func (w *world) as(t *testing.T, config *rest.Config) *world {
	t.Helper()
	return w.with(t, config, live.Config{})
}

func (w *world) with(t *testing.T, config *rest.Config, store live.Config) *world {
	t.Helper()
	w = &world{client: w.client, namespace: w.namespace, label: w.namespace + ".web", news: make(chan struct{}, 1)}
	counted := rest.CopyConfig(config)
	counted.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next, w} })
	discoverer, err := discovery.NewDiscoveryClientForConfig(counted)
	if err != nil {
		t.Fatal(err)
	}
	told := func(string) {
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
	store.Namespaces, store.Changed = []string{w.namespace}, told
	w.Store = live.New(store, kubetest.Client(t, counted), live.NewMapper(discoverer))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return w
}

type counter struct {
	next http.RoundTripper
	of   *world
}

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	verb := r.Method
	if r.URL.Query().Get("watch") != "" {
		verb = "WATCH"
	}
	c.of.mu.Lock()
	c.of.requests = append(c.of.requests, verb+" "+strings.ReplaceAll(r.URL.Path, c.of.namespace, "NS"))
	c.of.mu.Unlock()
	return c.next.RoundTrip(r)
}

func (w *world) asked() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := strings.Join(w.requests, ", ")
	w.requests = nil
	return asked
}

// until waits for news until it is true.
func (w *world) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within a minute; failures: %v", what, w.Failures(w.label))
		case <-w.news:
		}
	}
}

func (w *world) key(name string) object.Key {
	return object.Key{Kind: "ConfigMap", Namespace: w.namespace, Name: name}
}

func (w *world) apply(t *testing.T, manager, name, fields string) *unstructured.Unstructured {
	t.Helper()
	obj := kubetest.Object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: "+name+"}, "+fields+"}")
	if manager == v1alpha1.FieldManager {
		obj.SetLabels(map[string]string{v1alpha1.LabelSync: w.label})
		obj.SetAnnotations(map[string]string{v1alpha1.AnnotationOwner: w.key(name).ID()})
	}
	applied, err := w.client.Resource(configMapsAt).Namespace(w.namespace).Apply(t.Context(), name, obj, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

func (w *world) patch(t *testing.T, name, patch string) {
	t.Helper()
	_, err := w.client.Resource(configMapsAt).Namespace(w.namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	if err != nil {
		t.Fatal(err)
	}
}

// A Sync asks for the same kinds with every pass; what it asks for anew counts all the same.
func TestWhatIsNeededStaysNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kinds := []v1alpha1.ObjectKind{configMapKind}
	w.Need(w.label, kinds)
	w.until(t, "synced", func() bool { return w.Synced(w.label) })
	w.Need(w.label, kinds)
	if !w.Synced(w.label) {
		t.Error("the same kinds again: they are not listed any more")
	}
	w.Need(w.label, nil)
	w.Need(w.label, []v1alpha1.ObjectKind{crdKind})
	if w.Synced(w.label) {
		t.Error("another kind: it is listed before it was looked for")
	}
	w.until(t, "synced again", func() bool { return w.Synced(w.label) })
	if _, ok := w.Get(w.key("nothing")); ok {
		t.Error("an object that nobody made is there")
	}
}

func TestStoreSeesDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.apply(t, v1alpha1.FieldManager, "before", "data: {a: '1'}")
	w.Need(w.label, []v1alpha1.ObjectKind{configMapKind})
	w.until(t, "synced", func() bool { return w.Synced(w.label) })
	want, _ := baseline.Of(before, v1alpha1.FieldManager)
	record, ok := w.Get(w.key("before"))
	if !ok || record.Baseline != want || !record.Owned() || record.Health.State != health.Current {
		t.Fatalf("Get(%s): %+v, want the digest of the response", w.key("before"), record)
	}

	// What was written after the list, first by the answer, then by the watch.
	w.Observe(w.apply(t, v1alpha1.FieldManager, "after", "data: {a: '1'}"))
	if _, ok := w.Get(w.key("after")); !ok {
		t.Fatal("Get(after): not there although it was observed")
	}

	w.patch(t, "before", `{"data":{"b":"2"}}`)
	w.patch(t, "before", `{"data":{"a":"evil"}}`)
	w.until(t, "drift", func() bool { record, _ = w.Get(w.key("before")); return record.Baseline != want })
	if len(record.Writers) == 0 || record.Writers[0] != "kubectl-edit" {
		t.Errorf("Writers: %q, want who did it first", record.Writers)
	}
	w.Observe(w.apply(t, v1alpha1.FieldManager, "before", "data: {a: '1'}"))
	if record, _ = w.Get(w.key("before")); record.Baseline != want {
		t.Error("healed, and the digest is not what it was")
	}

	w.patch(t, "after", `{"metadata":{"labels":null}}`)
	w.until(t, "label lost", func() bool { _, ok := w.Get(w.key("after")); return !ok })
	if err := w.client.Resource(configMapsAt).Namespace(w.namespace).Delete(t.Context(), "before", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until(t, "deleted", func() bool { return len(w.Owned(w.label)) == 0 })
	if failures := w.Failures(w.label); len(failures) > 0 {
		t.Errorf("Failures(...): %v", failures)
	}
}

// Nothing is asked but what discovery and one watch per kind cost, whatever
// happens afterwards.
func TestStoreAsksNothingMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Need(w.label, []v1alpha1.ObjectKind{configMapKind})
	w.until(t, "synced", func() bool { return w.Synced(w.label) })
	const start = "GET /api, GET /apis, WATCH /api/v1/namespaces/NS/configmaps"
	if asked := w.asked(); asked != start {
		t.Errorf("asked to start: %s, want %s", asked, start)
	}
	w.apply(t, v1alpha1.FieldManager, "a", "data: {a: '1'}")
	w.until(t, "seen", func() bool { _, ok := w.Get(w.key("a")); return ok })
	w.patch(t, "a", `{"data":{"a":"2"}}`)
	<-w.news
	if asked := w.asked(); asked != "" {
		t.Errorf("asked afterwards: %s, want nothing", asked)
	}
	if _, err := w.GetOne(t.Context(), schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, types.NamespacedName{Namespace: w.namespace, Name: "a"}); err != nil {
		t.Error(err)
	}
	if asked := w.asked(); asked != "GET /api/v1/namespaces/NS/configmaps/a" {
		t.Errorf("GetOne(...) asked: %s", asked)
	}
}

func TestStoreFollowsNewKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.namespace + ".example.com"
	widgetKind := v1alpha1.ObjectKind{Group: group, Version: "v1", Kind: "Widget", Namespaced: true}
	w.Need(w.label, []v1alpha1.ObjectKind{crdKind, widgetKind})
	w.until(t, "synced without the unknown kind", func() bool { return w.Synced(w.label) })
	if failures := w.Failures(w.label); len(failures) != 1 {
		t.Errorf("Failures(...): %v, want the unknown kind", failures)
	}
	crd := kubetest.Object(t, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: widgets.GROUP, labels: {tandem.dev/sync: LABEL}},
		spec: {group: GROUP, scope: Namespaced, names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList},
		versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`)
	crd.SetName("widgets." + group)
	crd.SetLabels(map[string]string{v1alpha1.LabelSync: w.label})
	if err := unstructured.SetNestedField(crd.Object, group, "spec", "group"); err != nil {
		t.Fatal(err)
	}
	applied, err := w.client.Resource(crdsAt).Apply(t.Context(), crd.GetName(), crd, metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := w.client.Resource(crdsAt).Delete(context.WithoutCancel(t.Context()), crd.GetName(), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	w.Observe(applied)
	if err := w.Established(t.Context(), applied); err != nil {
		t.Fatal(err)
	}
	at := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "widgets"}
	widget := kubetest.Object(t, "{apiVersion: "+group+"/v1, kind: Widget, metadata: {name: a, labels: {tandem.dev/sync: "+w.label+"}}}")
	if _, err := w.client.Resource(at).Namespace(w.namespace).Create(t.Context(), widget, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	key := object.Key{Group: group, Kind: "Widget", Namespace: w.namespace, Name: "a"}
	w.until(t, "widget", func() bool { _, ok := w.Get(key); return ok })
	if failures := w.Failures(w.label); len(failures) != 0 {
		t.Errorf("Failures(...): %v", failures)
	}

	// And kinds that go.
	if err := w.client.Resource(crdsAt).Delete(t.Context(), crd.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	unknown := func() bool {
		failures := w.Failures(w.label)
		return len(failures) == 1 && fault.Is(failures[0], fault.NotFound)
	}
	w.poll(t, "unknown again", unknown)
	if _, ok := w.Get(key); ok || !w.Synced(w.label) {
		t.Errorf("Get(%s) of a kind that is gone: %t", key, ok)
	}
	w.asked()
	<-time.After(3 * time.Second) // longer than between two tries of a watch
	if asked := w.asked(); asked != "" {
		t.Errorf("asked about a kind that is gone: %s", asked)
	}
}
