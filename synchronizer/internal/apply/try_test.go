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
	"github.com/tandem-cd/tandem/synchronizer/internal/compare"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

var (
	deploymentKind = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	secretKind     = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
)

// deployment is a Deployment's text; more are fields of its spec. It is paused, so that its controller changes its status only.
func deployment(image, more string) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {paused: true, %s selector: {matchLabels: {app: a}},
		template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: "%s"}]}}}}`, more, image)
}

// by makes or changes an object as somebody else does.
func (w *world) by(t *testing.T, manager, text string, operation metav1.ManagedFieldsOperationType) {
	t.Helper()
	obj := kubetest.Object(t, text)
	obj.SetNamespace(w.namespace)
	var err error
	if operation == metav1.ManagedFieldsOperationApply {
		_, err = w.at(t, obj).Apply(t.Context(), obj.GetName(), obj, metav1.ApplyOptions{FieldManager: manager, Force: true})
	} else {
		_, err = w.at(t, obj).Create(t.Context(), obj, metav1.CreateOptions{FieldManager: manager})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) edit(t *testing.T, kind schema.GroupVersionKind, patch string) {
	t.Helper()
	obj := w.get(t, kind, "a")
	by := metav1.PatchOptions{FieldManager: "kubectl-edit"}
	if _, err := w.at(t, obj).Patch(t.Context(), "a", types.MergePatchType, []byte(patch), by); err != nil {
		t.Fatal(err)
	}
}

// TestTryTellsWhatRunDoes holds a trial to what the apply of the same step then makes of the object.
func TestTryTellsWhatRunDoes(t *testing.T) {
	t.Parallel()
	const configMap = `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: ours}}`
	cases := map[string]struct {
		reason string
		before func(t *testing.T, w *world)
		kind   schema.GroupVersionKind
		text   string
		policy func(*plan.Step)
		adopts bool
	}{
		"New": {reason: "Defaults of the API server count.", kind: deploymentKind, text: deployment("a:1", "")},
		"Changed": {
			reason: "What others added stays.", kind: deploymentKind, text: deployment("a:2", ""),
			before: func(t *testing.T, w *world) {
				w.own(t, deployment("a:1", "replicas: 2,"))
				w.edit(t, deploymentKind, `{"metadata":{"annotations":{"team":"shop"}}}`)
			},
		},
		"Kubectl": {
			reason: "Leftovers of the manifest go, and what a person added stays.", kind: configMapKind, text: configMap, adopts: true,
			before: func(t *testing.T, w *world) {
				w.written(t, "kubectl-client-side-apply", "kubectl.kubernetes.io/last-applied-configuration: '{}'")
			},
		},
		"Flux": {
			reason: "A field that goes gets its default.", kind: deploymentKind, text: deployment("a:1", ""), adopts: true,
			before: func(t *testing.T, w *world) {
				w.by(t, "kustomize-controller", strings.Replace(deployment("a:1", "replicas: 3,"), `image: "a:1"`,
					`image: "a:1", env: [{name: LEFT, value: over}]`, 1), metav1.ManagedFieldsOperationApply)
			},
		},
		"Controller": {
			reason: "What a controller wrote is its own.", kind: configMapKind, text: configMap, adopts: true,
			before: func(t *testing.T, w *world) { w.written(t, "some-operator", "") },
		},
		"Replace": {
			reason: "Nothing stays but what Git says.", kind: configMapKind, text: configMap, adopts: true,
			before: func(t *testing.T, w *world) { w.written(t, "some-operator", "") },
			policy: func(s *plan.Step) { s.Desired.Policy.Apply = v1alpha1.ApplyReplace },
		},
		"ReplaceAgain": {
			reason: "Also what came later.", kind: configMapKind, text: configMap,
			before: func(t *testing.T, w *world) {
				w.own(t, configMap)
				w.edit(t, configMapKind, `{"data":{"person":"theirs"}}`)
			},
			policy: func(s *plan.Step) { s.Desired.Policy.Apply, s.Exists = v1alpha1.ApplyReplace, true },
		},
		"NowIgnored": {
			reason: "A field that is left to others from now on keeps its value.", kind: deploymentKind, text: deployment("a:2", "replicas: 1,"),
			before: func(t *testing.T, w *world) { w.own(t, deployment("a:1", "replicas: 3,")) },
			policy: func(s *plan.Step) {
				s.Desired.Policy.Ignore, s.Exists = [][]string{{"spec", "replicas"}, {"spec", "no", "such"}}, true
			},
		},
		"SecretText": {
			reason: "What is written as text is data.", kind: secretKind, adopts: true,
			text: `{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: ours}}`,
			before: func(t *testing.T, w *world) {
				w.by(t, "kubectl-client-side-apply", `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {a: dGhlaXJz, left: b3Zlcg==}}`, metav1.ManagedFieldsOperationUpdate)
			},
		},
		"CreateOnly": {
			reason: "It is left as it is.", kind: configMapKind, text: configMap,
			before: func(t *testing.T, w *world) { w.written(t, "some-operator", "") },
			policy: func(s *plan.Step) { s.Desired.Policy.Apply = v1alpha1.ApplyCreateOnly },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tc.before != nil {
				tc.before(t, w)
			}
			step := w.step(t, tc.text)
			if tc.policy != nil {
				tc.policy(&step)
			}
			before := w.digests(t, tc.kind)
			trial := w.Try(t.Context(), w.who, w.label, step)
			if trial.Err != nil || trial.After == nil {
				t.Fatalf("%s: %v", tc.reason, trial.Err)
			}
			if diff := cmp.Diff(before, w.digests(t, tc.kind)); diff != "" {
				t.Errorf("the trial wrote something: %s", diff)
			}
			if trial.Adopts != tc.adopts {
				t.Errorf("adopts: %v, want %v", trial.Adopts, tc.adopts)
			}
			if err := w.run(t, step)[0].Err; err != nil {
				t.Fatal(err)
			}
			is := w.get(t, tc.kind, "a")
			if d := compare.Objects(trial.After.Object, is.Object); !d.Same() {
				t.Errorf("%s: what was told (cluster), what is (git):\n%s", tc.reason, d.Diff)
			}
		})
	}
}

// own has the world's Sync apply an object.
func (w *world) own(t *testing.T, text string) {
	t.Helper()
	if err := w.run(t, w.step(t, text))[0].Err; err != nil {
		t.Fatal(err)
	}
}

// digests are over everything but the status of all objects of a kind in the world's namespace.
func (w *world) digests(t *testing.T, kind schema.GroupVersionKind) map[string][32]byte {
	t.Helper()
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(kind)
	obj.SetNamespace(w.namespace)
	list, err := w.at(t, obj).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string][32]byte{}
	for i := range list.Items {
		digests[list.Items[i].GetName()] = compare.Digest(&list.Items[i])
	}
	return digests
}

func TestTryRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if trial := w.Try(t.Context(), w.who, w.label, w.configMap(t, "a", "1")); trial.Err != nil || trial.Before != nil {
		t.Fatalf("%v, before %v", trial.Err, trial.Before)
	}
	if asked := w.asked(); asked != "GET:1 PATCH:1" {
		t.Errorf("asked %s, want a look and a dry run", asked)
	}
}

func TestTryRecreates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := `{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: "%s"}]}}}}`
	w.own(t, fmt.Sprintf(job, "a:1"))
	step := w.step(t, fmt.Sprintf(job, "a:2"))
	if refused := w.Try(t.Context(), w.who, w.label, step); apply.ClassOf(refused.Err) != apply.Invalid || refused.Recreates {
		t.Errorf("without the policy: %v", refused.Err)
	}
	step.Desired.Policy.Apply = v1alpha1.ApplyRecreate
	if again := w.Try(t.Context(), w.who, w.label, step); again.Err != nil || !again.Recreates || again.Before == nil || again.After != nil {
		t.Errorf("with the policy: %+v", again)
	}
}

func TestTryFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.admin(t, `{apiVersion: v1, kind: ResourceQuota, metadata: {name: one, namespace: `+w.namespace+`}, spec: {hard: {count/services: "0"}}}`)
	other := w.configMap(t, "other", "1")
	if err := w.runAs(t, w.Applier, v1alpha1.Label(w.namespace, "another"), other)[0].Err; err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		text  string
		class apply.Class
		says  string
	}{
		"Denied": {
			`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: a}, spec: {minAvailable: 1}}`,
			apply.Denied, `{apiGroups: ["policy"], resources: ["poddisruptionbudgets"], verbs: ["create", "get", "patch"]}`,
		},
		"Admission":    {`{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}`, apply.Refused, "exceeded quota: one"},
		"UnknownField": {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dta: {}}`, apply.Invalid, ".dta: field not declared"},
		"UnknownKind":  {`{apiVersion: apps/v1, kind: Deploymnet, metadata: {name: a}}`, apply.UnknownKind, "did you mean Deployment?"},
		"Owned":        {`{apiVersion: v1, kind: ConfigMap, metadata: {name: other}, data: {a: "2"}}`, apply.Owned, "another"},
		"Secret":       {`{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {password: not base64}}`, apply.Invalid, "not Base64"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trial := w.Try(t.Context(), w.who, w.label, w.step(t, tc.text))
			if apply.ClassOf(trial.Err) != tc.class || !strings.Contains(trial.Err.Error(), tc.says) || trial.After != nil {
				t.Errorf("%s %v, want %s with %q", apply.ClassOf(trial.Err), trial.Err, tc.class, tc.says)
			}
			if trial.Err != nil && strings.Contains(trial.Err.Error(), "not base64") {
				t.Errorf("repeats a secret: %v", trial.Err)
			}
		})
	}
}
