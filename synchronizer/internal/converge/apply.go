package converge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
	"github.com/tandem-cd/tandem/synchronizer/internal/tenancy"
)

// maxNamed bounds the objects that one message names.
const maxNamed = 5

// failure is an object that could not be applied or removed.
type failure struct {
	hash     [32]byte // of what was tried; other content is tried at once
	origin   object.Origin
	err      error
	attempts int
	due      time.Time
	withheld bool // nobody tried: nothing is known of the object's kind, or its images are not signed
}

// owned reports whether another Sync owns the object, as only the API server could say: nothing is known here of the objects of
// Syncs that other replicas work for, and of one that was made a moment ago.
func (f failure) owned() bool { return apply.ClassOf(f.err) == apply.Owned }

// unknownAgain is how soon kinds that the cluster does not serve are looked for again.
const unknownAgain = 15 * time.Second

// render makes objects of the verified commit, unless they are there. It reports whether there is something to apply.
func (p *pass) render(ctx context.Context) bool {
	w := p.work
	if w.current && (w.stale.IsZero() || time.Until(w.stale) > 0) {
		if !w.stale.IsZero() {
			p.soon(time.Until(w.stale)) // whatever woke the Sync before its time
		}
		return true
	}
	if w.over == w.content && w.over != (revision.ContentID{}) {
		return false // it will not become less
	}
	w.over = revision.ContentID{}
	began := now()
	result, err := p.loop.deps.Renderer.Render(ctx, p.sync, w.verified, w.rendered)
	p.loop.metrics.renders.WithLabelValues().Observe(time.Since(began).Seconds())
	if over, ok := errors.AsType[*tenancy.OverQuotaError](err); ok {
		p.overQuota(over)
		return false
	}
	if err != nil {
		w.problems.render = []v1alpha1.Problem{{Kind: v1alpha1.ProblemRender, Message: sentence(err), Commit: w.verified.String()}}
		p.failed("tree not rendered", err)
		return false
	}
	p.nameHooks(result.Objects)
	w.rendered, w.current, w.problems.render, w.stale = &result, true, nil, time.Time{}
	if result.Unknown > 0 {
		w.stale = now().Add(unknownAgain)
		p.soon(unknownAgain)
	}
	for _, problem := range result.Problems {
		w.problems.render = append(w.problems.render, v1alpha1.Problem{
			Kind: v1alpha1.ProblemRender, Message: problem.Message, File: problem.File, Line: problem.Line, Object: problem.Object,
		})
	}
	return true
}

// overQuota refuses the whole tree, which is looked at again when its content has changed.
func (p *pass) overQuota(over *tenancy.OverQuotaError) {
	w := p.work
	problem := v1alpha1.Problem{Kind: v1alpha1.ProblemRender, Message: sentence(over), File: over.File, Commit: w.verified.String()}
	if !slices.Contains(w.status.Problems, problem) { // it was told before a restart
		p.record(true, "OverQuota", problem.Message)
	}
	w.over, w.problems.render = w.content, []v1alpha1.Problem{problem}
}

// apply plans and takes what is due. A pass whose plan is empty sends no request.
func (p *pass) apply(ctx context.Context) {
	w := p.work
	if !p.watchKinds(ctx) || p.sync.Spec.Suspend || !p.depend(ctx) {
		return
	}
	made := plan.Make(p.input())
	p.noteHeld(made)
	p.noteConflicts(made)
	p.noteDrift(ctx, made)
	p.noteBehind(made.Behind, "")
	if !p.attest(ctx, made.Steps) {
		return
	}
	steps := p.due(made)
	p.loop.metrics.planned(len(steps))
	if len(steps) > 0 {
		if !p.take(ctx, steps) {
			return // superseded: the newer content is next
		}
		if w.behind != "" {
			p.soon(time.Millisecond) // what was written may be Current already
		}
	}
	p.noteFailures()
	p.noteHeals(made)
	p.dropKinds()
	if made.WaitsForHooksOnly() && !p.isApplied() {
		p.applied(len(steps))
	}
	if len(steps) == 0 && p.isApplied() {
		w.rendered.Forget() // as after a restart: what is there needs not be held
	}
}

