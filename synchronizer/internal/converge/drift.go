package converge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/drift"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
)

const (
	// maxExplained bounds the drifted objects of a pass that are read to say what was changed in them; no more are listed.
	maxExplained = v1alpha1.MaxProblems
	// maxRewritten bounds the objects of a Sync of which is remembered that admission changes them. Those beyond are told again.
	maxRewritten = 4096
	// maxDescribed bounds what is said of one object, in bytes.
	maxDescribed = 400
	// explainAgain is how soon is looked again at an object that could not be read.
	explainAgain = time.Minute
)

// drifts is what passes remember of what others change.
type drifts struct {
	fights drift.Fights
	// left are the objects that differ and are left so.
	left map[object.Key]left
	// rewritten are the hashes of what admission was told to have changed, so that it is told once.
	rewritten map[object.Key][32]byte
}

// left is what is known of an object that is left as it is.
type left struct {
	found [32]byte // the digest that it had
	what  drift.Finding
	again time.Time // when it is looked into again, because that failed; zero for never
}

// isDue reports whether it is to be looked into again.
func (l left) isDue() bool { return !l.again.IsZero() && time.Until(l.again) <= 0 }

func isDrift(s plan.Step) bool { return s.Reason == plan.Drifted || s.Reason == plan.Vanished }

// rests reports whether an object that differs is not to be healed yet.
func (p *pass) rests(key object.Key) bool {
	return time.Until(p.work.drifts.fights.Due(key)) > 0
}

// explain asks for the first objects that differ to be read before they are healed.
func explain(steps []plan.Step) {
	asked := 0
	for i := range steps {
		if steps[i].Reason == plan.Drifted && asked < maxExplained {
			steps[i].Explain = true
			asked++
		}
	}
}

// healed takes note that an object that differed was applied again, and whether that changed anything.
func (p *pass) healed(r apply.Result, t *tally) {
	d := &p.work.drifts
	var what drift.Finding
	if r.Before != nil {
		what = drift.Changes(r.Step.Key, r.Before, r.Object)
	}
	if r.Step.Reason == plan.Drifted && p.unmoved(r, what) {
		return
	}
	p.loop.metrics.drifted.WithLabelValues(healed).Inc()
	d.fights.Healed(r.Step.Key, now(), what, r.Step.Writers)
	t.healed = append(t.healed, describeDrift(r.Step, what))
}

// unmoved reports whether a heal left the object as it was found, and tells once what admission makes of what is applied.
// What it leaves is the baseline from then on, and nobody is fought.
func (p *pass) unmoved(r apply.Result, what drift.Finding) bool {
	digest, _ := baseline.Of(r.Object, v1alpha1.FieldManager)
	same := digest == r.Step.Found
	if what.Moved() || r.Before == nil && !same {
		return false
	}
	rewritten := drift.Rewritten(r.Step.Key, r.Step.Desired.Object, r.Object)
	if rewritten.IsZero() && !same {
		return false // taken back from whoever took it over with the value that it has
	}
	p.accept(r.Step, rewritten)
	return true
}

// accept takes what admission makes of an object as the way it is, and tells so once.
func (p *pass) accept(s plan.Step, rewritten drift.Finding) {
	d := &p.work.drifts
	p.loop.metrics.drifted.WithLabelValues(asItIs).Inc()
	if rewritten.IsZero() || d.rewritten[s.Key] == s.Desired.Hash {
		return
	}
	if d.rewritten == nil || len(d.rewritten) >= maxRewritten {
		d.rewritten = map[object.Key][32]byte{}
	}
	d.rewritten[s.Key] = s.Desired.Hash
	message := clip(fmt.Sprintf("Admission changes what is applied, and that is taken as it is: %s (%s).", s.Key, clip(rewritten.String(), maxDescribed)), maxMessage)
	p.fact(report.Drifted, p.work.verified, p.work.content, message)
	p.record(true, "MutatedByAdmission", message)
}

// noteHeals takes note of what differs now, after what could be healed was.
func (p *pass) noteHeals(made plan.Plan) {
	d := &p.work.drifts
	for _, s := range made.Drift {
		d.fights.Forget(s.Key)
	}
	differs := map[object.Key]bool{}
	for _, s := range made.Resting {
		differs[s.Key] = true
		p.soon(time.Until(d.fights.Due(s.Key)))
	}
	for key := range p.work.failures {
		differs[key] = true
	}
	if next := d.fights.Look(now(), func(key object.Key) bool { return differs[key] }); !next.IsZero() {
		p.soon(time.Until(next))
	}
	p.noteFights()
}

// noteFights lists the objects that somebody fights for.
func (p *pass) noteFights() {
	w := p.work
	w.problems.fight = nil
	var begun []string
	for _, f := range w.drifts.fights.List() {
		origin := p.originOf(f.Key)
		problem := v1alpha1.Problem{
			Kind: v1alpha1.ProblemDrift, Object: f.Key.String(), File: origin.File, Line: origin.Line, Message: clip(describeFight(f), maxMessage),
		}
		w.problems.fight = append(w.problems.fight, problem)
		if f.New {
			begun = append(begun, problem.Message)
		}
	}
	if len(begun) > 0 {
		p.record(true, "Fighting", clip(strings.Join(begun, " "), maxMessage))
	}
}

