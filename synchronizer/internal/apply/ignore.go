package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// leftManager owns the fields that are left to others and that nobody else has written yet. Without an owner the API server
// would remove them with our next apply, or set them to their default: a Deployment would go to one replica.
const leftManager = v1alpha1.IgnoredManager

// leave gives the fields that Git leaves to others out of our hands, with the values that they have. It returns the object as
// it is then.
func (t *target) leave(ctx context.Context, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	entries, left, err := released(live.GetManagedFields(), t.Desired.Policy.Ignore)
	if err != nil {
		return nil, fmt.Errorf("managed fields of %s: %w", t.Key, err)
	}
	if !left {
		return live, nil
	}
	return t.writeManagers(ctx, live, entries)
}

// writeManagers writes who manages the fields of an object, if it is still as it was read.
func (t *target) writeManagers(ctx context.Context, live *unstructured.Unstructured, entries []metav1.ManagedFieldsEntry, more ...patchOperation) (*unstructured.Unstructured, error) {
	return t.patchJSON(ctx, append([]patchOperation{
		{"test", "/metadata/uid", live.GetUID()},
		{"replace", "/metadata/resourceVersion", live.GetResourceVersion()},
		{"replace", "/metadata/managedFields", entries},
	}, more...))
}

func (t *target) patchJSON(ctx context.Context, operations []patchOperation) (*unstructured.Unstructured, error) {
	data, err := json.Marshal(operations)
	if err != nil {
		return nil, err
	}
	return t.client.Patch(ctx, t.Key.Name, types.JSONPatchType, data, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager, DryRun: t.dryRun})
}

// patchOperation is one of a JSON patch (RFC 6902).
type patchOperation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// escapePointer writes a name as part of a JSON pointer (RFC 6901).
func escapePointer(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// released moves fields from our entry to leftManager's. It reports false when we own none of them.
func released(entries []metav1.ManagedFieldsEntry, fields [][]string) ([]metav1.ManagedFieldsEntry, bool, error) {
	at := slices.IndexFunc(entries, isOurs)
	if at < 0 || entries[at].FieldsV1 == nil {
		return entries, false, nil
	}
	ours, ignored := fieldpath.NewSet(), fieldpath.NewSet()
	if err := ours.FromJSON(entries[at].FieldsV1.GetRawReader()); err != nil {
		return nil, false, err
	}
	for _, field := range fields {
		path := make(fieldpath.Path, len(field))
		for i, name := range field {
			path[i] = fieldpath.PathElement{FieldName: &name}
		}
		ignored.Insert(path)
	}
	kept := ours.RecursiveDifference(ignored)
	left := ours.Difference(kept)
	if left.Empty() {
		return entries, false, nil
	}
	out := slices.Clone(entries)
	other := metav1.ManagedFieldsEntry{
		Manager: leftManager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: out[at].APIVersion, FieldsType: "FieldsV1",
	}
	var err error
	if out[at].FieldsV1, err = fieldsOf(kept); err != nil {
		return nil, false, err
	}
	if other.FieldsV1, err = fieldsOf(left); err != nil {
		return nil, false, err
	}
	return append(out, other), true, nil
}

func fieldsOf(set *fieldpath.Set) (*metav1.FieldsV1, error) {
	raw, err := set.ToJSON()
	fields := &metav1.FieldsV1{}
	fields.SetRawBytes(raw)
	return fields, err
}

func isOurs(e metav1.ManagedFieldsEntry) bool {
	return e.Manager == v1alpha1.FieldManager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
}

// without returns an object's fields but those that are left to others. What it shares with them is only read.
func without(fields map[string]any, ignored [][]string) map[string]any {
	for _, field := range ignored {
		fields = dropped(fields, field)
	}
	return fields
}

func dropped(fields map[string]any, field []string) map[string]any {
	value, there := fields[field[0]]
	if !there {
		return fields
	}
	fields = maps.Clone(fields)
	inner, isMap := value.(map[string]any)
	switch {
	case len(field) == 1:
		delete(fields, field[0])
	case isMap:
		fields[field[0]] = dropped(inner, field[1:])
	}
	return fields
}
