package synchronizer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/converge"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
	"github.com/tandem-cd/tandem/synchronizer/internal/trust"
)

// rememberedSignatures is how many signatures are not checked again for every Sync of a source.
const rememberedSignatures = 4096

// verifier feeds chains from the object store to trust.
type verifier struct {
	policy     *trust.Policy
	store      *objects.Store
	signatures *trust.Signatures
}

func newVerifier(policy *trust.Policy, store *objects.Store) *verifier {
	return &verifier{policy: policy, store: store, signatures: trust.NewSignatures(rememberedSignatures)}
}

// Verify decides how far the chain of a Sync may be followed.
func (v *verifier) Verify(ctx context.Context, r converge.VerifyRequest) (converge.Verdict, error) {
	request, refusal, err := v.request(ctx, r)
	if err != nil || refusal != nil {
		return converge.Verdict{Refusal: refusal}, err
	}
	verdict, err := trust.Verify(ctx, *request)
	if err != nil {
		return converge.Verdict{}, err
	}
	out := converge.Verdict{Verified: verdict.Verified}
	if verdict.Refusal != nil {
		out.Refusal = problemOf(verdict.Refusal)
	}
	return out, nil
}

func problemOf(r *trust.Refusal) *v1alpha1.Problem {
	return &v1alpha1.Problem{Kind: v1alpha1.ProblemVerify, Message: r.String(), File: r.File, Line: r.Line, Commit: r.Commit.String()}
}

// request turns what arrived into what trust reads. It refuses by itself only when the last verified commit is gone.
func (v *verifier) request(ctx context.Context, r converge.VerifyRequest) (*trust.Request, *v1alpha1.Problem, error) {
	policy, err := v.policy.Narrow(r.Sync.Spec.Trust.Signers)
	if err != nil {
		return nil, &v1alpha1.Problem{Kind: v1alpha1.ProblemConfig, Message: err.Error()}, nil //nolint:nilerr // it is the Sync's problem
	}
	request := &trust.Request{
		Policy: policy, Paths: r.Paths, Accept: r.Accepted, Ref: r.Sync.Spec.Source.Ref,
		Trees: v.store, Blobs: v.store, Signatures: v.signatures,
	}
	request.Since, _ = gitobject.ParseID(r.Sync.Spec.Trust.Since) // the schema checked it
	ids := r.Chain.Commits
	held := r.Chain.Base
	if r.Sync.Status.Verified == nil && !held.IsZero() { // what the installer trusts is the first step, not verified yet
		ids, held = append([]gitobject.ID{held}, ids...), gitobject.ID{}
	}
	for _, id := range ids {
		step, err := v.step(ctx, id, r.Seen)
		if err != nil {
			return nil, nil, err
		}
		request.Steps = append(request.Steps, step)
	}
	if !r.Tag.IsZero() {
		raw, err := v.store.Tag(ctx, r.Tag)
		if err != nil {
			return nil, nil, err
		}
		request.Tag = trust.Step{ID: r.Tag, Raw: raw, Seen: r.Seen}
	}
	if held.IsZero() {
		return request, nil, nil
	}
	request.Held, err = v.step(ctx, held, time.Time{})
	if fault.Is(err, fault.NotFound) {
		return v.lost(request, held)
	}
	return request, nil, err
}

// lost handles a last verified commit that neither this cluster nor the automator has any more. Consent to the newest
// commit makes it a first contact.
func (v *verifier) lost(request *trust.Request, held gitobject.ID) (*trust.Request, *v1alpha1.Problem, error) {
	newest := request.Steps[len(request.Steps)-1].ID
	if slices.Contains(request.Accept, newest) {
		request.Since = newest
		return request, nil, nil
	}
	return nil, &v1alpha1.Problem{
		Kind: v1alpha1.ProblemVerify, Commit: newest.String(),
		Message: fmt.Sprintf("Commit %s was not followed: history was rewritten, and the last verified commit %s is gone. If that was intended, annotate the Sync: %s=%s.",
			newest, held, v1alpha1.AnnotationAccept, newest),
	}, nil
}

func (v *verifier) step(ctx context.Context, id gitobject.ID, seen time.Time) (trust.Step, error) {
	raw, err := v.store.Commit(ctx, id)
	if err != nil {
		return trust.Step{}, err
	}
	return trust.Step{ID: id, Raw: raw, Seen: seen}, nil
}
