package converge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// leaving says what a Sync that is being deleted waits for. Its zero value is of one that stays.
type leaving struct {
	reason, message string    // of the condition Deleting
	since           time.Time // since when objects that are on their way out are waited for; zero while none are
}

// remove takes away the objects of a Sync that is being deleted with deletionPolicy delete, and lets it go once they are gone.
// With orphan, which may be chosen meanwhile, and in mode observe, they stay as they are.
func (p *pass) remove(ctx context.Context) {
	if !hasFinalizer(p.sync) {
		return
	}
	keeps := p.sync.Spec.DeletionPolicy != v1alpha1.DeletionDelete || p.sync.Spec.Observes()
	if !keeps && !p.removeObjects(ctx) {
		p.publish(ctx)
		return // a watch wakes the Sync when they are gone
	}
	if err := p.loop.deps.Syncs.RemoveFinalizer(ctx, p.sync); err != nil {
		p.failed("finalizer not removed", fmt.Errorf("remove finalizer: %w", err))
	}
}

// removeObjects takes away what the Sync owns, and reports whether all of it is gone.
func (p *pass) removeObjects(ctx context.Context) bool {
	w := p.work
	w.problems, w.status.HealthySince = problems{}, nil // what was wrong before keeps nobody any more
	w.leaving.reason, w.leaving.message = v1alpha1.ReasonRemoving, "Removes the objects of this Sync."
	recorded := meta.FindStatusCondition(w.written.Conditions, v1alpha1.ConditionDeleting)
	if !p.seesAll() { // the store wakes the Sync when it does
		p.noteWatches()
		if recorded != nil {
			w.leaving.reason, w.leaving.message = recorded.Reason, recorded.Message
		}
		return false
	}
	w.unsigned, w.refused = nil, nil // what kept objects from being written keeps none from going
	made := plan.Make(p.inputWithout())
	remain := slices.DeleteFunc(made.Leaving, p.outlives)
	if len(made.Steps)+len(remain) == 0 {
		return true
	}
	if left := p.due(made); len(left) > 0 { // else what failed is tried again later
		p.take(ctx, left)
		p.soon(removeAgain)
	}
	p.noteFailures()
	p.noteRemaining(remain, recorded)
	return false
}

// removeAgain is how soon is looked again whether what was removed goes. The watch says so before, unless the API server did nothing.
const removeAgain = 10 * time.Second

// outlives reports whether an object that is on its way out cannot go before the Sync does: the Sync itself, if it is among its
// own objects, its namespace, and the definition of its kind.
func (p *pass) outlives(key object.Key) bool {
	switch key {
	case p.self(),
		object.Key{Kind: "Namespace", Name: p.sync.Namespace},
		object.Key{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: v1alpha1.Resource + "." + v1alpha1.Group}:
		return true
	}
	return false
}

// noteRemaining says which objects have to go before the Sync does, and what holds them. It is a problem when that takes longer
// than objects may take to become Current: whoever set a finalizer takes it off, or never does.
func (p *pass) noteRemaining(remain []object.Key, recorded *metav1.Condition) {
	w := p.work
	if len(remain) == 0 {
		w.leaving.since = time.Time{}
		return
	}
	if w.leaving.since.IsZero() {
		w.leaving.since = p.beganToRemain(recorded)
	}
	names := make([]string, 0, len(remain))
	for _, key := range remain {
		if record, there := p.loop.deps.Live.Get(key); there { // else it wakes the Sync
			names = append(names, fmt.Sprintf("%s (%s)", key, record.Health.Message))
		}
	}
	w.leaving.reason = v1alpha1.ReasonObjectsRemain
	w.leaving.message = clip("Waits for objects that are being deleted: "+named(names), maxRemaining) + ". To let the Sync go without them: " +
		fmt.Sprintf(`kubectl -n %s patch sync %s --type merge -p '{"spec":{"deletionPolicy":"orphan"}}'`, p.sync.Namespace, p.sync.Name)
	left := time.Until(w.leaving.since.Add(p.sync.Spec.HealthDeadline()))
	if left > 0 {
		p.soon(left)
		return
	}
	w.problems.prune = []v1alpha1.Problem{{Kind: v1alpha1.ProblemPrune, Message: w.leaving.message}}
}

// beganToRemain returns since when nothing but what is on its way out keeps the Sync: now, or as a former process recorded.
func (p *pass) beganToRemain(recorded *metav1.Condition) time.Time {
	if recorded == nil || recorded.Reason != v1alpha1.ReasonObjectsRemain {
		return now()
	}
	return resume(recorded.LastTransitionTime.Time, p.sync.Spec.HealthDeadline(), hasProblem(p.work.written, v1alpha1.ProblemPrune))
}

// maxRemaining bounds what is said of the objects that remain, in bytes; the names of a namespace and a Sync come behind.
const maxRemaining = 500

// seesAll reports whether all that the Sync owns is known: the kinds that it lists have been listed, and those of all other
// Syncs, among which are kinds that a process made for it and was killed before it listed them. What the API server
// refuses of the others' keeps nobody.
func (p *pass) seesAll() bool {
	l, label, own := p.loop, p.sync.Label(), p.work.status.Kinds
	if !l.isListed() {
		p.soon(time.Second)
		return false
	}
	l.deps.Live.Need(label, l.everyKind(own))
	return !slices.ContainsFunc(l.deps.Live.Unlisted(label), func(u live.Unlisted) bool {
		return u.Refused == nil || slices.ContainsFunc(own, func(k v1alpha1.ObjectKind) bool { return k.Group == u.Kind.Group && k.Kind == u.Kind.Kind })
	})
}

// inputWithout plans the removal of all that the Sync owns, in the order of a prune. Its owner decided; there is no guard.
func (p *pass) inputWithout() plan.Input {
	owned := p.loop.deps.Live.Planned(p.sync.Label())
	return plan.Input{Label: p.sync.Label(), Live: owned, Recorded: p.work.inventory, Prune: true, AllowPrune: true}
}
