package apply_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

var crdKind = v1alpha1.ObjectKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// crd defines kind in a group of the world's own; it goes with the test.
func (w *world) crd(t testing.TB, group, kind string) plan.Step {
	t.Helper()
	plural := strings.ToLower(kind) + "s"
	step := w.step(t, fmt.Sprintf(`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: %[3]s.%[1]s, namespace: "-"},
		spec: {group: %[1]s, scope: Namespaced, names: {plural: %[3]s, singular: %[4]s, kind: %[2]s, listKind: %[2]sList},
		versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}]}}`,
		group, kind, plural, strings.ToLower(kind)))
	return step
}

func (w *world) custom(t testing.TB, group, kind, name, spec string) plan.Step {
	t.Helper()
	step := w.step(t, fmt.Sprintf(`{apiVersion: %s/v1, kind: %s, metadata: {name: %s}, spec: %s}`, group, kind, name, spec))
	step.Stage = 1
	return step
}

// A definition and many objects of its kind, in one run, on the first try.
func TestDefinitionBeforeItsObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bind(t, "ClusterRoleBinding", "", "ClusterRole", "cluster-admin")
	w.watch(t, crdKind)
	for round := range 5 {
		group := fmt.Sprintf("r%d.%s.example.com", round, w.namespace)
		steps := []plan.Step{w.crd(t, group, "Widget")}
		for i := range 20 {
			steps = append(steps, w.custom(t, group, "Widget", fmt.Sprint("a", i), "{size: 1}"))
		}
		steps = append(steps, w.custom(t, group, "Widget", "misspelt", "{sise: 1}"))
		w.asked()
		results := w.run(t, steps...)
		if asked, want := w.asked(), fmt.Sprint("PATCH:", len(steps)); asked != want {
			t.Errorf("asked %s, want %s", asked, want)
		}
		w.deleteLater(t, results[0].Object)
		for _, r := range results[:len(results)-1] {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		if err := results[len(results)-1].Err; apply.ClassOf(err) != apply.Invalid || !strings.Contains(fmt.Sprint(err), "spec.sise") {
			t.Errorf("an unknown field of a custom resource: %v, want it refused", err)
		}
		if again := w.run(t, steps[1]); again[0].Err != nil {
			t.Errorf("a custom resource that exists, and nobody told us: %v", again[0].Err)
		}
	}
}

// A failure keeps nothing back but what cannot work without.
func TestContainment(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // whose service account may write in its namespace only
	group := w.namespace + ".example.com"
	inNamespace := w.step(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: beyond}}`)
	inNamespace.Stage = 1
	other := w.configMap(t, "a", "1")
	other.Stage = 1
	results := w.run(t,
		w.step(t, `{apiVersion: v1, kind: Namespace, metadata: {name: beyond, namespace: "-"}}`),
		w.crd(t, group, "Widget"),
		inNamespace, w.custom(t, group, "Widget", "a", "{}"), other,
	)
	want := []apply.Class{apply.Denied, apply.Denied, apply.Blocked, apply.Blocked, ""}
	for i, r := range results {
		if apply.ClassOf(r.Err) != want[i] {
			t.Errorf("%s: %v, want %q", r.Step.Key, r.Err, want[i])
		}
	}
	if asked := w.asked(); asked != "PATCH:3" {
		t.Errorf("asked %s, want nothing about what is blocked", asked)
	}
}

// Without anybody who watches it, a definition is not believed to be served.
func TestDefinitionNotEstablished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bind(t, "ClusterRoleBinding", "", "ClusterRole", "cluster-admin")
	w.watch(t, crdKind)
	group, taken := w.namespace+".example.com", w.namespace+"-taken.example.com"
	first := w.run(t, w.crd(t, taken, "Widget"))[0]
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	w.deleteLater(t, first.Object)
	clash := w.crd(t, taken, "Widget") // the same kind under another plural
	clash.Key.Name, clash.Stage = "widgetz."+taken, 0
	clash.Desired.Object.SetName(clash.Key.Name)
	names := clash.Desired.Object.Object["spec"].(map[string]any)["names"].(map[string]any)
	names["plural"] = "widgetz"
	clash.Desired.Key = clash.Key
	good := w.crd(t, group, "Gadget")
	results := w.run(t, clash, good, w.custom(t, group, "Gadget", "a", "{}"))
	for _, r := range results[:2] {
		w.deleteLater(t, r.Object)
	}
	if results[2].Err != nil {
		t.Errorf("an object of the definition that is well: %v", results[2].Err)
	}
	blocked := w.run(t, clash, w.custom(t, taken, "Widget", "a", "{}"))[1]
	if apply.ClassOf(blocked.Err) != apply.Blocked {
		t.Errorf("an object of the definition that clashes: %v, want blocked", blocked.Err)
	}
}
