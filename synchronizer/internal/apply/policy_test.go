package apply_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// written makes an object as a tool of another name does, with a field of its own, and has a person add another.
func (w *world) written(t *testing.T, manager string, annotations string) {
	t.Helper()
	obj := kubetest.Object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: `+w.namespace+`, annotations: {`+annotations+`}},
		data: {a: theirs, leftover: theirs}}`)
	if _, err := w.at(t, obj).Create(t.Context(), obj, metav1.CreateOptions{FieldManager: manager}); err != nil {
		t.Fatal(err)
	}
	by := metav1.PatchOptions{FieldManager: "kubectl-edit"}
	if _, err := w.at(t, obj).Patch(t.Context(), "a", types.MergePatchType, []byte(`{"data":{"person":"theirs"}}`), by); err != nil {
		t.Fatal(err)
	}
}

func (w *world) data(t *testing.T) map[string]string {
	t.Helper()
	data, _, _ := unstructured.NestedStringMap(w.get(t, configMapKind, "a").Object, "data")
	return data
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		manager string
		policy  v1alpha1.ApplyPolicy
		want    map[string]string
	}{
		"Kubectl": {
			reason: "What a manifest of before had and Git has not is a leftover; what a person added is not.", manager: "kubectl-client-side-apply",
			want: map[string]string{"a": "ours", "person": "theirs"},
		},
		"Helm": {reason: "The same after Helm.", manager: "helm", want: map[string]string{"a": "ours", "person": "theirs"}},
		"Controller": {
			reason: "What a controller wrote is its own.", manager: "some-operator",
			want: map[string]string{"a": "ours", "leftover": "theirs", "person": "theirs"},
		},
		"Replace": {
			reason: "The policy wants nothing but what Git says.", manager: "some-operator", policy: v1alpha1.ApplyReplace,
			want: map[string]string{"a": "ours"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.written(t, tc.manager, "kubectl.kubernetes.io/last-applied-configuration: '{}'")
			step := w.configMap(t, "a", "ours")
			step.Desired.Policy.Apply = tc.policy
			if err := w.run(t, step)[0].Err; err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, w.data(t)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			_, kubectls := w.get(t, configMapKind, "a").GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"]
			if wantsIt := tc.manager == "some-operator" && tc.policy == ""; kubectls != wantsIt {
				t.Errorf("kubectl's annotation is there: %v, want %v", kubectls, wantsIt)
			}
		})
	}
}

func TestReplaceAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	step := w.configMap(t, "a", "1")
	step.Desired.Policy.Apply = v1alpha1.ApplyReplace
	if err := w.run(t, step)[0].Err; err != nil {
		t.Fatal(err)
	}
	obj := w.get(t, configMapKind, "a")
	by := metav1.PatchOptions{FieldManager: "kubectl-edit"}
	if _, err := w.at(t, obj).Patch(t.Context(), "a", types.MergePatchType, []byte(`{"data":{"person":"theirs"}}`), by); err != nil {
		t.Fatal(err)
	}
	step = w.configMap(t, "a", "2")
	step.Desired.Policy.Apply, step.Exists, step.Reason = v1alpha1.ApplyReplace, true, plan.Changed
	if err := w.run(t, step)[0].Err; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "2"}, w.data(t)); diff != "" {
		t.Errorf("after a change: -want, +got:\n%s", diff)
	}
}

func TestCreateOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.written(t, "some-operator", "")
	step := w.configMap(t, "a", "ours")
	step.Desired.Policy.Apply = v1alpha1.ApplyCreateOnly
	if err := w.run(t, step)[0].Err; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "theirs", "leftover": "theirs", "person": "theirs"}, w.data(t)); diff != "" {
		t.Errorf("what is there already: -want, +got:\n%s", diff)
	}
	other := w.configMap(t, "b", "ours")
	other.Desired.Policy.Apply = v1alpha1.ApplyCreateOnly
	if result := w.run(t, other)[0]; result.Err != nil || result.Object.GetLabels()[v1alpha1.LabelSync] != w.label {
		t.Errorf("what is not there: %v %v, want it made", result.Err, result.Object)
	}
}

func TestRecreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := func(image string, policy v1alpha1.ApplyPolicy) plan.Step {
		step := w.step(t, fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {template: {
			spec: {restartPolicy: Never, containers: [{name: a, image: "%s"}]}}}}`, image))
		step.Desired.Policy.Apply = policy
		return step
	}
	kind := schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
	first := w.run(t, job("a:1", ""))[0]
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	refused := w.run(t, job("a:2", ""))[0]
	if apply.ClassOf(refused.Err) != apply.Invalid || !strings.Contains(refused.Err.Error(), "tandem.dev/apply: recreate") ||
		strings.Contains(refused.Err.Error(), "TerminationMessagePath") {
		t.Errorf("without the policy: %v, want a refusal that names the policy", refused.Err)
	}
	again := w.run(t, job("a:2", v1alpha1.ApplyRecreate))[0]
	if again.Err != nil {
		t.Fatal(again.Err)
	}
	if live := w.get(t, kind, "a"); live.GetUID() == first.Object.GetUID() || live.GetUID() != again.Object.GetUID() {
		t.Errorf("uid %s, before %s, answered %s: want another object", live.GetUID(), first.Object.GetUID(), again.Object.GetUID())
	}
}

func TestIgnore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kind := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	deploy := func(image string, replicas int) plan.Step {
		step := w.step(t, fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: %d, selector: {matchLabels: {app: a}},
			template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: "%s"}]}}}}`, replicas, image))
		step.Desired.Policy.Ignore = [][]string{{"spec", "replicas"}, {"spec", "no", "such"}}
		return step
	}
	replicas := func(what string, want int64) {
		t.Helper()
		if got, _, _ := unstructured.NestedInt64(w.get(t, kind, "a").Object, "spec", "replicas"); got != want {
			t.Errorf("%s: %d replicas, want %d", what, got, want)
		}
	}
	run := func(step plan.Step) {
		t.Helper()
		if err := w.run(t, step)[0].Err; err != nil {
			t.Fatal(err)
		}
	}
	run(deploy("a:1", 3))
	replicas("made", 3)
	changed := deploy("a:2", 5)
	changed.Exists = true
	run(changed)
	replicas("left to others, who have not said anything yet", 3)
	if image := w.image(t, kind); image != "a:2" {
		t.Errorf("image %s, want the rest to be written", image)
	}
	obj := w.get(t, kind, "a")
	by := metav1.PatchOptions{FieldManager: "autoscaler"}
	if _, err := w.at(t, obj).Patch(t.Context(), "a", types.MergePatchType, []byte(`{"spec":{"replicas":7}}`), by); err != nil {
		t.Fatal(err)
	}
	again := deploy("a:3", 5)
	again.Exists = true
	run(again)
	replicas("written by another", 7)
}

func (w *world) image(t *testing.T, kind schema.GroupVersionKind) string {
	t.Helper()
	containers, _, _ := unstructured.NestedSlice(w.get(t, kind, "a").Object, "spec", "template", "spec", "containers")
	if len(containers) != 1 {
		t.Fatalf("containers: %v", containers)
	}
	container, _ := containers[0].(map[string]any)
	image, _ := container["image"].(string)
	return image
}
