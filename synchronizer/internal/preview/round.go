package preview

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/compare"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

// round is one Run: what is planned, by object, and what the commit brings itself.
type round struct {
	deps       Deps
	req        Request
	made       plan.Plan
	live       map[object.Key]plan.Live
	steps      map[object.Key]plan.Step
	conflicts  map[object.Key]plan.Step
	drift      map[object.Key]plan.Step
	namespaces map[string]bool
	kinds      map[schema.GroupKind]bool
	loaded     map[object.Key]*render.Desired // of the batch that is under way
}

func newRound(deps Deps, req Request) *round {
	r := &round{
		deps: deps, req: req, live: live.Planned(deps.Live.Owned(req.Sync.Label())),
		namespaces: map[string]bool{}, kinds: map[schema.GroupKind]bool{},
	}
	r.made = plan.Make(plan.Input{
		Label: req.Sync.Label(), Desired: req.Rendered.Objects, Broken: req.Rendered.Broken, Live: r.live, Recorded: req.Inventory,
		Drift: req.Sync.Spec.DriftPolicy(), Prune: req.Sync.Spec.PruneEnabled(), Owner: r.owner,
		AllowPrune: req.Content != "" && req.Sync.AllowsPrune(req.Content),
	})
	r.steps = byKey(r.made.Steps, r.made.Waiting)
	r.conflicts, r.drift = byKey(r.made.Conflicts), byKey(r.made.Drift)
	for i := range req.Rendered.Objects {
		d := &req.Rendered.Objects[i]
		if (d.Key == object.Key{Kind: "Namespace", Name: d.Key.Name}) {
			r.namespaces[d.Key.Name] = true
		}
		if d.Defines != nil {
			r.kinds[d.Defines.GroupKind] = true
		}
	}
	return r
}

func byKey(lists ...[]plan.Step) map[object.Key]plan.Step {
	steps := map[object.Key]plan.Step{}
	for _, list := range lists {
		for _, s := range list {
			steps[s.Key] = s
		}
	}
	return steps
}

// owner returns the label of the Sync that owns an object, when that Sync exists.
func (r *round) owner(key object.Key) string {
	record, ok := r.deps.Live.Get(key)
	if !ok || !record.Owned() || !r.deps.Exists(record.Sync) {
		return ""
	}
	return record.Sync
}

// objects are the objects of Git that are looked at, ordered by key.
func (r *round) objects() []*render.Desired {
	var list []*render.Desired
	for i := range r.req.Rendered.Objects {
		if d := &r.req.Rendered.Objects[i]; r.req.Only == nil || r.req.Only(d.Key) {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b *render.Desired) int { return a.Key.Compare(b.Key) })
	return list
}

// load reads the objects of a batch that are to be tried, into copies: what is rendered is only read.
func (r *round) load(ctx context.Context, batch []*render.Desired) error {
	r.loaded = map[object.Key]*render.Desired{}
	var tried []*render.Desired
	for _, d := range batch {
		_, planned := r.steps[d.Key]
		_, left := r.drift[d.Key]
		if planned || left {
			loaded := *d
			r.loaded[d.Key], tried = &loaded, append(tried, &loaded)
		}
	}
	return r.deps.Load(ctx, tried)
}

// change says what would become of an object of Git. The error says that nobody knows.
func (r *round) change(ctx context.Context, d *render.Desired) (Change, error) {
	c := Change{Key: d.Key, Action: None, File: d.Origin.File, Line: d.Origin.Line}
	step, planned := r.steps[d.Key]
	drifted, left := r.drift[d.Key]
	conflict, owned := r.conflicts[d.Key]
	switch {
	case d.Policy.Hook != "":
		c.Action, c.Reason = Skip, fmt.Sprintf("it is a %s hook, which runs when the content is applied", d.Policy.Hook)
	case d.Policy.Apply == v1alpha1.ApplySkip:
		c.Action, c.Reason = Skip, "it asks to be left alone by "+v1alpha1.AnnotationApply
	case owned:
		c.Action, c.Reason = Refused, fmt.Sprintf("it is owned by the Sync %s and left to it; take it out of one of the two", strings.Join(conflict.Writers, ""))
	case planned:
		return r.try(ctx, c, step)
	case left:
		tried, err := r.try(ctx, c, drifted)
		if tried.Action == Update {
			tried.Action, tried.Left, tried.Reason = None, true, tried.Reason+", and is left so, because its drift policy is report"
		}
		return tried, err
	case r.live[d.Key].Deleting:
		c.Action, c.Reason = Create, "the present one is being deleted"
	}
	return c, nil
}

