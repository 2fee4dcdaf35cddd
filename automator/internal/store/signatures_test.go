package store_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	if err := s.PutSignatures(t.Context(), repository, digest, signature.Material{Skipped: 1}); err != nil {
		t.Fatal(err)
	}
	if _, found, err := s.Signatures(t.Context(), repository, digest); err != nil || found {
		t.Errorf("Signatures(...): %v, %v; want nothing, as the registry has", found, err)
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

// usedSignatures outlive those that nobody asks for, which were read from a registry later.
func usedSignatures(t *testing.T, open func(store.Retention) *store.Store) {
	t.Helper()
	s := open(store.Retention{})
	const most, repository = 10_000, "ghcr.io/acme/used" // bytes: two of them, but not three
	small := signature.Material{Items: []signature.Item{{Kind: signature.Bundle, Body: []byte("{}")}}}
	put := func(digest string) {
		t.Helper()
		if err := s.PutSignaturesWithin(t.Context(), repository, digest, small, most); err != nil {
			t.Fatal(err)
		}
	}
	found := func(digest string) bool {
		t.Helper()
		_, found, err := s.Signatures(t.Context(), repository, digest)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	put("sha256:used")
	put("sha256:idle")
	if err := s.AgeSignatures(t.Context(), 48*time.Hour); err != nil {
		t.Fatal(err)
	}
	if !found("sha256:used") {
		t.Fatal("what was put is not there")
	}
	put("sha256:new")
	if used, idle := found("sha256:used"), found("sha256:idle"); !used || idle {
		t.Errorf("used: %v, idle: %v; want what is used alone", used, idle)
	}
}

func TestSignaturesAreBoundedWithoutReadingThem(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "automator.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	plan, err := s.PlanToForgetSignatures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(plan) {
		if strings.Contains(line, "SCAN signatures") && !strings.Contains(line, "COVERING INDEX") {
			t.Errorf("reads the table: %s", line)
		}
	}
	if !strings.Contains(plan, "COVERING INDEX signatures_by_time") {
		t.Errorf("the index is not used:\n%s", plan)
	}
}
