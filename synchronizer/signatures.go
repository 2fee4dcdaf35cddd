package synchronizer

import (
	"context"
	"fmt"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/converge"
	"github.com/tandem-cd/tandem/synchronizer/internal/evidence"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/signed"
)

// signatures returns what knows which images are signed; nil when none must be.
func (s *Synchronizer) signatures() (converge.Signatures, error) {
	policy, err := signed.NewPolicy(s.cfg.Images)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	checker := evidence.New(evidence.Deps{
		Policy: policy, Relay: carrier{s}, Dir: filepath.Join(s.cfg.StateDir, "signatures"), Log: s.log, Metrics: s.metrics,
	})
	if policy.Empty() {
		return nil, nil //nolint:nilnil // none must be
	}
	s.evidence = checker
	return checker, nil
}

// carrier breaks the circle between the loop, which has signatures asked for, and the relay, which hands over to it what arrives.
type carrier struct{ *Synchronizer }

// Signatures asks the automator.
func (b carrier) Signatures(ctx context.Context, image signature.Image, seen []byte) (signature.Material, []byte, error) {
	return b.relay.Signatures(ctx, image, seen)
}

// trier tries applies for previews. One of an object whose images are not signed would fail.
type trier struct {
	*apply.Applier

	signatures converge.Signatures // nil demands nothing
}

// Try finds out what the apply of a step would come to.
func (t trier) Try(ctx context.Context, as apply.Identity, label string, step plan.Step) apply.Trial {
	if t.signatures != nil && step.Desired != nil && step.Desired.Object != nil {
		refusals, _ := t.signatures.Check(ctx, label, []*unstructured.Unstructured{step.Desired.Object})
		if refusals[0] != nil {
			return apply.Trial{Step: step, Err: &apply.Error{Key: step.Key, Class: apply.Refused, Message: refusals[0].Error()}}
		}
	}
	return t.Applier.Try(ctx, as, label, step)
}
