package apply_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

var configMapKind = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}

func TestApplyNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	step := w.step(t, `{apiVersion: v1, kind: ConfigMap, data: {a: "1"}, metadata: {name: a, labels: {app: web}, annotations: {note: x},
		uid: someone-elses, resourceVersion: "77", creationTimestamp: null, generation: 4, managedFields: []}}`)
	result := w.run(t, step)[0]
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	if asked := w.asked(); asked != "PATCH:1" {
		t.Errorf("a new object: asked %s, want one request", asked)
	}
	live := w.get(t, configMapKind, "a")
	if live.GetLabels()[v1alpha1.LabelSync] != w.label || live.GetLabels()["app"] != "web" ||
		live.GetAnnotations()[v1alpha1.AnnotationOwner] != "ConfigMap/"+w.namespace+"/a" || live.GetAnnotations()["note"] != "x" {
		t.Errorf("labels %v, annotations %v", live.GetLabels(), live.GetAnnotations())
	}
	answered, _ := baseline.Of(result.Object, v1alpha1.FieldManager)
	if read, ours := baseline.Of(live, v1alpha1.FieldManager); read != answered || !ours {
		t.Errorf("the digest of the answer is not that of the object")
	}
	if step.Desired.Object.GetLabels()[v1alpha1.LabelSync] != "" {
		t.Error("the desired object was changed")
	}
}

func TestApplyChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.run(t, w.configMap(t, "a", "1"))[0]
	w.asked()
	again := w.configMap(t, "a", "2")
	again.Exists = true
	second := w.run(t, again)[0]
	if err := errors.Join(first.Err, second.Err); err != nil {
		t.Fatal(err)
	}
	if asked := w.asked(); asked != "PATCH:1" {
		t.Errorf("a changed object: asked %s, want one request", asked)
	}
	if value, _, _ := unstructured.NestedString(w.get(t, configMapKind, "a").Object, "data", "a"); value != "2" {
		t.Errorf("data.a: %q, want 2", value)
	}
}

// Every built-in kind goes through the same code in the API server, as a rule;
// the exceptions are here.
func TestApplyNewKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bind(t, "ClusterRoleBinding", "", "ClusterRole", "cluster-admin")
	pod := `metadata: {labels: {app: a}}, spec: {restartPolicy: RESTART, containers: [{name: a, image: "a:1"}]}`
	always, never := strings.ReplaceAll(pod, "RESTART", "Always"), strings.ReplaceAll(pod, "RESTART", "Never")
	steps := []plan.Step{
		w.step(t, `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, ports: [{port: 80}]}}`),
		w.step(t, `{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: "1"}}`),
		w.step(t, `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}`),
		w.step(t, `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`),
		w.step(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {app: a}}, template: {`+always+`}}}`),
		w.step(t, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {serviceName: a, selector: {matchLabels: {app: a}}, template: {`+always+`}}}`),
		w.step(t, `{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {template: {`+never+`}}}`),
		w.step(t, `{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {`+never+`}}}}}`),
		w.step(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: a}, rules: []}`),
		w.step(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: a}}`),
		w.step(t, `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a}, spec: {defaultBackend: {service: {name: a, port: {number: 80}}}}}`),
		w.step(t, `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: a}}}`),
		w.step(t, `{apiVersion: v1, kind: Namespace, metadata: {name: `+w.namespace+`-b, namespace: "-"}}`),
		w.step(t, `{apiVersion: v1, kind: PersistentVolume, metadata: {name: `+w.namespace+`, namespace: "-"}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a}}}`),
	}
	for _, result := range w.run(t, steps...) {
		if result.Err != nil {
			t.Errorf("new: %v", result.Err)
		}
		w.deleteLater(t, result.Object)
	}
	if asked, want := w.asked(), fmt.Sprint("PATCH:", len(steps)); asked != want {
		t.Errorf("new objects: asked %s, want %s", asked, want)
	}
	for _, result := range w.run(t, steps...) { // they exist, and nobody told us
		if result.Err != nil {
			t.Errorf("again: %v", result.Err)
		}
	}
}

