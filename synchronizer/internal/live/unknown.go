package live

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/fault"
)

// maxNearby bounds how many names an error suggests.
const maxNearby = 3

// unknown says that the cluster does not serve a kind, and what it does serve
// nearby.
func (m *Mapper) unknown(kind schema.GroupVersionKind) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if cause, ok := m.broken[kind.GroupVersion()]; ok {
		return fmt.Errorf("kind %q: %s does not answer discovery, see the APIService of that name: %w", kind.Kind, kind.GroupVersion(), cause)
	}
	return fault.New(fault.NotFound, "kind %q is unknown in %s: %s", kind.Kind, kind.GroupVersion(), m.nearby(kind))
}

func (m *Mapper) nearby(want schema.GroupVersionKind) string {
	var versions, spellings, groups []string
	known := false
	for have := range m.kinds {
		known = known || have.Group == want.Group
		switch {
		case have.GroupKind() == want.GroupKind():
			versions = append(versions, have.GroupVersion().String())
		case have.GroupVersion() == want.GroupVersion() && similar(have.Kind, want.Kind):
			spellings = append(spellings, have.Kind)
		case have.Kind == want.Kind:
			groups = append(groups, have.GroupVersion().String())
		}
	}
	switch {
	case len(versions) > 0:
		return "this cluster has it in " + some(versions)
	case len(spellings) > 0:
		return "did you mean " + some(spellings) + "?"
	case len(groups) > 0:
		return "this cluster has a kind of that name in " + some(groups)
	case known:
		return fmt.Sprintf("nothing like it is in the group %q", want.Group)
	default:
		return fmt.Sprintf("this cluster has no group %q; is its CustomResourceDefinition missing?", want.Group)
	}
}

func some(names []string) string {
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return strings.Join(names[:min(len(names), maxNearby)], ", ")
}

// similar reports whether two names are at most two typing errors apart.
func similar(a, b string) bool {
	return distance(strings.ToLower(a), strings.ToLower(b)) <= 2
}

// distance is how many letters must be added, dropped or replaced to make b
// of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