// noteBehind remembers what is waited for before more is applied, since when, and why that takes so long if it is known.
func (p *pass) noteBehind(behind, why string) {
	w := p.work
	w.behindWhy = strings.TrimSuffix(why, ".")
	if behind != w.behind {
		w.behind, w.behindSince = behind, now()
	}
}

// watchKinds has every kind watched that the Sync owns or is about to own, and reports whether all have been listed that
// can be.
// New kinds are written to the status first, unless another Sync's has them: a process that is killed after the first
// apply still knows where to look. Among several replicas each Sync's has to have them itself: another number of shards parts it
// from the other.
func (p *pass) watchKinds(ctx context.Context) bool {
	w, l := p.work, p.loop
	kinds := p.kinds()
	if len(kinds) != len(w.status.Kinds) {
		w.status.Kinds = kinds
	}
	if !l.kinds.has(kinds) || l.isShared() && !containsAll(w.written.Kinds, kinds) {
		p.summarise()
		if err := p.writeStatus(ctx); err != nil {
			p.failed("kinds not written ahead", err)
			return false
		}
	}
	l.deps.Live.Need(p.sync.Label(), kinds)
	p.noteWatches()
	p.listed = p.list(l.deps.Live.Unlisted(p.sync.Label()))
	return p.listed
}

// noteWatches lists what cannot be watched: without it nobody would know why nothing happens.
func (p *pass) noteWatches() {
	w := p.work
	w.problems.watch = nil
	failures := p.loop.deps.Live.Failures(p.sync.Label())
	if p.sync.Spec.Observes() {
		failures = append(failures, p.loop.deps.Sight.Failures(p.sync.Label())...)
	}
	for _, err := range failures {
		w.problems.watch = append(w.problems.watch, v1alpha1.Problem{Kind: v1alpha1.ProblemApply, Message: sentence(err)})
		p.soon(watchAgain)
	}
}

// watchAgain is how soon is looked again whether a watch that failed works.
const watchAgain = 10 * time.Second

// input is what the plan depends on.
func (p *pass) input() plan.Input {
	w := p.work
	known := p.loop.deps.Live.Planned(p.sync.Label())
	if self, ok := known[p.self()]; ok {
		self.Current = true
		known[p.self()] = self
	}
	return plan.Input{
		Label: p.sync.Label(), Desired: w.rendered.Objects, Broken: w.rendered.Broken,
		Live: known, Recorded: w.inventory, Drift: p.sync.Spec.DriftPolicy(), Prune: p.sync.Spec.PruneEnabled(),
		Rests: p.rests, Unseen: func(key object.Key) bool { return w.refusal(key) != nil }, Owner: p.ownerOf, Failed: p.contentFailed(),
		AllowPrune: p.sync.AllowsPrune(w.content.String()),
	}
}

// self is the Sync as an object. One that is among its own objects does not wait for itself.
func (p *pass) self() object.Key {
	return object.Key{Group: v1alpha1.GroupVersion.Group, Kind: v1alpha1.Kind, Namespace: p.sync.Namespace, Name: p.sync.Name}
}

// ownerOf returns the label of the Sync that owns an object, when that Sync exists: what a Sync left behind may be taken.
func (p *pass) ownerOf(key object.Key) string {
	record, ok := p.loop.deps.Live.Get(key)
	if !ok || !record.Owned() {
		return ""
	}
	if !p.loop.Exists(record.Sync) {
		return ""
	}
	return record.Sync
}

// due leaves out what failed before and is not to be tried again yet, and removals while something could not be applied or
// waits: what replaces an object must be there before the object goes.
func (p *pass) due(made plan.Plan) []plan.Step {
	w := p.work
	var due, removals []plan.Step
	wanted := map[object.Key]bool{}
	for _, s := range made.Waiting {
		wanted[s.Key] = true
	}
	for _, s := range made.Steps {
		wanted[s.Key] = true
		if s.Action == plan.Delete && w.failures[s.Key].hash != ([32]byte{}) {
			delete(w.failures, s.Key) // what could not be written is to go now
		}
		if p.withheld(s) {
			continue
		}
		if wait := p.waitOf(s); wait > 0 || p.unattested(s) {
			p.soon(wait)
			continue
		}
		if s.Action == plan.Delete {
			removals = append(removals, s)
			continue
		}
		due = append(due, s)
	}
	p.tellWithheld()
	for key := range w.failures {
		if !wanted[key] {
			delete(w.failures, key) // somebody else put it right, or Git no longer asks for it
		}
	}
	if len(due) == 0 && !p.blocked() && len(made.Waiting) == 0 {
		return removals
	}
	if len(due) > 0 && len(removals) > 0 && len(made.Waiting) == 0 {
		p.soon(time.Millisecond) // once the rest is applied
	}
	return due
}