// try tries a step and says what came of it.
func (r *round) try(ctx context.Context, c Change, step plan.Step) (Change, error) {
	step.Desired = r.loaded[c.Key]
	identity := apply.Identity{Namespace: r.req.Sync.Namespace, ServiceAccount: r.req.Sync.Spec.ServiceAccount()}
	trial := r.deps.Applier.Try(ctx, identity, r.req.Sync.Label(), step)
	if ctx.Err() != nil {
		return c, ctx.Err()
	}
	c.Asked, c.Warnings = true, trial.Warnings
	if trial.Before != nil {
		c.Live = compare.Digest(trial.Before)
		if r.deps.Seen != nil {
			r.deps.Seen(trial.Before)
		}
	}
	return r.judge(c, trial), nil
}

// judge makes a change of a trial.
func (r *round) judge(c Change, t apply.Trial) Change {
	desired := t.Step.Desired.Object.Object
	switch class := apply.ClassOf(t.Err); {
	case class == apply.UnknownKind && r.kinds[t.Step.Desired.GVK.GroupKind()]:
		return c.as(Create, "its kind comes with the same commit", compare.Objects(nil, desired))
	case class == apply.NoNamespace && r.namespaces[c.Key.Namespace]:
		return c.as(Create, "its namespace comes with the same commit", compare.Objects(nil, desired))
	case t.Err != nil:
		return c.as(Refused, reasonOf(t.Err), compare.Difference{})
	case t.Recreates:
		narrow, _ := compare.Narrow(compare.Normal(t.Before.Object), desired).(map[string]any) // of a map it is one
		return c.as(Recreate, "a field that cannot be changed in place differs, and it asks to be made anew then", compare.Objects(narrow, desired))
	case t.Before == nil:
		return c.as(Create, "it is not there", compare.Objects(nil, t.After.Object))
	case t.Step.Desired.Policy.Apply == v1alpha1.ApplyCreateOnly:
		return c.as(None, "it is there, and is made once only", compare.Difference{})
	}
	difference := compare.Objects(t.Before.Object, t.After.Object)
	switch {
	case t.Adopts:
		return c.as(Adopt, "it is there"+writtenBy(baseline.Writers(t.Before, v1alpha1.FieldManager)), difference)
	case difference.Same():
		return c.as(None, "", difference)
	default:
		return c.as(Update, updateReason(t.Step), difference)
	}
}

func (c Change) as(action Action, reason string, d compare.Difference) Change {
	c.Action, c.Reason, c.Fields, c.FieldsOmitted, c.Diff = action, reason, d.Fields, d.Omitted, d.Diff
	return c
}

// reasonOf is an error without the object, which is named beside it.
func reasonOf(err error) string {
	if e, ok := err.(*apply.Error); ok { //nolint:errorlint // what Try returns
		return e.Message
	}
	return err.Error()
}

func updateReason(s plan.Step) string {
	if s.Reason == plan.Drifted {
		return "it was changed" + byWhom(s.Writers)
	}
	return "Git says something else"
}

func writtenBy(writers []string) string {
	if len(writers) == 0 {
		return ""
	}
	return ", written" + byWhom(writers)
}

// maxWriters bounds the managers that a reason names.
const maxWriters = 3

func byWhom(writers []string) string {
	if len(writers) == 0 {
		return ""
	}
	return " by " + strings.Join(writers[:min(len(writers), maxWriters)], ", ")
}

// removals are what would be removed, and what waits for consent.
func (r *round) removals() []Change {
	var list []Change
	for _, s := range r.made.Steps {
		if s.Action == plan.Delete {
			list = append(list, Change{Key: s.Key, Action: Prune, Reason: "it is gone from Git"})
		}
	}
	for _, s := range r.made.Held {
		list = append(list, Change{
			Key: s.Key, Action: Prune, Held: true,
			Reason: fmt.Sprintf("it is gone from Git, and waits for consent: %d of %d owned objects are", len(r.made.Held), r.made.Owned),
		})
	}
	slices.SortFunc(list, func(a, b Change) int { return a.Key.Compare(b.Key) })
	return list
}