func describeFight(f drift.Fight) string {
	by, at, pointers := "somebody", "", "/spec/FIELD"
	if len(f.Managers) > 0 {
		by = strings.Join(f.Managers, ", ")
	}
	if len(f.Paths) > 0 {
		at = " at " + strings.Join(f.Paths, ", ")
	}
	if len(f.Pointers) > 0 {
		pointers = strings.Join(f.Pointers, ",")
	}
	return fmt.Sprintf("%s is fought for: what is healed is changed again and again by %s%s, so that it is healed less and less often. "+
		"Leave it to the other by the annotation %s: %s or %s: report in Git, or stop the other.",
		f.Key, by, at, v1alpha1.AnnotationIgnore, pointers, v1alpha1.AnnotationDrift)
}

// describeDrift says what is known of an object that differs.
func describeDrift(s plan.Step, what drift.Finding) string {
	text := "changed"
	switch {
	case s.Reason == plan.Vanished:
		text = "removed"
	case !what.IsZero():
		text = clip(what.String(), maxDescribed)
	case len(s.Writers) > 0:
		text += " by " + strings.Join(s.Writers, ", ")
	}
	return fmt.Sprintf("%s (%s)", s.Key, text)
}

// clip bounds a text, in bytes.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-3], "") + "..."
}

// originOf returns where an object is written in Git.
func (p *pass) originOf(key object.Key) object.Origin {
	objects := p.work.rendered.Objects
	at := slices.IndexFunc(objects, func(d render.Desired) bool { return d.Key == key })
	if at < 0 {
		return object.Origin{}
	}
	return objects[at].Origin
}

// noteDrift lists what differs and is left so, and tells of what is new.
func (p *pass) noteDrift(ctx context.Context, made plan.Plan) {
	w := p.work
	w.problems.drift = nil
	known, before := w.drifts.left, w.status.Problems
	w.drifts.left = map[object.Key]left{}
	var news []string
	adopted := false
	looking, end := p.supersedable(ctx)
	defer end()
	for i, s := range made.Drift {
		is, seen := known[s.Key]
		if !seen || is.found != s.Found || is.isDue() {
			var same bool
			if is, same = p.lookInto(looking, s, i < maxExplained); same {
				adopted = true
				continue
			}
			seen = false
		}
		if !is.again.IsZero() {
			p.soon(time.Until(is.again))
		}
		w.drifts.left[s.Key] = is
		text := describeDrift(s, is.what)
		problem := v1alpha1.Problem{
			Kind: v1alpha1.ProblemDrift, Object: s.Key.String(), File: s.Desired.Origin.File, Line: s.Desired.Origin.Line,
			Message: text + " differs from Git and is left so, because the drift policy is report.",
		}
		w.problems.drift = append(w.problems.drift, problem)
		if !seen && !slices.Contains(before, problem) {
			news = append(news, text)
		}
	}
	w.unsaved = w.unsaved || adopted
	if len(made.Drift) > 0 && len(made.Steps) == 0 {
		w.rendered.Forget()
	}
	w.status.Objects.Drifted = int32(len(w.problems.drift) + len(made.Resting))
	p.tellLeft(news)
}

// lookInto says what differs in an object that is left as it is. It reports true when healing would leave it so as well, which
// makes it the baseline.
func (p *pass) lookInto(ctx context.Context, s plan.Step, worthIt bool) (left, bool) {
	if s.Reason == plan.Vanished || !worthIt {
		return left{found: s.Found}, false
	}
	trial := p.try(ctx, s)
	if trial.Err != nil || trial.Before == nil || trial.After == nil {
		p.loop.logger(p.key).Debug("drift not explained", errorField(trial.Err))
		again := now().Add(explainAgain)
		if ctx.Err() != nil {
			again = now() // newer content came, and is first
		}
		return left{found: s.Found, again: again}, false
	}
	if digest, _ := baseline.Of(trial.After, v1alpha1.FieldManager); digest == s.Found {
		p.accept(s, drift.Rewritten(s.Key, s.Desired.Object, trial.After))
		entry := p.work.inventory[s.Key]
		entry.Baseline = digest
		p.work.inventory[s.Key] = entry
		return left{}, true
	}
	return left{found: s.Found, what: drift.Changes(s.Key, trial.Before, trial.After)}, false
}

// try finds out what healing an object would come to, and writes nothing.
func (p *pass) try(ctx context.Context, s plan.Step) apply.Trial {
	if err := p.load(ctx, []plan.Step{s}); err != nil {
		return apply.Trial{Step: s, Err: err}
	}
	p.loop.rise() // as in take
	defer p.loop.sit()
	return p.loop.deps.Applier.Try(ctx, p.identity(), p.sync.Label(), s)
}

// tellLeft says what was found changed and is left so.
func (p *pass) tellLeft(objects []string) {
	if len(objects) == 0 {
		return
	}
	p.loop.metrics.drifted.WithLabelValues(told).Add(float64(len(objects)))
	message := clip("Found changed and left so: "+named(objects)+".", maxMessage)
	p.fact(report.Drifted, p.work.verified, p.work.content, message)
	p.record(true, "Drifted", message)
}
