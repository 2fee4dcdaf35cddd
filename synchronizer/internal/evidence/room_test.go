package evidence

import (
	"errors"
	"fmt"
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
	refusals, after := c.Check(t.Context(), "shop.web", []*unstructured.Unstructured{{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "spec": map[string]any{"containers": []any{map[string]any{"image": "ghcr.io/acme/web@" + signaturetest.Digest("web")}}},
	}}})
	if !errors.Is(refusals[0], ErrUnknown) || after != again().Min || len(c.known) != maxKnown {
		t.Errorf("Check(...): %v, after %s, with %d known; want to be looked at after %s", refusals, after, len(c.known), again().Min)
	}
}

// TestTurnsAreBounded has a Sync want what another waits for when there is no room for a further turn.
func TestTurnsAreBounded(t *testing.T) {
	t.Parallel()
	c := New(Deps{})
	c.workers = concurrency // of which none comes back
	first := c.begin("a", numbered(0))
	for i := range maxQueued - 1 {
		c.queue.push(want{fmt.Sprint(i), numbered(0)})
	}
	second := c.begin("b", numbered(0))
	if got := c.queue.len(); got != maxQueued || second.done != first.done || !second.since.IsZero() {
		t.Errorf("%d turns, the second since %s; want %d, and the answer of the first, which is not waited for", got, second.since, maxQueued)
	}
	c.begin("b", numbered(1))
	if got := c.queue.len(); got != maxQueued+1 {
		t.Errorf("%d turns; want one for what nobody else wants", got)
	}
}
