package converge

import (
	"context"
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/preview"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

// verdict is what an apply would do with an object of Git, and what that was found out from. While that stays the same, nobody
// is asked again.
type verdict struct {
	change preview.Change // as lean makes it
	hash   [32]byte       // of what Git says
	policy render.Policy
	seen   [32]byte // the digest of the live object when it was asked for
	base   [32]byte // of the namespaces and definitions of the tree
	// attempts and due say when a refusal is looked at again: nothing tells that RBAC or a policy has changed.
	attempts int
	due      time.Time
}

// comparison is what mode observe remembers.
type comparison struct {
	verdicts   map[object.Key]verdict
	removals   []preview.Change
	generation int64  // of the Sync: whose rights count may have changed
	now        string // the sync-now annotation that was acted on
}

// compare says what an apply would change, and writes to no object. Objects are asked about only when Git or the watch says
// that something about them has changed.
func (p *pass) compare(ctx context.Context) {
	w, l := p.work, p.loop
	p.standBack()
	if p.sync.Spec.Suspend || !p.look() {
		return
	}
	ctx, end := p.supersedable(ctx)
	defer end()
	stale, base := p.stale()
	if len(stale) > 0 && !p.enter() {
		return
	}
	var removals []preview.Change
	l.rise() // as in take
	_, err := l.deps.Previewer.Run(ctx, preview.Request{
		Sync: p.sync, Rendered: w.rendered, Inventory: w.inventory, Content: w.content.String(),
		Only: func(key object.Key) bool { return stale[key] != nil },
	}, func(c preview.Change) error {
		if c.Action == preview.Prune {
			removals = append(removals, c)
			return nil
		}
		p.judged(lean(c), stale[c.Key], base)
		return nil
	})
	l.sit()
	w.rendered.Forget()
	if err != nil {
		if ctx.Err() == nil { // else there is newer content, which is next
			p.failed("objects not compared", err)
		}
		return
	}
	w.comparison.removals = removals
	p.noteComparison()
}

// lean is as much of a change as a status shows: one is kept for each object.
func lean(c preview.Change) preview.Change {
	fields := c.Fields[:min(len(c.Fields), v1alpha1.MaxChangedFields)]
	c.FieldsOmitted += len(c.Fields) - len(fields)
	c.Fields, c.Diff, c.Warnings = nil, "", nil
	for _, field := range fields {
		c.Fields = append(c.Fields, preview.Field{Path: field.Path})
	}
	return c
}

// standBack drops what only an apply has to do with, and begins to remember.
func (p *pass) standBack() {
	w := p.work
	w.problems.conflict, w.problems.owned, w.problems.prune, w.problems.fight, w.problems.drift = nil, nil, nil, nil, nil
	w.drifts = drifts{}
	clear(w.failures)
	w.behind, w.status.Objects.Drifted = "", 0
	if c := w.comparison; c == nil || c.generation != p.sync.Generation || c.now != w.status.SyncNow {
		w.comparison = &comparison{verdicts: map[object.Key]verdict{}, generation: p.sync.Generation, now: w.status.SyncNow}
		w.problems.apply = nil
	}
}

// stepIn forgets what mode observe found: what was equal then has still to be applied.
func (p *pass) stepIn() {
	w := p.work
	if w.status.Observed == nil && w.comparison == nil {
		return
	}
	w.status.Observed, w.comparison, w.status.HealthySince = nil, nil, nil
	meta.RemoveStatusCondition(&w.status.Conditions, v1alpha1.ConditionObserved)
	p.loop.deps.Sight.Release(p.sync.Label())
}

// look has the objects of Git watched, whosever they are, and reports whether all have been listed that can be. What the Sync
// owns from before is watched as ever.
func (p *pass) look() bool {
	w, l, label := p.work, p.loop, p.sync.Label()
	var kinds []v1alpha1.ObjectKind
	keys := make([]object.Key, 0, len(w.rendered.Objects))
	for i := range w.rendered.Objects {
		d := &w.rendered.Objects[i]
		if d.Policy.Hook != "" {
			continue
		}
		keys = append(keys, d.Key)
		if kind := kindOf(d); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	l.deps.Live.Need(label, w.status.Kinds)
	l.deps.Sight.Judge(label, w.rules.judge)
	l.deps.Sight.Look(label, kinds, keys)
	p.noteWatches()
	return p.list(append(l.deps.Live.Unlisted(label), l.deps.Sight.Unlisted(label)...))
}

func kindOf(d *render.Desired) v1alpha1.ObjectKind {
	return v1alpha1.ObjectKind{Group: d.GVK.Group, Version: d.GVK.Version, Kind: d.GVK.Kind, Namespaced: d.Key.Namespace != ""}
}

// stale are the objects whose verdict does not stand on what is true now, and what verdicts stand on besides the objects
// themselves.
func (p *pass) stale() (stale map[object.Key]*render.Desired, base [32]byte) {
	w := p.work
	base = p.base()
	stale = map[object.Key]*render.Desired{}
	wanted := make(map[object.Key]bool, len(w.rendered.Objects))
	for i := range w.rendered.Objects {
		d := &w.rendered.Objects[i]
		wanted[d.Key] = true
		if cause := w.refusal(d.Key); cause != nil {
			w.comparison.verdicts[d.Key] = unseen(d, cause)
			continue
		}
		if v, known := w.comparison.verdicts[d.Key]; !known || !v.stands(d, p.digest(d.Key), base) {
			stale[d.Key] = d
		} else if !v.due.IsZero() {
			p.soon(time.Until(v.due))
		}
	}
	for key := range w.comparison.verdicts {
		if !wanted[key] {
			delete(w.comparison.verdicts, key)
		}
	}
	return stale, base
}

// unseen is the verdict on an object of a kind that nothing is known of: what changed in it would go unseen.
func unseen(d *render.Desired, cause error) verdict {
	return verdict{change: preview.Change{
		Key: d.Key, Action: preview.Refused, Reason: unwatched(cause).Error(), File: d.Origin.File, Line: d.Origin.Line,
	}}
}

// stands reports whether a verdict would be the same again. One that came from the plan alone costs nothing and is made anew.
func (v verdict) stands(d *render.Desired, live, base [32]byte) bool {
	if !v.change.Asked || v.hash != d.Hash || !reflect.DeepEqual(v.policy, d.Policy) {
		return false
	}
	switch v.change.Action {
	case preview.Create:
		return v.base == base && live == [32]byte{}
	case preview.Refused:
		return v.base == base && (live == v.seen || live == v.change.Live) && time.Until(v.due) > 0
	default:
		return live == v.change.Live
	}
}

// digest is that of a live object; zero when there is none.
func (p *pass) digest(key object.Key) [32]byte {
	record, _ := p.loop.deps.Sight.Seen(p.sync.Label(), key)
	return record.Baseline
}

// base is the digest of the live namespaces and definitions that Git names: what objects that cannot be made yet wait for.
func (p *pass) base() [32]byte {
	var all []byte
	for i := range p.work.rendered.Objects {
		d := &p.work.rendered.Objects[i]
		if d.Defines != nil || (d.Key == object.Key{Kind: "Namespace", Name: d.Key.Name}) {
			digest := p.digest(d.Key)
			all = append(all, digest[:]...)
		}
	}
	return sha256.Sum256(all)
}

// judged remembers a verdict.
func (p *pass) judged(c preview.Change, d *render.Desired, base [32]byte) {
	before := p.work.comparison.verdicts[c.Key]
	v := verdict{change: c, hash: d.Hash, policy: d.Policy, seen: p.digest(c.Key), base: base}
	if c.Action == preview.Refused && c.Asked {
		if before.change.Action == preview.Refused && before.hash == v.hash {
			v.attempts = before.attempts + 1
		}
		v.due = now().Add(retryAfter(v.attempts))
		p.soon(time.Until(v.due))
	}
	p.work.comparison.verdicts[c.Key] = v
}

// noteComparison says what was found, and whether the cluster counts as healthy at this content: it does when nothing differs,
// whoever made it so.
func (p *pass) noteComparison() {
	w := p.work
	changes := w.comparison.changes()
	before := w.status.Observed
	w.status.Observed = observation(changes)
	w.status.Observed.Commit, w.status.Observed.ContentID = w.status.Verified.Commit, w.content.String()
	if before == nil || before.ContentID != w.status.Observed.ContentID {
		w.status.HealthySince = nil // it was about what was there before
	}
	if before == nil || summary(before) != summary(w.status.Observed) {
		p.record(false, "Observed", summary(w.status.Observed))
	}
	w.problems.apply = nil
	for _, c := range changes {
		if c.Action == preview.Refused {
			w.problems.apply = append(w.problems.apply, v1alpha1.Problem{
				Kind: v1alpha1.ProblemApply, Object: c.Key.String(), File: c.File, Line: c.Line,
				Message: sentence(fmt.Errorf("%s could not be applied: %s", c.Key, c.Reason)),
			})
		}
	}
	waiting := p.count()
	if waiting == "" && len(w.problems.health) == 0 && len(w.problems.render) == 0 && !slices.ContainsFunc(changes, preview.Change.Differs) {
		p.healthy()
		return
	}
	w.status.HealthySince = nil
}

// changes are all verdicts, ordered by key, removals last.
func (c *comparison) changes() []preview.Change {
	all := make([]preview.Change, 0, len(c.verdicts)+len(c.removals))
	for _, v := range c.verdicts {
		all = append(all, v.change)
	}
	slices.SortFunc(all, func(a, b preview.Change) int { return a.Key.Compare(b.Key) })
	return append(all, c.removals...)
}

// observation sums changes up for a status.
func observation(changes []preview.Change) *v1alpha1.Observation {
	o := &v1alpha1.Observation{}
	counts := map[preview.Action]*int32{
		preview.Create: &o.Create, preview.Update: &o.Update, preview.Adopt: &o.Adopt, preview.Recreate: &o.Recreate,
		preview.Prune: &o.Prune, preview.Refused: &o.Refused,
	}
	for _, c := range changes {
		count, counts := counts[c.Action]
		switch {
		case c.Action == preview.None:
			o.Equal++
		case !counts:
		default:
			*count++
			if len(o.Changes) < v1alpha1.MaxChanges {
				o.Changes = append(o.Changes, changeOf(c))
			} else {
				o.ChangesOmitted++
			}
		}
	}
	return o
}

func changeOf(c preview.Change) v1alpha1.Change {
	change := v1alpha1.Change{
		Object: c.Key.String(), Action: string(c.Action), Reason: strings.ToValidUTF8(c.Reason[:min(len(c.Reason), maxMessage)], ""), File: c.File, Line: c.Line,
	}
	for _, f := range c.Fields[:min(len(c.Fields), v1alpha1.MaxChangedFields)] {
		change.Fields = append(change.Fields, f.Path)
	}
	change.FieldsOmitted = c.FieldsOmitted + len(c.Fields) - len(change.Fields)
	return change
}

// summary is an observation in a sentence.
func summary(o *v1alpha1.Observation) string {
	var parts []string
	for _, part := range []struct {
		n    int32
		verb string
	}{
		{o.Create, "create"}, {o.Update, "update"}, {o.Adopt, "adopt"}, {o.Recreate, "recreate"}, {o.Prune, "prune"}, {o.Refused, "fail at"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", part.verb, part.n))
		}
	}
	if len(parts) == 0 {
		return fmt.Sprintf("An apply would change nothing: %d objects are as Git says.", o.Equal)
	}
	return fmt.Sprintf("An apply would %s; %d objects are as Git says.", strings.Join(parts, ", "), o.Equal)
}
