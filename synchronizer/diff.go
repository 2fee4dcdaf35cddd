package synchronizer

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/internal/converge"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
	"github.com/tandem-cd/tandem/synchronizer/internal/preview"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/serve"
	"github.com/tandem-cd/tandem/synchronizer/internal/survey"
	"github.com/tandem-cd/tandem/synchronizer/internal/trust"
)

const (
	// maxDiffs bounds the diffs that are made at a time: each may fetch, and renders a whole tree.
	maxDiffs = 2
	// maxFields and maxRenderProblems bound what an answer lists; they are the protocol's.
	maxFields, maxRenderProblems = 20, 20
)

// differ says what a commit would change. Whatever it fetches stays apart from what Syncs converge on, and need not be
// signed: the answer says what verification would say.
type differ struct {
	stands    func(namespace, name string) (converge.Standing, error)
	unlisted  func(label string) []live.Unlisted
	policy    *trust.Policy
	trees     renderer // of the objects that Syncs converge on
	relay     *relay.Client
	inventory survey.Inventory
	deps      preview.Deps // without Load
	places    *semaphore.Weighted
}

// answer answers a diff: an entry for each object that differs, then the summary.
func (d *differ) answer(ctx context.Context, asked serve.Question, each serve.Each) (err error) {
	at, err := d.stands(asked.Namespace, asked.Name)
	if err != nil {
		return err
	}
	if err := d.unseen(at, each); err != nil {
		return err
	}
	if err := d.places.Acquire(ctx, 1); err != nil {
		return err
	}
	defer d.places.Release(1)
	scratch, drop, err := d.trees.store.Scratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	return d.compare(ctx, at, asked.Commit, scratch, each)
}

