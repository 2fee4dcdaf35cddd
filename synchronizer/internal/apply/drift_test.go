package apply_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/drift"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// until waits for something that another process does; it is bounded.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return ok(), nil })
	if err != nil {
		t.Fatal(err)
	}
}

// patched patches an object as another manager does.
func (w *world) patched(t *testing.T, manager string, live *unstructured.Unstructured, patch string, subresources ...string) {
	t.Helper()
	if _, err := w.at(t, live).Patch(t.Context(), live.GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}, subresources...); err != nil {
		t.Fatal(err)
	}
}

func (w *world) digest(t *testing.T, kind schema.GroupVersionKind, name string) baseline.Digest {
	t.Helper()
	digest, _ := baseline.Of(w.get(t, kind, name), v1alpha1.FieldManager)
	return digest
}

// again is a step that heals what a former one has applied.
func again(step plan.Step, found baseline.Digest) plan.Step {
	step.Reason, step.Exists, step.Explain, step.Found = plan.Drifted, true, true, found
	return step
}

// A rollout and what belongs to it is no drift, and a heal leaves it as it is. Who changed what is of ours is known, also when
// it was an autoscaler.
func TestHealAmidARollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	step := w.step(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2, selector: {matchLabels: {app: web}},
		template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "web:1"}]}}}}`)
	first := w.run(t, step)[0]
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	applied, _ := baseline.Of(first.Object, v1alpha1.FieldManager)
	const restart = `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-11-26T03:00:00Z"}}}}}`
	w.patched(t, "kubectl-rollout", w.get(t, deploymentKind, "web"), restart)
	until(t, func() bool {
		return w.get(t, deploymentKind, "web").GetAnnotations()["deployment.kubernetes.io/revision"] == "2"
	})
	if w.digest(t, deploymentKind, "web") != applied {
		t.Error("a restart by kubectl and the revision of the controller look like drift")
	}
	w.patched(t, "horizontal-pod-autoscaler", w.get(t, deploymentKind, "web"), `{"spec":{"replicas":5}}`, "scale")
	found := w.digest(t, deploymentKind, "web")
	w.asked()
	result := w.run(t, again(step, found))[0]
	if result.Err != nil || found == applied {
		t.Fatalf("%v; drifted: %t", result.Err, found != applied)
	}
	if asked := w.asked(); asked != "GET:1 PATCH:1" {
		t.Errorf("asked %s, want a look and a write", asked)
	}
	got := drift.Changes(step.Key, result.Before, result.Object)
	const says = "changed by horizontal-pod-autoscaler (Update of scale): .spec.replicas is 5 and not 2" // the API server keeps no time for it
	if got.String() != says {
		t.Errorf("got %q, want %q", got, says)
	}
	live := w.get(t, deploymentKind, "web")
	restarted, _, _ := unstructured.NestedString(live.Object, "spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt")
	if healed, _ := baseline.Of(live, v1alpha1.FieldManager); restarted == "" || healed != applied {
		t.Errorf("restarted at %q; healed: %t", restarted, healed == applied)
	}
}

// rewrites has every write of the ConfigMap a end with another value, by a policy of the API server.
func (w *world) rewrites(t *testing.T) {
	t.Helper()
	w.admin(t, fmt.Sprintf(`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicy, metadata: {name: %[1]s-rewrites}, spec: {
		failurePolicy: Fail, reinvocationPolicy: Never,
		matchConstraints: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}},
			resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]},
		matchConditions: [{name: named, expression: "object.metadata.name == 'a'"}],
		mutations: [{patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'replace', path: '/data/a', value: 'by policy'}]"}}]}}`, w.namespace))
	w.admin(t, fmt.Sprintf(`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding, metadata: {name: %[1]s-rewrites},
		spec: {policyName: %[1]s-rewrites}}`, w.namespace))
	live := w.get(t, configMapKind, "a")
	until(t, func() bool { // the API server learns of it a moment later
		would, err := w.at(t, live).Patch(t.Context(), "a", types.MergePatchType, []byte(`{"data":{"a":"x"}}`), metav1.PatchOptions{FieldManager: "probe", DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			t.Fatal(err)
		}
		value, _, _ := unstructured.NestedString(would.Object, "data", "a")
		return value == "by policy"
	})
}

// What admission makes of an object shows as drift when somebody else writes to it. A heal that ends with the same is no heal.
func TestHealOfWhatAdmissionChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	step := w.configMap(t, "a", "from Git")
	first := w.run(t, step)[0]
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	applied, _ := baseline.Of(first.Object, v1alpha1.FieldManager)
	w.rewrites(t)
	w.patched(t, "kubectl-label", w.get(t, configMapKind, "a"), `{"metadata":{"labels":{"team":"shop"}}}`)
	found := w.digest(t, configMapKind, "a")
	if found == applied {
		t.Fatal("the policy changed nothing")
	}
	trial := w.Try(t.Context(), w.who, w.label, step)
	if trial.Err != nil {
		t.Fatal(trial.Err)
	}
	result := w.run(t, again(step, found))[0]
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	for what, answer := range map[string]*unstructured.Unstructured{"trial": trial.After, "heal": result.Object} {
		if changes := drift.Changes(step.Key, result.Before, answer); changes.Moved() {
			t.Errorf("%s: changed %q", what, changes)
		}
		if text := drift.Rewritten(step.Key, step.Desired.Object, answer).String(); text != `.data.a is "by policy" and not "from Git"` {
			t.Errorf("%s: rewritten: %q", what, text)
		}
	}
	second, _ := baseline.Of(result.Object, v1alpha1.FieldManager)
	w.patched(t, "kubectl-label", w.get(t, configMapKind, "a"), `{"metadata":{"labels":{"team":"other"}}}`)
	if w.digest(t, configMapKind, "a") != second {
		t.Error("the same again looks like drift")
	}
}