// blocked reports whether something could not be applied that is the Sync's.
func (p *pass) blocked() bool {
	for _, f := range p.work.failures {
		if f.hash != ([32]byte{}) && !f.owned() {
			return true
		}
	}
	return false
}

// failing counts the objects that could not be applied or removed, but for those that another Sync owns.
func (w *work) failing() (count int) {
	for _, f := range w.failures {
		if !f.owned() {
			count++
		}
	}
	return count
}

func hashOf(s plan.Step) [32]byte {
	if s.Desired == nil {
		return [32]byte{}
	}
	return s.Desired.Hash
}

// take carries out steps and records what became of each. It reports false when newer content arrived meanwhile.
func (p *pass) take(ctx context.Context, steps []plan.Step) bool {
	w, l := p.work, p.loop
	if !p.enter() {
		return false
	}
	if err := p.load(ctx, steps); err != nil {
		p.failed("objects not read", err)
		return false
	}
	ctx, end := p.supersedable(ctx)
	defer end()
	explain(steps)
	start := now()
	var mu sync.Mutex
	tally := &tally{}
	l.rise() // others can use the worker while this waits for the API server
	err := l.deps.Applier.Run(ctx, p.identity(), p.sync.Label(), steps, func(r apply.Result) {
		mu.Lock()
		defer mu.Unlock()
		p.took(r, tally)
		l.metrics.took(r)
	})
	l.sit()
	l.metrics.applied.WithLabelValues().Observe(time.Since(start).Seconds())
	superseded := ctx.Err() != nil
	if err != nil && !superseded {
		p.failed("steps not taken", err)
	}
	l.logger(p.key).Info("applied", zap.Int("applied", tally.applied), zap.Int("removed", len(tally.removed)),
		zap.Int("failed", tally.failed), zap.Duration("duration", time.Since(start)), zap.Bool("superseded", superseded))
	if w.rendered != nil && !superseded {
		w.rendered.Forget() // what is applied is needed no more
	}
	w.unsaved = true
	p.tell(tally)
	return !superseded && err == nil
}

// identity is whom the Sync writes as.
func (p *pass) identity() apply.Identity {
	return apply.Identity{Namespace: p.sync.Namespace, ServiceAccount: p.sync.Spec.ServiceAccount()}
}

// load reads the objects of steps that were forgotten.
func (p *pass) load(ctx context.Context, steps []plan.Step) error {
	wanted := make([]*render.Desired, 0, len(steps))
	for _, s := range steps {
		if s.Desired != nil {
			wanted = append(wanted, s.Desired)
		}
	}
	return p.loop.deps.Renderer.Load(ctx, wanted)
}

// supersedable returns a context that ends when newer content arrives.
func (p *pass) supersedable(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	l := p.loop
	l.mu.Lock()
	e := l.entries[p.key]
	if e != nil {
		e.supersede = cancel
		if e.delivery != nil && e.delivery != p.delivery {
			cancel()
		}
	}
	l.mu.Unlock()
	return ctx, func() {
		l.mu.Lock()
		if e != nil {
			e.supersede = nil
		}
		l.mu.Unlock()
		cancel()
	}
}

// tally counts what came of steps.
type tally struct {
	applied, failed int
	removed, healed []string
}

