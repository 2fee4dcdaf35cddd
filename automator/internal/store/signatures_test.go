package store_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/shared/signature"
)

// signatures are kept by image, replaced by what is newer, and bounded: for an image, and for all.
func signatures(t *testing.T, open func(store.Retention) *store.Store) {
	t.Helper()
	s := open(store.Retention{})
	const repository, digest = "ghcr.io/acme/api", "sha256:aa"
	large := signature.Item{Kind: signature.Bundle, Body: make([]byte, signature.MaxRelayed)}
	for i := range 2 {
		small := signature.Item{
			Kind: signature.SimpleSigning, Where: "tag sha256-aa.sig", Body: fmt.Appendf(nil, "\x00%d", i), Annotations: map[string]string{"a": "b"},
		}
		if err := s.PutSignatures(t.Context(), repository, digest, signature.Material{Items: []signature.Item{small, large}}); err != nil {
			t.Fatal(err)
		}
		want := signature.Material{Items: []signature.Item{small}, Skipped: 1}
		got, found, err := s.Signatures(t.Context(), repository, digest)
		if diff := cmp.Diff(want, got); err != nil || !found || diff != "" {
			t.Errorf("Signatures(...): %v, %v; -want, +got:\n%.500s", found, err, diff)
		}
	}
	for _, other := range [][2]string{{"ghcr.io/acme/web", digest}, {repository, "sha256:bb"}} {
		if _, found, err := s.Signatures(t.Context(), other[0], other[1]); err != nil || found {
			t.Errorf("Signatures(%q): %v, %v; want nothing", other, found, err)
		}
	}
	small := signature.Material{Items: []signature.Item{{Kind: signature.Bundle, Body: []byte("{}")}}}
	const most = 10_000 // two of them, but not three
	for i := range 3 {
		if err := s.PutSignaturesWithin(t.Context(), "ghcr.io/acme/many", fmt.Sprint("sha256:", i), small, most); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		_, found, err := s.Signatures(t.Context(), "ghcr.io/acme/many", fmt.Sprint("sha256:", i))
		if err != nil || found != (i > 0) {
			t.Errorf("signatures of image %d: %v, %v; the oldest of three goes when there is room for two", i, found, err)
		}
	}
}
