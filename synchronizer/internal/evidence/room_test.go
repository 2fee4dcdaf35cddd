package evidence

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/signed"
)

// TestWithoutRoomNobodyHurries has so many images asked about that one more finds no room.
func TestWithoutRoomNobodyHurries(t *testing.T) {
	t.Parallel()
	key := signaturetest.ECDSA(t)
	policy, err := signed.NewPolicy(signed.Config{Signed: []signed.Rule{{Repositories: []string{"*"}, Config: signature.Config{Keys: []string{key.Public}}}}})
	if err != nil {
		t.Fatal(err)
	}
	c := New(Deps{Policy: policy})
	t.Cleanup(c.Stop)
	for i := range maxKnown {
		c.known[numbered(i)] = &known{running: make(chan struct{})}
	}
	refusals, after := c.Check(t.Context(), []*unstructured.Unstructured{{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "spec": map[string]any{"containers": []any{map[string]any{"image": "ghcr.io/acme/web@" + signaturetest.Digest("web")}}},
	}}})
	if !errors.Is(refusals[0], ErrUnknown) || after != again().Min || len(c.known) != maxKnown {
		t.Errorf("Check(...): %v, after %s, with %d known; want to be looked at after %s", refusals, after, len(c.known), again().Min)
	}
}