func TestApplyAdopts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS, labels: {tandem.dev/sync: other.web}, annotations: {tandem.dev/owner: ANNOTATION}}, data: {a: theirs, b: theirs}}`
	// A label that was copied from another object makes nobody the owner.
	w.admin(t, strings.NewReplacer("NS", w.namespace, "ANNOTATION", "ConfigMap/"+w.namespace+"/original").Replace(text))
	result := w.run(t, w.configMap(t, "a", "ours"))[0]
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	if asked := w.asked(); asked != "GET:1 PATCH:2" {
		t.Errorf("an object of nobody: asked %s, want a look and a second try", asked)
	}
	data, _, _ := unstructured.NestedStringMap(w.get(t, configMapKind, "a").Object, "data")
	if data["a"] != "ours" || data["b"] != "theirs" {
		t.Errorf("data: %v, want ours where we say something", data)
	}
}

func TestApplyLeavesOtherSyncsObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := v1alpha1.Label(w.namespace, "other")
	if err := w.runAs(t, w.Applier, other, w.configMap(t, "a", "other"))[0].Err; err != nil {
		t.Fatal(err)
	}
	before := w.get(t, configMapKind, "a").GetResourceVersion()
	result := w.run(t, w.configMap(t, "a", "ours"))[0]
	if apply.ClassOf(result.Err) != apply.Owned || !strings.Contains(result.Err.Error(), other) {
		t.Errorf("Run(...): %v, want that %s owns it", result.Err, other)
	}
	if after := w.get(t, configMapKind, "a").GetResourceVersion(); after != before {
		t.Error("the object of another Sync was changed")
	}
	w.gone[other] = true
	if result := w.run(t, w.configMap(t, "a", "ours"))[0]; result.Err != nil {
		t.Errorf("what a Sync left behind: %v", result.Err)
	}
	if label := w.get(t, configMapKind, "a").GetLabels()[v1alpha1.LabelSync]; label != w.label {
		t.Errorf("label %q, want ours", label)
	}
}

// Both know of no such object, write with the same field manager, and only one
// may have it.
func TestApplyRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 30 {
		name := fmt.Sprint("race-", i)
		labels := []string{w.label, v1alpha1.Label(w.namespace, "other")}
		errs := make([]error, len(labels))
		var both sync.WaitGroup
		for i, label := range labels {
			both.Go(func() { errs[i] = w.runAs(t, w.Applier, label, w.configMap(t, name, label))[0].Err })
		}
		both.Wait()
		winner := w.get(t, configMapKind, name).GetLabels()[v1alpha1.LabelSync]
		for i, label := range labels {
			if won := errs[i] == nil; won != (label == winner) || !won && apply.ClassOf(errs[i]) != apply.Owned {
				t.Errorf("%s, which is now %s: result of %s: %v", name, winner, label, errs[i])
			}
		}
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.run(t, w.configMap(t, "a", "1"))[0]
	if made.Err != nil {
		t.Fatal(made.Err)
	}
	w.asked()
	step := plan.Step{Action: plan.Delete, Key: made.Step.Key, GVK: configMapKind, UID: "another"}
	if err := w.run(t, step)[0].Err; err != nil {
		t.Errorf("another object of the name: %v, want it left alone", err)
	}
	w.get(t, configMapKind, "a")
	step.UID = made.Object.GetUID()
	for _, what := range []string{"the object", "what is gone"} {
		if err := w.run(t, step)[0].Err; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if asked := w.asked(); asked != "DELETE:3" {
		t.Errorf("asked %s, want one request each", asked)
	}
	_, err := w.at(t, made.Object).Get(t.Context(), "a", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("get after removal: %v, want not found", err)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	result := w.run(t, w.step(t, `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, clusterIP: None, externalIPs: ["010.0.0.1"], ports: [{port: 80}]}}`))[0]
	deprecated := w.run(t, w.step(t, `{apiVersion: v1, kind: Endpoints, metadata: {name: b}}`))[0]
	if result.Err == nil && len(result.Warnings) == 0 && len(deprecated.Warnings) == 0 {
		t.Errorf("no warning of %v, %v", result, deprecated)
	}
}

func TestContextStopsBetweenObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var steps []plan.Step
	for i := range 5 * apply.DefaultConcurrency {
		steps = append(steps, w.configMap(t, fmt.Sprint("a", i), "1"))
	}
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	results := 0
	err := w.Run(ctx, w.who, w.label, steps, func(r apply.Result) {
		mu.Lock()
		defer mu.Unlock()
		results++
		if r.Err != nil {
			t.Error(r.Err)
		}
		stop()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run(...): %v, want the context's error", err)
	}
	if results == 0 || results > 2*apply.DefaultConcurrency {
		t.Errorf("%d results, want those that were begun", results)
	}
	ours, err := w.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(w.namespace).
		List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelSync})
	if err != nil || len(ours.Items) != results {
		t.Errorf("%d objects and %d results: %v", len(ours.Items), results, err)
	}
}
