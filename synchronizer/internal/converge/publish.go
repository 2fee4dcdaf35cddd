package converge

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
)

const (
	// countsEvery bounds how often a status is written in which only the counts of objects differ.
	countsEvery = 5 * time.Second
	// passingWait is how long a status waits that says no more than that something moves.
	passingWait = time.Second
	// crowdedWait is how long a status waits that tells of no trouble while Syncs wait for a worker, at most. A status costs
	// the API server as much as several objects: when a commit moves a thousand Syncs, what they are made of goes first.
	crowdedWait = 30 * time.Second
)

// publish says what the pass found: facts first, as they are kept on disk, then status to the automator. What only the next
// process needs comes behind that: the inventory, then the resource's status where it changed, which says where that is.
func (p *pass) publish(ctx context.Context) {
	w := p.work
	p.summarise()
	images := p.images()
	for i := range p.facts {
		p.facts[i].Objects = w.status.Objects
		if p.facts[i].State == report.Healthy {
			p.facts[i].Images = images
		}
		p.loop.deps.Reporter.Fact(p.facts[i])
	}
	p.sync.Status = *w.status.DeepCopy()
	if err := p.loop.deps.Reporter.Status(p.sync, p.loop.deps.Unverified, images); err != nil {
		p.loop.logger(p.key).Error("status not reported", errorField(err))
	}
	p.save(ctx)
	p.write(ctx)
	p.reached()
	for _, event := range p.events {
		p.loop.deps.Events.Record(event)
	}
}

// write puts the status on the resource, now or when its time has come.
func (p *pass) write(ctx context.Context) {
	if !p.work.owesStatus() {
		p.work.owedSince = time.Time{}
		return
	}
	yields := p.yields() // asked once: it changes meanwhile
	if wait := p.mayWait(yields); wait > 0 {
		p.soon(wait)
		if yields {
			p.owe()
		}
		return
	}
	if err := p.writeStatus(ctx); err != nil {
		p.failed("status not written", err)
	}
}

// owesStatus reports whether the API server lacks the status and may have it: one never says more than the inventory knows, lest
// the next process takes for applied what it has no record of.
func (w *work) owesStatus() bool {
	return !reflect.DeepEqual(w.status, w.written) && (!w.unsaved || reflect.DeepEqual(w.status.Applied, w.written.Applied))
}

// mayWait returns for how long the status need not be written. Trouble is written at once, and so is how something ended
// unless it yields to more important work.
func (p *pass) mayWait(yields bool) time.Duration {
	w := p.work
	switch {
	case onlyCounts(w.status, w.written), w.stillLeaves():
		return countsEvery - time.Since(w.wroteAt)
	case len(w.status.Problems) > 0 || p.mustRemember():
		return 0
	case w.status.State != v1alpha1.StateInProgress && w.status.State != v1alpha1.StateHealthy:
		return 0
	}
	if w.owedSince.IsZero() {
		w.owedSince = now()
	}
	owed := time.Since(w.owedSince)
	switch {
	case yields:
		return crowdedWait - owed
	case w.status.State == v1alpha1.StateHealthy:
		return 0
	default:
		return passingWait - owed
	}
}

// stillLeaves reports whether all that changed since the last write is what a Sync that is being deleted waits for.
func (w *work) stillLeaves() bool {
	return w.leaving.message != "" && meta.FindStatusCondition(w.written.Conditions, v1alpha1.ConditionDeleting) != nil && len(w.status.Problems) == len(w.written.Problems)
}

// mustRemember reports whether the next process would do harm if it did not know the status: it would take what we applied
// for somebody else's change and leave it so, run a hook again that has run, or tell of another heal under the id of the last.
func (p *pass) mustRemember() bool {
	w := p.work
	for _, state := range []report.State{report.Healed, report.Drifted} {
		if w.status.Attempts[string(state)] > w.written.Attempts[string(state)] {
			return true
		}
	}
	if w.rendered == nil || w.status.Shards == w.written.Shards && bytes.Equal(w.status.Inventory, w.written.Inventory) {
		return false
	}
	return slices.ContainsFunc(w.rendered.Objects, func(d render.Desired) bool {
		return d.Policy.Hook != "" || cmp.Or(d.Policy.Drift, p.sync.Spec.DriftPolicy()) != v1alpha1.DriftHeal
	})
}

// writeStatus puts the status on the resource.
func (p *pass) writeStatus(ctx context.Context) error {
	w := p.work
	p.sync.Status = *w.status.DeepCopy()
	if err := p.loop.deps.Syncs.WriteStatus(ctx, p.sync); err != nil {
		return err
	}
	p.loop.kinds.replace(w.written.Kinds, w.status.Kinds)
	w.written, w.wroteAt, w.owedSince = *w.status.DeepCopy(), now(), time.Time{}
	return nil
}

func onlyCounts(a, b v1alpha1.Status) bool {
	a.Objects, b.Objects = v1alpha1.Counts{}, v1alpha1.Counts{}
	a.Conditions, b.Conditions = nil, nil
	return a.State == b.State && reflect.DeepEqual(a, b)
}

// summarise derives state, problems and conditions from what the steps found.
func (p *pass) summarise() {
	w := p.work
	all := w.problems.all()
	w.status.Problems = append([]v1alpha1.Problem(nil), all[:min(len(all), v1alpha1.MaxProblems)]...)
	w.status.ProblemsOmitted = len(all) - len(w.status.Problems)
	w.status.State = p.state()
	w.status.Commit = ""
	if w.status.Applied != nil {
		w.status.Commit = w.status.Applied.Commit[:min(12, len(w.status.Applied.Commit))]
	}
	p.conditions()
}

