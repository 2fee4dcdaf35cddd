// Package compare says in which fields two states of an object differ, and shows the difference as YAML, without the values of
// secrets.
//
// Pure. What the API server keeps itself (status, managed fields, versions and times) and our own marks are not compared.
// Everything that is returned is bounded.
//
// Masking fails closed. Of a Secret only what cannot hold a value is shown; an object that does not say what it is counts as
// one; and what kubectl and its like keep as the last applied state is never shown, whatever kind they are on. A mask tells
// whether the two values are the same, and nothing else about them.
package compare

import (
	"maps"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// Field is a field that differs.
type Field struct {
	// Path is where it is, such as spec.containers[name=web].image.
	Path string
	// Before and After are the values as JSON, clipped; empty where there is none.
	Before, After string
}

// Difference is in what two states of an object differ.
type Difference struct {
	// Fields are at most MaxFields, ordered by path as the object is walked; Omitted is how many more there are.
	Fields  []Field
	Omitted int
	// Diff is both states as YAML in the unified format, at most MaxDiff bytes and a line that says so; empty when nothing differs.
	Diff string
}

// Same reports whether nothing differs.
func (d Difference) Same() bool { return len(d.Fields) == 0 }

// Objects compares two states of an object, which are only read; nil stands for there being none.
func Objects(before, after map[string]any) Difference {
	before, after = mask(Normal(before), Normal(after))
	var w walk
	if before != nil && after != nil {
		w.maps("", before, after)
	}
	return Difference{Fields: w.fields, Omitted: w.omitted, Diff: unified(before, after)}
}

// kept are the fields of metadata that the API server writes itself.
func kept() []string {
	return []string{
		"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
	}
}

// Normal returns what is compared of an object, which is only read.
func Normal(object map[string]any) map[string]any {
	if object == nil {
		return nil
	}
	out := maps.Clone(object)
	delete(out, "status")
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		return out
	}
	metadata = maps.Clone(metadata)
	for _, field := range kept() {
		delete(metadata, field)
	}
	drop(metadata, "labels", v1alpha1.LabelSync)
	drop(metadata, "annotations", v1alpha1.AnnotationOwner)
	out["metadata"] = metadata
	return out
}

// drop takes a key out of a map in metadata, and the map with its last one.
func drop(metadata map[string]any, field, key string) {
	texts, ok := metadata[field].(map[string]any)
	if !ok {
		return
	}
	if _, there := texts[key]; !there {
		return
	}
	texts = maps.Clone(texts)
	delete(texts, key)
	metadata[field] = texts
	if len(texts) == 0 {
		delete(metadata, field)
	}
}

// Narrow returns a value with only those fields that another names too, for comparing with what Git says where nobody knows what
// the API server would add to it. Items of lists stay.
func Narrow(value, named any) any {
	switch named := named.(type) {
	case map[string]any:
		fields, ok := value.(map[string]any)
		if !ok {
			return value
		}
		out := map[string]any{}
		for key, inner := range named {
			if field, there := fields[key]; there {
				out[key] = Narrow(field, inner)
			}
		}
		return out
	case []any:
		items, ok := value.([]any)
		if !ok {
			return value
		}
		out := make([]any, 0, len(items))
		for _, pair := range pairs(items, named) {
			switch {
			case pair.hasBefore && pair.hasAfter:
				out = append(out, Narrow(pair.before, pair.after))
			case pair.hasBefore:
				out = append(out, pair.before)
			}
		}
		return out
	default:
		return value
	}
}
