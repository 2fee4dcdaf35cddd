package converge

import (
	"slices"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// denial says which path of a Sync's tree is among those that were denied; nil for none.
func denial(s *v1alpha1.Sync, denied []string) error {
	tree, err := treeOf(s)
	if err != nil {
		return nil //nolint:nilerr // nothing is followed for it, and its own pass says why
	}
	for _, p := range tree {
		if slices.Contains(denied, p) {
			return fault.New(fault.Unauthorized, "path %q of %s is outside the grant of this cluster; add it to .tandem/clusters.yaml in that repository", p, sourceOf(s))
		}
	}
	return nil
}

func sameError(a, b error) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error()
}
