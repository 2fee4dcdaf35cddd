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
	relay     bringer
	inventory survey.Inventory
	deps      preview.Deps // without Load
	places    *semaphore.Weighted
}

// bringer fetches what a commit has, beside what is followed.
type bringer interface {
	Bring(ctx context.Context, into relay.Objects, source revision.Source, base, commit gitobject.ID, paths []string) (relay.Chain, error)
}

// difference is one answer under way.
type difference struct {
	*differ

	at      converge.Standing
	commit  gitobject.ID
	trees   renderer // of what is held and, apart from it, what was fetched for this answer
	each    serve.Each
	summary *statusv1.DiffSummary
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
	out := &difference{differ: d, at: at, commit: asked.Commit, trees: d.trees, each: each, summary: &statusv1.DiffSummary{}}
	out.trees.store = scratch
	return out.give(ctx)
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

func (d *difference) give(ctx context.Context) error {
	if d.commit.IsZero() {
		d.commit = d.at.Applied
	}
	if d.commit.IsZero() {
		return fault.New(fault.Stale, "Sync %s/%s has applied nothing yet; name a commit", d.at.Sync.Namespace, d.at.Sync.Name)
	}
	if err := d.hold(ctx); err != nil {
		return err
	}
	rendered, err := d.trees.Render(ctx, d.at.Sync, d.commit, nil)
	if err != nil {
		return err
	}
	if err := d.preview(ctx, &rendered); err != nil {
		return err
	}
	d.summary.Commit, d.summary.Applied = revision.ObjectToProto(d.commit), revision.ObjectToProto(d.at.Applied)
	noteProblems(d.summary, rendered.Problems)
	return d.each(&statusv1.AskResponse{Part: &statusv1.AskResponse_Summary{Summary: d.summary}})
}

// hold fetches the commit, unless it is what the Sync stands at and held, and has one that it does not stand at judged.
func (d *difference) hold(ctx context.Context) error {
	known := d.commit == d.at.Applied || d.commit == d.at.Base
	complete, err := d.trees.store.Complete(ctx, d.commit, d.at.Paths)
	if err != nil || known && complete {
		return err
	}
	if known { // and lost: from where it stands there is nothing to bring, so it comes as a whole
		_, err := d.bring(ctx, gitobject.ID{}, d.commit)
		return err
	}
	if err := d.ground(ctx); err != nil {
		return err
	}
	chain, err := d.bring(ctx, d.at.Base, d.commit)
	if err != nil {
		return err
	}
	d.summary.Refusal, err = d.refusal(ctx, chain)
	return err
}

// ground fetches what a chain begins at, if it was lost: without it there would seem to be no way from there.
func (d *difference) ground(ctx context.Context) error {
	if d.at.Base.IsZero() {
		return nil
	}
	complete, err := d.trees.store.Complete(ctx, d.at.Base, d.at.Paths)
	if err != nil || complete {
		return err
	}
	_, err = d.bring(ctx, gitobject.ID{}, d.at.Base)
	if fault.Is(err, fault.NotFound) {
		return nil // history was rewritten, which is found out again on the way from there
	}
	return err
}

func (d *difference) bring(ctx context.Context, base, commit gitobject.ID) (relay.Chain, error) {
	source := revision.Source{Repository: d.at.Sync.Spec.Source.Repository, Ref: d.at.Sync.Spec.Source.Ref}
	return d.relay.Bring(ctx, d.trees.store, source, base, commit, d.at.Paths)
}

// refusal says why verification would not follow a chain to its end; nil when it would.
func (d *difference) refusal(ctx context.Context, chain relay.Chain) (*statusv1.Problem, error) {
	verdict, err := newVerifier(d.policy, d.trees.store).Verify(ctx, converge.VerifyRequest{
		Sync: d.at.Sync, Paths: d.at.Paths, Chain: chain, Seen: time.Now(), Accepted: d.at.Accepted,
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
func (d *difference) preview(ctx context.Context, rendered *render.Result) error {
	content, err := d.trees.store.ContentID(ctx, d.commit, d.at.Paths)
	if err != nil {
		return err
	}
	recorded, err := d.inventory.Load(ctx, d.at.Sync)
	if err != nil {
		return err
	}
	deps := d.deps
	deps.Load = d.trees.Load
	_, err = preview.New(deps).Run(ctx, preview.Request{Sync: d.at.Sync, Rendered: rendered, Inventory: recorded, Content: content.String()}, d.change)
	return err
}

// change hands out what would become of an object, unless that is nothing.
func (d *difference) change(c preview.Change) error {
	drifted := c.Left && d.commit == d.at.Applied // nobody asks what an apply would do then
	if !c.Differs() && c.Action != preview.Adopt && !drifted {
		d.summary.Equal++
		return nil
	}
	d.summary.Different++
	return d.each(&statusv1.AskResponse{Part: &statusv1.AskResponse_Diff{Diff: entryOf(c)}})
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