// took records the outcome of one step.
func (p *pass) took(r apply.Result, t *tally) {
	w := p.work
	key := r.Step.Key
	if r.Err != nil {
		t.failed++
		p.fail(r)
		return
	}
	delete(w.failures, key)
	if r.Step.Action == plan.Delete {
		t.removed = append(t.removed, key.String())
		delete(w.inventory, key)
		return
	}
	t.applied++
	if isDrift(r.Step) {
		p.healed(r, t)
	} else {
		w.drifts.fights.Forget(key) // Git says something else now
	}
	w.inventory[key] = entryOf(r.Step, r.Object)
	if !w.inventory[key].Foreign() || r.Step.Desired.Policy.Apply != v1alpha1.ApplyCreateOnly {
		p.loop.deps.Live.Observe(r.Object)
	}
}

func entryOf(s plan.Step, written *unstructured.Unstructured) inventory.Entry {
	digest, _ := baseline.Of(written, v1alpha1.FieldManager) // an answer to our apply has our entry
	return inventory.Entry{
		Key: s.Key, UID: written.GetUID(), File: s.Desired.Origin.File, Desired: s.Desired.Hash, Baseline: digest,
	}
}

func (p *pass) fail(r apply.Result) {
	w := p.work
	f := failure{hash: hashOf(r.Step), err: r.Err}
	if old, ok := w.failures[r.Step.Key]; ok && old.hash == f.hash {
		f.attempts = old.attempts + 1
	}
	if r.Step.Desired != nil {
		f.origin = r.Step.Desired.Origin
	}
	f.due = now().Add(retryAfter(f.attempts))
	w.failures[r.Step.Key] = f
	p.soon(time.Until(f.due))
}

// save records what is owned now, if that has changed. A process that dies before it is saved applies the same once more.
func (p *pass) save(ctx context.Context) {
	w := p.work
	if !w.unsaved {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	p.forgetVanished()
	kept, err := p.loop.deps.Inventory.Save(ctx, p.sync, w.inventory)
	if err != nil {
		p.failed("inventory not saved", err)
		return
	}
	w.unsaved, w.status.Inventory, w.status.Shards = false, kept.Inline, kept.Shards
}

// forgetVanished drops the records of what is neither in Git nor in the cluster any more: what somebody else removed, as a
// finished Job's own time to live does.
func (p *pass) forgetVanished() {
	w := p.work
	if w.rendered == nil {
		return
	}
	wanted := make(map[object.Key]bool, len(w.rendered.Objects))
	for i := range w.rendered.Objects {
		wanted[w.rendered.Objects[i].Key] = true
	}
	for key, entry := range w.inventory {
		if wanted[key] || w.rendered.Broken[entry.File] {
			continue
		}
		if _, live := p.loop.deps.Live.Get(key); !live {
			delete(w.inventory, key)
		}
	}
}

// saveTimeout bounds the write of an inventory.
const saveTimeout = time.Minute

// tell says what the steps came to.
func (p *pass) tell(t *tally) {
	w := p.work
	if len(t.healed) > 0 {
		message := clip("Healed "+named(t.healed)+".", maxMessage)
		p.fact(report.Drifted, w.verified, w.content, clip("Found changed: "+named(t.healed)+".", maxMessage))
		p.fact(report.Healed, w.verified, w.content, message)
		p.record(false, "Healed", message)
	}
	if len(t.removed) > 0 {
		message := clip("Removed what is no longer in Git: "+named(t.removed)+".", maxMessage)
		p.fact(report.Pruned, w.verified, w.content, message)
		p.record(false, "Pruned", message)
	}
}

func named(objects []string) string {
	slices.Sort(objects)
	if more := len(objects) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(objects[:maxNamed], ", "), more)
	}
	return strings.Join(objects, ", ")
}

// applied notes that every object of the content was attempted.
func (p *pass) applied(steps int) {
	w := p.work
	message := fmt.Sprintf("Applied %.12s: %d of %d objects changed.", w.verified, steps, len(w.rendered.Objects))
	failing := w.failing()
	if failing > 0 {
		message = fmt.Sprintf("Applied %.12s: %d of %d objects could not be applied.", w.verified, failing, len(w.rendered.Objects))
	}
	w.status.Applied = p.reach(report.Applied, w.verified, w.content, now(), message)
	p.facts[len(p.facts)-1].Problems = w.problems.all()
	w.status.RenderedPath = w.root
	w.status.HealthySince, w.patience = nil, newPatience(wasApplied)
	p.record(failing > 0, pick(failing > 0, "ApplyFailed", "Applied"), message)
}
