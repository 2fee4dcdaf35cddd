package compare

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// What is shown in place of a secret value: the second where the state after has another one than the state before.
const (
	Masked        = "(secret)"
	MaskedAnother = "(secret, another value)"
)

// mask replaces what is secret in two states of an object.
func mask(before, after map[string]any) (map[string]any, map[string]any) {
	if isSecret(before) || isSecret(after) {
		return each(before, after, maskSecret)
	}
	return each(before, after, below("metadata", below("annotations", maskCopy)))
}

// isSecret reports whether an object's values are secrets, or may be, because it does not say what it is.
func isSecret(object map[string]any) bool {
	if object == nil {
		return false
	}
	kind, _ := object["kind"].(string)
	version, _ := object["apiVersion"].(string)
	return kind == "" || version == "" || kind == secretKind || holdsSecret(object)
}

const secretKind = "Secret"

// holdsSecret reports whether a Secret is written out somewhere in a value, as in a template.
func holdsSecret(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		if value["kind"] == secretKind && (value["data"] != nil || value["stringData"] != nil) {
			return true
		}
		for _, inner := range value {
			if holdsSecret(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, holdsSecret)
	}
	return false
}

// below masks what is in one field, and nothing else.
func below(field string, with masker) masker {
	return func(key string, before, after any) (any, any) {
		if key != field {
			return before, after
		}
		return within(before, after, with)
	}
}

// maskCopy masks an annotation that holds a copy of its object.
func maskCopy(name string, before, after any) (any, any) {
	if isLastApplied(name) {
		return hide(before, after)
	}
	return before, after
}

// isLastApplied reports whether an annotation holds a copy of its object, as kubectl and tools after its example keep one.
func isLastApplied(name string) bool {
	return strings.Contains(name, "last-applied") || strings.HasSuffix(name, "/applied")
}

// maskSecret masks a field of a Secret. The names of what it holds are shown.
func maskSecret(key string, before, after any) (any, any) {
	switch key {
	case "apiVersion", "kind", "type":
		if isText(before) && isText(after) {
			return before, after
		}
	case "immutable":
		if isTruth(before) && isTruth(after) {
			return before, after
		}
	case "metadata":
		return within(before, after, maskMetadata)
	case "data", "stringData":
		return within(before, after, func(_ string, b, a any) (any, any) { return hide(b, a) })
	}
	return hide(before, after)
}

// maskMetadata masks a field of a Secret's metadata. An annotation may be a copy of the Secret, by whatever tool.
func maskMetadata(key string, before, after any) (any, any) {
	switch key {
	case "name", "namespace", "labels", "finalizers", "ownerReferences":
		return before, after
	case "annotations":
		return within(before, after, func(name string, b, a any) (any, any) {
			if strings.HasPrefix(name, v1alpha1.Group+"/") {
				return b, a
			}
			return hide(b, a)
		})
	}
	return hide(before, after)
}

type masker func(key string, before, after any) (any, any)

// within masks the fields of two maps, and hides what is none.
func within(before, after any, with masker) (any, any) {
	b, okBefore := before.(map[string]any)
	a, okAfter := after.(map[string]any)
	if before != nil && !okBefore || after != nil && !okAfter {
		return hide(before, after)
	}
	b, a = each(b, a, with)
	return untyped(b), untyped(a)
}

// untyped keeps "there is none" apart from an empty map.
func untyped(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

// each masks the fields of two maps, of which either may be nil.
func each(before, after map[string]any, with masker) (map[string]any, map[string]any) {
	keys := maps.Clone(after)
	if keys == nil {
		keys = map[string]any{}
	}
	maps.Copy(keys, before)
	b, a := maps.Clone(before), maps.Clone(after)
	for key := range keys {
		_, inBefore := before[key]
		_, inAfter := after[key]
		old, now := with(key, before[key], after[key])
		if inBefore {
			b[key] = old
		}
		if inAfter {
			a[key] = now
		}
	}
	return b, a
}

func hide(before, after any) (any, any) {
	if before == nil || after == nil || reflect.DeepEqual(before, after) {
		return masked(before, Masked), masked(after, Masked)
	}
	return Masked, MaskedAnother
}

func masked(value any, as string) any {
	if value == nil {
		return nil
	}
	return as
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok || v == nil
}

func isTruth(v any) bool {
	_, ok := v.(bool)
	return ok || v == nil
}
