package drift_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/synchronizer/internal/drift"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

func parse(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	parsed := &unstructured.Unstructured{}
	if err := parsed.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return parsed
}

// state is an object of which we own one field, and another manager one as well or the same.
func state(t testing.TB, kind, fields, ours, theirs string) *unstructured.Unstructured {
	t.Helper()
	return parse(t, fmt.Sprintf(`{apiVersion: v1, kind: %s, metadata: {name: a, managedFields: [
		{manager: tandem-synchronizer, operation: Apply, time: "2026-11-26T03:00:00Z", fieldsV1: %s},
		{manager: kubectl-edit, operation: Update, time: "2026-11-26T03:07:36Z", fieldsV1: %s}]}, %s}`, kind, ours, theirs, fields))
}

func TestChanges(t *testing.T) {
	t.Parallel()
	const (
		replicas = `{"f:spec": {"f:replicas": {}}}`
		images   = `{"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}`
		args     = `{"f:spec": {"f:args": {}}}`
		data     = `{"f:data": {"f:a": {}}}`
		password = `{"f:data": {"f:DB_PASSWORD": {}}}`
		env      = `{"f:spec": {"f:env": {'k:{"name":"A"}': {"f:value": {}}}}}`
		nothing  = `{}`
		by       = "changed by kubectl-edit (Update, 2026-11-26T03:07:36Z): "
	)
	cases := map[string]struct {
		kind, found, want string // the fields
		ours, theirs      string // in found
		path              string // ours in want
		says              string
		pointer           string
	}{
		"Number":    {"Thing", "spec: {replicas: 5}", "spec: {replicas: 2}", nothing, replicas, replicas, by + ".spec.replicas is 5 and not 2", "/spec/replicas"},
		"Text":      {"Thing", `spec: {containers: [{name: web, image: "evil:1"}]}`, `spec: {containers: [{name: web, image: "web:1"}]}`, nothing, images, images, by + `.spec.containers[name="web"].image is "evil:1" and not "web:1"`, ""},
		"List":      {"Thing", "spec: {args: [--password=x]}", "spec: {args: []}", nothing, args, args, by + ".spec.args differs", "/spec/args"},
		"Lines":     {"Thing", `data: {a: "x\ny"}`, "data: {a: x}", nothing, data, data, by + ".data.a differs", "/data/a"},
		"Long":      {"Thing", "data: {a: " + strings.Repeat("x", 65) + "}", "data: {a: x}", nothing, data, data, by + ".data.a differs", "/data/a"},
		"Secret":    {"Secret", "data: {a: Zm91bmQ=}", "data: {a: d2FudA==}", nothing, data, data, by + ".data.a differs", "/data/a"},
		"Name":      {"Thing", "data: {DB_PASSWORD: hunter2}", "data: {DB_PASSWORD: x}", nothing, password, password, by + ".data.DB_PASSWORD differs", "/data/DB_PASSWORD"},
		"Env":       {"Thing", "spec: {env: [{name: A, value: hunter2}]}", "spec: {env: [{name: A, value: x}]}", nothing, env, env, by + `.spec.env[name="A"].value differs`, ""},
		"Removed":   {"Thing", "spec: {}", "spec: {replicas: 2}", nothing, nothing, replicas, "last written by kubectl-edit (Update, 2026-11-26T03:07:36Z): .spec.replicas is missing", "/spec/replicas"},
		"TakenAsIs": {"Thing", "spec: {replicas: 2}", "spec: {replicas: 2}", nothing, replicas, replicas, by + ".spec.replicas was taken over", "/spec/replicas"},
		"Same":      {"Thing", "spec: {replicas: 2}", "spec: {replicas: 2}", replicas, nothing, replicas, "", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, want := state(t, tc.kind, tc.found, tc.ours, tc.theirs), state(t, tc.kind, tc.want, tc.path, nothing)
			got := drift.Changes(object.Key{Kind: tc.kind, Name: "a"}, found, want)
			if diff := cmp.Diff(tc.says, got.String()); diff != "" {
				t.Errorf("Changes(...): -want, +got:\n%s", diff)
			}
			if got.IsZero() != (tc.says == "") || got.Moved() != (tc.says != "" && name != "TakenAsIs") {
				t.Errorf("zero: %t, moved: %t", got.IsZero(), got.Moved())
			}
			if !got.IsZero() && got.Fields[0].Pointer != tc.pointer {
				t.Errorf("pointer: got %q, want %q", got.Fields[0].Pointer, tc.pointer)
			}
		})
	}
}

