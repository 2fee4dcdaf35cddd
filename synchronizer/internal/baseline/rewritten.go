package baseline

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Rewritten returns where the answer to an apply of desired by manager has something else than was sent, in the order of the
// paths: what admission has changed on the way. Found is what the answer has, and Want what was sent. Another way of writing
// the same, such as of a quantity, is no difference, and neither are defaults.
func Rewritten(desired, answer *unstructured.Unstructured, manager string) []Difference {
	ours, _ := entries(answer, manager)
	r := &rewriting{}
	r.set(ours, desired.Object, answer.Object)
	return r.out
}

type rewriting struct {
	path []string
	out  []Difference
}

func (r *rewriting) set(node map[string]any, desired, answer any) {
	sent, got := placeOf(desired, node), placeOf(answer, node)
	for _, element := range slices.Sorted(maps.Keys(node)) {
		want, wanted := sent.resolve(element)
		if !wanted || isEmpty(want) || element == "f:stringData" { // which the API server turns into data
			continue
		}
		found, there := got.resolve(element)
		below, _ := node[element].(map[string]any)
		r.path = append(r.path, element)
		switch {
		case there && len(below) > 0:
			r.set(below, want, found)
		case !there || !within(want, found):
			r.out = append(r.out, Difference{Path: slices.Clone(r.path), Found: found, Want: want, FoundAbsent: !there})
		}
		r.path = r.path[:len(r.path)-1]
	}
}

// within reports whether a value says what another does, and perhaps more.
func within(want, found any) bool {
	switch want := want.(type) {
	case nil:
		return true
	case map[string]any:
		fields, ok := found.(map[string]any)
		for key, value := range want {
			if !isEmpty(value) && !within(value, fields[key]) {
				return false
			}
		}
		return ok || isEmpty(want)
	case []any:
		list, _ := found.([]any)
		return slices.EqualFunc(want, list, within)
	default:
		return equal(want, found) || alike(want, found)
	}
}

// alike reports whether two values are the same number or quantity, written in two ways.
func alike(a, b any) bool {
	one, errOne := resource.ParseQuantity(fmt.Sprint(a))
	other, errOther := resource.ParseQuantity(fmt.Sprint(b))
	return errOne == nil && errOther == nil && one.Cmp(other) == 0
}

func isEmpty(value any) bool { return value == nil || empty(value) }