func (p *pass) state() v1alpha1.State {
	w := p.work
	switch {
	case p.sync.Spec.Suspend:
		return v1alpha1.StateSuspended
	case len(w.problems.verify) > 0:
		return v1alpha1.StateRefused
	case p.sync.Spec.Observes() && w.status.Verified != nil && len(w.problems.config)+len(w.problems.render) == 0:
		return v1alpha1.StateObserving
	case len(w.problems.config)+len(w.problems.render)+len(w.problems.conflict)+len(w.problems.owned)+len(w.problems.apply)+len(w.problems.prune)+len(w.problems.health) > 0:
		return v1alpha1.StateFailed
	case w.status.Verified == nil:
		return v1alpha1.StateWaiting
	case w.status.HealthySince == nil || !p.isApplied():
		return v1alpha1.StateInProgress
	default:
		return v1alpha1.StateHealthy
	}
}

// conditions says the same in the words that kubectl wait understands. Messages hold no clock values and do not flap.
func (p *pass) conditions() {
	w := p.work
	set := func(kind string, good bool, reason, message string) {
		status := metav1.ConditionFalse
		if good {
			status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&w.status.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: p.sync.Generation,
		})
	}
	state := w.status.State
	ready := state == v1alpha1.StateHealthy || state == v1alpha1.StateObserving && w.status.HealthySince != nil
	set(v1alpha1.ConditionReady, ready, string(state), p.headline())
	set(v1alpha1.ConditionVerified, len(w.problems.verify) == 0 && w.status.Verified != nil, pick(len(w.problems.verify) == 0, "Verified", "Refused"),
		first(w.problems.verify, commitMessage("Verified", w.status.Verified)))
	applied := w.status.Applied != nil && len(w.problems.apply)+len(w.problems.render)+len(w.problems.prune) == 0
	set(v1alpha1.ConditionApplied, applied, pick(applied, "Applied", "NotApplied"),
		first(append(append([]v1alpha1.Problem(nil), w.problems.render...), append(w.problems.apply, w.problems.prune...)...), commitMessage("Applied", w.status.Applied)))
	healthy := w.status.HealthySince != nil
	set(v1alpha1.ConditionHealthy, healthy, pick(healthy, "Current", pick(len(w.problems.health) > 0, "Failed", "InProgress")),
		first(w.problems.health, pick(healthy, "Every object is Current.", p.rolling())))
	if p.sync.Spec.Observes() {
		compared := w.status.Observed != nil && w.status.Observed.ContentID == w.content.String()
		set(v1alpha1.ConditionObserved, compared, pick(compared, "Compared", "Comparing"), p.observed())
	}
	if len(w.problems.fight) > 0 {
		set(v1alpha1.ConditionFighting, true, "HealsUndone", w.problems.fight[0].Message)
	} else {
		meta.RemoveStatusCondition(&w.status.Conditions, v1alpha1.ConditionFighting)
	}
	if w.leaving.message != "" {
		set(v1alpha1.ConditionDeleting, true, w.leaving.reason, w.leaving.message)
	}
	if p.loop.deps.Unverified {
		set(v1alpha1.ConditionUnverified, true, "TrustModeRelay", "Commit signatures are not checked, because trust.mode is relay.")
	} else {
		meta.RemoveStatusCondition(&w.status.Conditions, v1alpha1.ConditionUnverified)
	}
}

func (p *pass) headline() string {
	w := p.work
	if len(w.status.Problems) > 0 {
		return w.status.Problems[0].Message
	}
	if w.leaving.message != "" {
		return w.leaving.message
	}
	switch w.status.State {
	case v1alpha1.StateHealthy:
		return fmt.Sprintf("Commit %s is applied and every object is Current.", w.status.Commit)
	case v1alpha1.StateSuspended:
		return "Suspended: nothing is applied and no drift is healed."
	case v1alpha1.StateWaiting:
		return "Nothing has arrived for this Sync yet."
	case v1alpha1.StateObserving:
		return p.observed()
	default:
		return p.rolling()
	}
}

// observed says what an apply would do.
func (p *pass) observed() string {
	w := p.work
	if w.status.Observed == nil || w.status.Observed.ContentID != w.content.String() {
		return "Objects are being compared; nothing is applied in mode observe."
	}
	return summary(w.status.Observed)
}

// rolling says what is waited for when nothing is wrong.
func (p *pass) rolling() string {
	if w := p.work; w.behind != "" {
		text := "Waits for " + w.behind
		if w.behindWhy != "" {
			text += ": " + w.behindWhy
		}
		return clip(text, maxMessage-1) + "."
	}
	if verified := p.work.status.Verified; verified != nil && !p.isApplied() && !p.sync.Spec.Observes() {
		return fmt.Sprintf("Commit %.12s is being applied.", verified.Commit)
	}
	return "Objects are rolling out."
}

func pick(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

func first(problems []v1alpha1.Problem, otherwise string) string {
	if len(problems) > 0 {
		return problems[0].Message
	}
	return otherwise
}

func commitMessage(verb string, stage *v1alpha1.Stage) string {
	if stage == nil {
		return "Nothing yet."
	}
	return fmt.Sprintf("%s %.12s.", verb, stage.Commit)
}
