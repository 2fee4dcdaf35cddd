package apply

import (
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
)

// leftovers are the paths that a take-over removes from an object: what the managers that are taken from have, and after our
// apply neither we nor anybody else.
func leftovers(live, after *unstructured.Unstructured, takes func(metav1.ManagedFieldsEntry) bool) ([]fieldpath.Path, error) {
	isTaken := func(e metav1.ManagedFieldsEntry) bool { return !isOurs(e) && e.Subresource == "" && takes(e) }
	if !slices.ContainsFunc(live.GetManagedFields(), isTaken) {
		return nil, nil
	}
	theirs, err := union(live.GetManagedFields(), isTaken)
	if err != nil {
		return nil, err
	}
	stays, err := union(after.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool { return !isTaken(e) })
	if err != nil {
		return nil, err
	}
	if after.GetKind() == "Secret" && after.GetAPIVersion() == "v1" {
		stays = stays.Union(asData(stays))
	}
	var paths []fieldpath.Path
	theirs.Difference(stays).Iterate(func(p fieldpath.Path) {
		if within(stays, p).Empty() {
			paths = append(paths, p.Copy())
		}
	})
	if _, there := after.GetAnnotations()[lastApplied]; there {
		paths = append(paths, fieldpath.MakePathOrDie("metadata", "annotations", lastApplied))
	}
	return paths, nil
}

// asData is where the API server puts what a Secret has under stringData.
func asData(set *fieldpath.Set) *fieldpath.Set {
	data := fieldpath.NewSet()
	set.WithPrefix(fieldpath.MakePathOrDie("stringData")[0]).Iterate(func(p fieldpath.Path) {
		data.Insert(append(fieldpath.MakePathOrDie("data"), p...))
	})
	return data
}

// union is what some of the entries have.
func union(entries []metav1.ManagedFieldsEntry, counts func(metav1.ManagedFieldsEntry) bool) (*fieldpath.Set, error) {
	all := fieldpath.NewSet()
	for _, e := range entries {
		if e.FieldsV1 == nil || !counts(e) {
			continue
		}
		set := fieldpath.NewSet()
		if err := set.FromJSON(e.FieldsV1.GetRawReader()); err != nil {
			return nil, fmt.Errorf("managed fields of %s: %w", e.Manager, err)
		}
		all = all.Union(set)
	}
	return all, nil
}

// within is the part of a set below a path.
func within(set *fieldpath.Set, path fieldpath.Path) *fieldpath.Set {
	for _, element := range path {
		set = set.WithPrefix(element)
	}
	return set
}

// cut returns an object without some paths. What it shares with the object is only read.
func cut(object *unstructured.Unstructured, paths []fieldpath.Path) *unstructured.Unstructured {
	fields := any(object.Object)
	for _, path := range paths {
		fields = dropPath(fields, path)
	}
	out, _ := fields.(map[string]any) // a path leads into the object
	return &unstructured.Unstructured{Object: out}
}

// dropPath returns a value without what is at a path.
func dropPath(value any, path fieldpath.Path) any {
	first, last := path[0], len(path) == 1
	switch value := value.(type) {
	case map[string]any:
		if first.FieldName == nil {
			return value
		}
		inner, there := value[*first.FieldName]
		if !there {
			return value
		}
		value = maps.Clone(value)
		if last {
			delete(value, *first.FieldName)
		} else {
			value[*first.FieldName] = dropPath(inner, path[1:])
		}
		return value
	case []any:
		at := slices.IndexFunc(value, func(item any) bool { return baseline.Matches(first, item) })
		if at < 0 {
			return value
		}
		value = slices.Clone(value)
		if last {
			return slices.Delete(value, at, at+1)
		}
		value[at] = dropPath(value[at], path[1:])
		return value
	default:
		return value
	}
}
