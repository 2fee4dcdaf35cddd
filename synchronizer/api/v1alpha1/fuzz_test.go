package v1alpha1

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A Sync comes from an API server that others write to: what can be read can be written again as it was.
func FuzzFromUnstructured(f *testing.F) {
	f.Add(`{"metadata":{"name":"web","namespace":"shop","generation":2},"spec":{"source":{"repository":"deploy","ref":"refs/heads/main"},"path":"env","health":{"deadline":"3m"}}}`)
	f.Add(`{"status":{"state":"Healthy","verified":{"commit":"12","contentID":"34","time":"2026-01-01T00:00:00.000000Z"},"attempts":{"Applied":3},"history":[{"content":"a","attempts":1}],"kinds":[{"version":"v1","kind":"Pod"}],"inventory":"AAAA"}}`)
	f.Add(`{"spec":{"dependsOn":[{"name":"db","readyExpr":"dep.status.state == 'Healthy'"}],"drift":1},"status":{"objects":{"total":-1}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		object := &unstructured.Unstructured{Object: map[string]any{}}
		if json.Unmarshal([]byte(text), &object.Object) != nil || object.Object == nil {
			return
		}
		first, err := FromUnstructured(object)
		if err != nil {
			return
		}
		written, err := first.DeepCopy().ToUnstructured()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		second, err := FromUnstructured(written)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		second.TypeMeta = first.TypeMeta
		if diff := cmp.Diff(first.Spec, second.Spec); diff != "" {
			t.Errorf("spec: -first, +second:\n%s", diff)
		}
		first.Spec.HealthDeadline()
		first.Spec.DriftPolicy()
	})
}
