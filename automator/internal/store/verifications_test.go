package store_test

import (
	"slices"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/store"
)

// verifications are remembered by repository, digest and rules, and no other three.
func verifications(t *testing.T, open func(store.Retention) *store.Store) {
	t.Helper()
	s := open(store.Retention{})
	const repository, digest, rules = "ghcr.io/acme/api", "sha256:aa", "1234"
	for _, by := range [][]string{{"key old"}, {"key release", "a@example.com (https://issuer)"}} {
		if err := s.PutVerified(t.Context(), repository, digest, rules, by); err != nil {
			t.Fatal(err)
		}
		got, found, err := s.Verified(t.Context(), repository, digest, rules)
		if err != nil || !found || !slices.Equal(got, by) {
			t.Errorf("Verified(...): %q, %v, %v; want %q", got, found, err, by)
		}
	}
	for _, other := range [][3]string{{"ghcr.io/acme/web", digest, rules}, {repository, "sha256:bb", rules}, {repository, digest, "5678"}} {
		if by, found, err := s.Verified(t.Context(), other[0], other[1], other[2]); err != nil || found {
			t.Errorf("Verified(%q): %q, %v, %v; want nothing", other, by, found, err)
		}
	}
}
