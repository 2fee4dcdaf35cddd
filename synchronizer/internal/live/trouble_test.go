package live_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// An APIService whose server is gone takes neither discovery nor anybody's
// kinds with it.
func TestMapperWithBrokenAPIService(t *testing.T) {
	t.Parallel()
	config := kubetest.Config(t)
	client := kubetest.Client(t, config)
	group := kubetest.Namespace(t, client) + ".example.com"
	services := client.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"})
	name := "v1." + group
	broken := kubetest.Object(t, fmt.Sprintf(`{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: %s},
		spec: {group: %s, version: v1, groupPriorityMinimum: 100, versionPriority: 10, insecureSkipTLSVerify: true, service: {name: gone, namespace: default}}}`, name, group))
	if _, err := services.Create(t.Context(), broken, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := services.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	kind := schema.GroupVersionKind{Group: group, Version: "v1", Kind: "Widget"}
	for {
		mapper := live.NewMapper(discoverer)
		if _, _, err := mapper.Resource(t.Context(), deployments); err != nil {
			t.Fatalf("Resource(%s) beside a broken group: %v", deployments, err)
		}
		_, _, err := mapper.Resource(t.Context(), kind)
		if err == nil {
			t.Fatalf("Resource(%s): no error", kind)
		}
		if !fault.Is(err, fault.NotFound) { // once the API server has noticed
			if !strings.Contains(err.Error(), "does not answer discovery") {
				t.Errorf("Resource(%s): %v, want that the group does not answer", kind, err)
			}
			return
		}
		<-time.After(20 * time.Millisecond)
	}
}

// A synchronizer that may not watch says so, and goes on once it may.
func TestStoreWithoutRights(t *testing.T) {
	t.Parallel()
	admin := newWorld(t)
	config := kubetest.WithToken(kubetest.Config(t), kubetest.Token(t, admin.client, admin.namespace, "tandem"))
	w := admin.as(t, config)
	w.Need(w.label, []v1alpha1.ObjectKind{configMapKind})
	var failures []error
	for len(failures) == 0 {
		failures = w.Failures(w.label)
		<-time.After(time.Millisecond)
	}
	for _, want := range []string{"watch configmaps in namespace " + w.namespace, "forbidden"} {
		if !strings.Contains(failures[0].Error(), want) {
			t.Errorf("Failures(...): %v, want %q", failures, want)
		}
	}
	if w.Synced(w.label) {
		t.Error("synced although nothing may be watched")
	}
	w.poll(t, "refused", func() bool {
		unlisted := w.Unlisted(w.label)
		return len(unlisted) == 1 && unlisted[0].Refused != nil && unlisted[0].Holds(object.Key{Kind: "ConfigMap", Namespace: w.namespace, Name: "a"})
	})
	rbac := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	for resource, text := range map[string]string{
		"roles": `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: watch}, rules: [{apiGroups: ["*"], resources: ["*"], verbs: [list, watch]}]}`,
		"rolebindings": fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: watch},
			roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: watch}, subjects: [{kind: ServiceAccount, name: tandem, namespace: %s}]}`, w.namespace),
	} {
		if _, err := w.client.Resource(rbac.WithResource(resource)).Namespace(w.namespace).Create(t.Context(), kubetest.Object(t, text), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.until(t, "synced once it may", func() bool { return w.Synced(w.label) })
	if unlisted := w.Unlisted(w.label); len(unlisted) > 0 {
		t.Errorf("Unlisted(...) once it may: %v", unlisted)
	}
	if failures := w.Failures(w.label); len(failures) > 0 {
		t.Errorf("Failures(...) once it may: %v", failures)
	}
}

func TestImagesOfPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Need(w.label, []v1alpha1.ObjectKind{{Group: "apps", Version: "v1", Kind: "Deployment", Namespaced: true}})
	w.until(t, "synced", func() bool { return w.Synced(w.label) })
	// Somebody else's Deployment, whose pods are dropped as they come.
	const text = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2, selector: {matchLabels: {app: web}},
		template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: "registry.example.com/web:1.2.3"}]}}}}`
	at := w.client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(w.namespace)
	if _, err := at.Create(t.Context(), kubetest.Object(t, text), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.poll(t, "pods", func() bool { return len(w.pods(t)) == 2 })
	adopted := kubetest.Object(t, text)
	adopted.SetLabels(map[string]string{v1alpha1.LabelSync: w.label})
	adopted.SetAnnotations(map[string]string{v1alpha1.AnnotationOwner: "Deployment.apps/" + w.namespace + "/web"})
	if _, err := at.Apply(t.Context(), "web", adopted, metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager, Force: true}); err != nil {
		t.Fatal(err)
	}
	w.poll(t, "images of a workload that was adopted", func() bool { images := w.Images(w.label); return len(images) == 1 && images[0].Pods == 2 })
	if image := w.Images(w.label)[0]; image.Repository != "registry.example.com/web" || image.Tag != "1.2.3" || image.Digest != "" || image.Ready != 0 {
		t.Errorf("Images(...) before a node reports: %+v", image)
	}
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	status := []byte(`{"status":{"phase":"Running","containerStatuses":[{"name":"app","image":"x","imageID":"registry.example.com/web@` + digest + `","ready":true,"restartCount":0}]}}`)
	for _, pod := range w.pods(t) {
		pods := w.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(w.namespace)
		if _, err := pods.Patch(t.Context(), pod.GetName(), types.MergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	w.poll(t, "what the node reports", func() bool { images := w.Images(w.label); return len(images) == 1 && images[0].Ready == 2 })
	if image := w.Images(w.label)[0]; image.Digest != digest {
		t.Errorf("Images(...): %+v, want the digest that the node reports", image)
	}
}

func (w *world) pods(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	list, err := w.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(w.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// poll is for what the store tells nobody of.
func (w *world) poll(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within a minute; images: %+v, failures: %v", what, w.Images(w.label), w.Failures(w.label))
		case <-time.After(5 * time.Millisecond):
		}
	}
}