// unseen says of which kinds nobody knows what the Sync owns: what would be removed of them, and what somebody changed, is no
// part of the answer. Those that are still being listed are worth waiting for.
func (d *differ) unseen(at converge.Standing, each serve.Each) error {
	for _, u := range d.unlisted(at.Sync.Label()) {
		if u.Refused == nil {
			return fault.New(fault.Conflict, "the objects of Sync %s/%s are still being listed; ask again in a moment", at.Sync.Namespace, at.Sync.Name)
		}
		if err := each(serve.Omission("removals and drift of "+u.Kind.String(), u.Refused.Error())); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) compare(ctx context.Context, at converge.Standing, commit gitobject.ID, scratch *objects.Store, each serve.Each) error {
	summary := &statusv1.DiffSummary{}
	if commit.IsZero() {
		commit = at.Applied
	}
	if commit.IsZero() {
		return fault.New(fault.Stale, "Sync %s/%s has applied nothing yet; name a commit", at.Sync.Namespace, at.Sync.Name)
	}
	if err := d.hold(ctx, at, commit, scratch, summary); err != nil {
		return err
	}
	summary.Commit, summary.Applied = revision.ObjectToProto(commit), revision.ObjectToProto(at.Applied)
	trees := d.trees
	trees.store = scratch
	rendered, err := trees.Render(ctx, at.Sync, commit, nil)
	if err != nil {
		return err
	}
	if err := d.preview(ctx, at, trees, rendered, commit, summary, each); err != nil {
		return err
	}
	noteProblems(summary, rendered.Problems)
	return each(&statusv1.AskResponse{Part: &statusv1.AskResponse_Summary{Summary: summary}})
}

// hold fetches a commit, unless it is what the Sync stands at and held, and has one that it does not stand at judged.
func (d *differ) hold(ctx context.Context, at converge.Standing, commit gitobject.ID, scratch *objects.Store, summary *statusv1.DiffSummary) error {
	known := commit == at.Applied || commit == at.Base
	complete, err := scratch.Complete(ctx, commit, at.Paths)
	if err != nil || known && complete {
		return err
	}
	source := revision.Source{Repository: at.Sync.Spec.Source.Repository, Ref: at.Sync.Spec.Source.Ref}
	if known { // and lost: from where it stands there is nothing to bring, so it comes as a whole
		_, err := d.relay.Bring(ctx, scratch, source, gitobject.ID{}, commit, at.Paths)
		return err
	}
	if err := d.ground(ctx, at, source, scratch); err != nil {
		return err
	}
	chain, err := d.relay.Bring(ctx, scratch, source, at.Base, commit, at.Paths)
	if err != nil {
		return err
	}
	summary.Refusal, err = d.refusal(ctx, at, chain, scratch)
	return err
}

// ground fetches what a chain begins at, if it was lost: without it there would seem to be no way from there.
func (d *differ) ground(ctx context.Context, at converge.Standing, source revision.Source, scratch *objects.Store) error {
	if at.Base.IsZero() {
		return nil
	}
	complete, err := scratch.Complete(ctx, at.Base, at.Paths)
	if err != nil || complete {
		return err
	}
	_, err = d.relay.Bring(ctx, scratch, source, gitobject.ID{}, at.Base, at.Paths)
	if fault.Is(err, fault.NotFound) {
		return nil // history was rewritten, which is found out again on the way from there
	}
	return err
}

// refusal says why verification would not follow a chain to its end; nil when it would.
func (d *differ) refusal(ctx context.Context, at converge.Standing, chain relay.Chain, scratch *objects.Store) (*statusv1.Problem, error) {
	verdict, err := newVerifier(d.policy, scratch).Verify(ctx, converge.VerifyRequest{
		Sync: at.Sync, Paths: at.Paths, Chain: chain, Seen: time.Now(), Accepted: at.Accepted,
	})
	if err != nil || verdict.Refusal == nil {
		return nil, err
	}
	problem := &statusv1.Problem{
		Kind: statusv1.ProblemKind_PROBLEM_KIND_VERIFY, Message: serve.Clip(verdict.Refusal.Message), File: verdict.Refusal.File, Line: int32(verdict.Refusal.Line),
	}
	if commit, err := gitobject.ParseID(verdict.Refusal.Commit); err == nil {
		problem.Commit = revision.ObjectToProto(commit)
	}
	return problem, nil
}

// preview hands out what an apply would do.
func (d *differ) preview(ctx context.Context, at converge.Standing, trees renderer, rendered render.Result, commit gitobject.ID, summary *statusv1.DiffSummary, each serve.Each) error { //nolint:revive // one call of another, split for its length
	content, err := trees.store.ContentID(ctx, commit, at.Paths)
	if err != nil {
		return err
	}
	recorded, err := d.inventory.Load(ctx, at.Sync)
	if err != nil {
		return err
	}
	deps := d.deps
	deps.Load = trees.Load
	_, err = preview.New(deps).Run(ctx, preview.Request{Sync: at.Sync, Rendered: &rendered, Inventory: recorded, Content: content.String()},
		func(c preview.Change) error {
			drifted := c.Left && commit == at.Applied // nobody asks what an apply would do then
			if !c.Differs() && c.Action != preview.Adopt && !drifted {
				summary.Equal++
				return nil
			}
			summary.Different++
			return each(&statusv1.AskResponse{Part: &statusv1.AskResponse_Diff{Diff: entryOf(c)}})
		})
	return err
}

func entryOf(c preview.Change) *statusv1.DiffEntry {
	entry := &statusv1.DiffEntry{
		Object: c.Key.String(), Action: string(c.Action), Reason: serve.Clip(c.Reason), Diff: c.Diff, File: c.File, Line: int32(c.Line), Held: c.Held,
	}
	if c.Left {
		entry.Action = "leave"
	}
	for _, field := range c.Fields[:min(len(c.Fields), maxFields)] {
		entry.Fields = append(entry.Fields, serve.Clip(field.Path))
	}
	entry.FieldsOmitted = int32(len(c.Fields) - len(entry.GetFields()) + c.FieldsOmitted)
	if (c.Key == object.Key{Kind: "Secret", Namespace: c.Key.Namespace, Name: c.Key.Name}) {
		return entry // what the API server warns of may quote it
	}
	for _, warning := range c.Warnings {
		entry.Warnings = append(entry.Warnings, serve.Clip(warning))
	}
	return entry
}

// noteProblems lists files that could not be used: what they hold is unknown, and no part of the answer.
func noteProblems(summary *statusv1.DiffSummary, problems []render.Problem) {
	for _, p := range problems[:min(len(problems), maxRenderProblems)] {
		summary.Problems = append(summary.Problems, &statusv1.Problem{
			Kind: statusv1.ProblemKind_PROBLEM_KIND_RENDER, Message: serve.Clip(p.Message), File: p.File, Line: int32(p.Line), Object: p.Object,
		})
	}
	summary.ProblemsOmitted = int32(len(problems) - len(summary.GetProblems()))
}
