package apply_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"), // idle connections outlive the test that made them
	)
}

// world is a namespace of a real cluster, an applier, and a Sync "web" in that
// namespace, whose service account may write the usual kinds there.
type world struct {
	*apply.Applier
	namespace string
	label     string
	who       apply.Identity
	client    dynamic.Interface // an administrator's, not counted
	mapper    *live.Mapper
	store     *live.Store
	config    *rest.Config // counted

	mu       sync.Mutex
	requests map[string]int
	gone     map[string]bool // labels of Syncs that do not exist
}

func newWorld(t testing.TB) *world {
	t.Helper()
	config := kubetest.Config(t)
	w := &world{client: kubetest.Client(t, config), requests: map[string]int{}, gone: map[string]bool{}}
	w.namespace = kubetest.Namespace(t, w.client)
	w.label = v1alpha1.Label(w.namespace, "web")
	w.who = apply.Identity{Namespace: w.namespace, ServiceAccount: "tandem"}
	w.admin(t, fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: writer, namespace: %s},
		rules: [{apiGroups: ["", apps, batch, networking.k8s.io], resources: ["*"], verbs: ["*"]},
			{apiGroups: [rbac.authorization.k8s.io], resources: ["*"], verbs: [create, get, patch, delete]}]}`, w.namespace))
	w.bind(t, "RoleBinding", w.namespace, "Role", "writer")
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w.mapper = live.NewMapper(discoverer)
	w.store = live.New(live.Config{Namespaces: []string{w.namespace}}, w.client, w.mapper)
	w.config = rest.CopyConfig(config)
	w.config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next, w} })
	w.Applier = w.applier(t, w.config)
	return w
}

func (w *world) applier(t testing.TB, config *rest.Config) *apply.Applier {
	t.Helper()
	applier, err := apply.New(apply.Config{}, config, apply.Deps{
		Kinds: w.mapper, Established: w.store.Established,
		SyncExists: func(label string) bool { return !w.gone[label] },
	})
	if err != nil {
		t.Fatal(err)
	}
	return applier
}

// watch runs the store with the kinds that a Sync needs.
func (w *world) watch(t testing.TB, kinds ...v1alpha1.ObjectKind) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.store.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	w.store.Need(w.label, kinds)
}

// bind gives the Sync's service account a role; namespace is empty for a
// ClusterRoleBinding, which ends with the test.
func (w *world) bind(t testing.TB, kind, namespace, roleKind, role string) {
	t.Helper()
	w.admin(t, fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: %s, metadata: {name: %s-%s, namespace: "%s"},
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %s, name: "%s"},
		subjects: [{kind: ServiceAccount, name: tandem, namespace: %s}]}`, kind, w.namespace, strings.ReplaceAll(role, ":", "-"), namespace, roleKind, role, w.namespace))
	// The API server learns of it a moment later.
	reviews := w.client.Resource(schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"})
	review := kubetest.Object(t, fmt.Sprintf(`{apiVersion: authorization.k8s.io/v1, kind: SubjectAccessReview, spec: {user: "%s",
		resourceAttributes: {verb: patch, resource: configmaps, namespace: "%s"}}}`, w.who.User(), namespace))
	for allowed := false; !allowed; {
		answer, err := reviews.Create(t.Context(), review, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		allowed, _, _ = unstructured.NestedBool(answer.Object, "status", "allowed")
	}
}

// admin applies an object as an administrator, who is nobody's Sync.
func (w *world) admin(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	obj := kubetest.Object(t, text)
	if obj.GetNamespace() == "" {
		unstructured.RemoveNestedField(obj.Object, "metadata", "namespace")
	}
	at := w.at(t, obj)
	applied, err := at.Apply(t.Context(), obj.GetName(), obj, metav1.ApplyOptions{FieldManager: "administrator", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	w.deleteLater(t, applied)
	return applied
}

// deleteLater removes a cluster-scoped object after the test; a namespace takes
// its objects with it.
func (w *world) deleteLater(t testing.TB, obj *unstructured.Unstructured) {
	t.Helper()
	if obj == nil || obj.GetNamespace() != "" {
		return
	}
	at := w.at(t, obj)
	t.Cleanup(func() {
		err := at.Delete(context.WithoutCancel(t.Context()), obj.GetName(), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

func (w *world) at(t testing.TB, obj *unstructured.Unstructured) dynamic.ResourceInterface {
	t.Helper()
	kind := obj.GroupVersionKind()
	if kind.Group == "rbac.authorization.k8s.io" { // before there is a mapper
		return w.client.Resource(kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")).Namespace(obj.GetNamespace())
	}
	resource, _, err := w.mapper.Resource(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return w.client.Resource(resource).Namespace(obj.GetNamespace())
}

func (w *world) get(t testing.TB, kind schema.GroupVersionKind, name string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(kind)
	obj.SetNamespace(w.namespace)
	found, err := w.at(t, obj).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// desired is an object of Git. Unless it says another namespace it is in the
// world's, or in none when the namespace is "-".
func (w *world) desired(t testing.TB, text string) *render.Desired {
	t.Helper()
	obj := kubetest.Object(t, text)
	kind := obj.GroupVersionKind()
	key := object.Key{Group: kind.Group, Kind: kind.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
	switch key.Namespace {
	case "":
		key.Namespace = w.namespace
	case "-":
		key.Namespace = ""
	}
	d := &render.Desired{Key: key, GVK: kind, Object: obj}
	if kind.Kind == "CustomResourceDefinition" {
		group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
		defined, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
		d.Defines = &render.Definition{GroupKind: schema.GroupKind{Group: group, Kind: defined}}
	}
	return d
}

func (w *world) step(t testing.TB, text string) plan.Step {
	t.Helper()
	d := w.desired(t, text)
	return plan.Step{Action: plan.Apply, Key: d.Key, Desired: d, Reason: plan.New}
}

func (w *world) configMap(t testing.TB, name, value string) plan.Step {
	t.Helper()
	return w.step(t, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}, data: {a: "%s"}}`, name, value))
}

// run takes steps as the world's Sync and returns the results in the order of
// the steps.
func (w *world) run(t testing.TB, steps ...plan.Step) []apply.Result {
	t.Helper()
	return w.runAs(t, w.Applier, w.label, steps...)
}

func (w *world) runAs(t testing.TB, applier *apply.Applier, label string, steps ...plan.Step) []apply.Result {
	t.Helper()
	var mu sync.Mutex
	results := make([]apply.Result, len(steps))
	err := applier.Run(t.Context(), w.who, label, steps, func(r apply.Result) {
		mu.Lock()
		defer mu.Unlock()
		results[slices.IndexFunc(steps, func(s plan.Step) bool { return s.Key == r.Step.Key })] = r
		if r.Object != nil {
			w.store.Observe(r.Object)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

type counter struct {
	next http.RoundTripper
	of   *world
}

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.of.mu.Lock()
	c.of.requests[r.Method]++
	c.of.mu.Unlock()
	return c.next.RoundTrip(r)
}

// asked counts the applier's requests by method since the last call.
func (w *world) asked() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer clear(w.requests)
	return strings.Trim(fmt.Sprint(w.requests), "map[]")
}