// Who did what is grouped by who, and what is said is bounded whatever the object.
func TestChangesByMany(t *testing.T) {
	t.Parallel()
	text := `{apiVersion: v1, kind: Thing, metadata: {name: a, managedFields: [
		{manager: hpa, operation: Update, subresource: scale, time: "2026-11-26T01:00:00Z", fieldsV1: {"f:spec": {"f:a": {}}}},
		{manager: kubectl, operation: Apply, time: "2026-11-26T02:00:00Z", fieldsV1: {"f:spec": {"f:b": {}, "f:c": {}}}}]}, spec: {a: 1, b: 1, c: 1}}`
	want := parse(t, `{apiVersion: v1, kind: Thing, metadata: {name: a, managedFields: [
		{manager: tandem-synchronizer, operation: Apply, fieldsV1: {"f:spec": {"f:a": {}, "f:b": {}, "f:c": {}}}}]}, spec: {a: 2, b: 2, c: 2}}`)
	got := drift.Changes(object.Key{Kind: "Thing", Name: "a"}, parse(t, text), want)
	const says = "changed by hpa (Update of scale, 2026-11-26T01:00:00Z): .spec.a is 1 and not 2; " +
		"changed by kubectl (Apply, 2026-11-26T02:00:00Z): .spec.b is 1 and not 2, .spec.c is 1 and not 2"
	if got.String() != says {
		t.Errorf("got %q", got)
	}
	if diff := cmp.Diff([]string{"hpa by scale", "kubectl"}, got.Managers()); diff != "" {
		t.Errorf("Managers(): -want, +got:\n%s", diff)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	found, want, paths := map[string]any{}, map[string]any{}, map[string]any{}
	for i := range 100 {
		name := fmt.Sprintf("%s%d", strings.Repeat("x", 1000), i)
		found[name], want[name], paths["f:"+name] = "a", "b", map[string]any{}
	}
	thing := func(spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"spec": spec, "metadata": map[string]any{"managedFields": []any{
			map[string]any{"manager": "tandem-synchronizer", "operation": "Apply", "fieldsV1": map[string]any{"f:spec": paths}},
		}}}}
	}
	got := drift.Changes(object.Key{Kind: "Thing", Name: "a"}, thing(found), thing(want))
	if len(got.Fields) != 5 || got.More != 95 || len(got.String()) > 5*(160+32)+16 {
		t.Errorf("%d fields, %d more, %d bytes", len(got.Fields), got.More, len(got.String()))
	}
}

// Nothing that admission or anybody else wrote into a Secret is told.
func TestRewrittenTellsNoSecrets(t *testing.T) {
	t.Parallel()
	const ours = `{"f:data": {"f:a": {}}}`
	desired, answer := state(t, "Secret", "data: {a: d2FudA==}", ours, "{}"), state(t, "Secret", "data: {a: Zm91bmQ=}", ours, "{}")
	got := drift.Rewritten(object.Key{Kind: "Secret", Name: "a"}, desired, answer)
	if got.String() != ".data.a differs" {
		t.Errorf("got %q", got)
	}
}

func FuzzChanges(f *testing.F) {
	f.Add(`{"kind":"A","metadata":{"managedFields":[{"manager":"x","operation":"Update","time":"t","fieldsV1":{"f:a":{}}}]},"a":1}`, "f:a", `k:{"name":"é"}`)
	f.Add(`{"kind":"A"}`, `k:{"a":[1]}`, "i:-1")
	f.Fuzz(func(t *testing.T, text, one, two string) {
		found := &unstructured.Unstructured{}
		if found.UnmarshalJSON([]byte(text)) != nil {
			return
		}
		paths := map[string]any{one: map[string]any{two: map[string]any{}}}
		want := &unstructured.Unstructured{Object: map[string]any{"a": []any{map[string]any{"name": "é"}, "v"}, "metadata": map[string]any{"managedFields": []any{
			map[string]any{"manager": "tandem-synchronizer", "operation": "Apply", "fieldsV1": paths},
		}}}}
		key := object.Key{Kind: "A", Name: "a"}
		_ = drift.Changes(key, found, want).String()
		_ = drift.Changes(key, want, found).String()
		_ = drift.Rewritten(key, found, want).String()
	})
}
