package converge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// remove takes away the objects of a Sync that is being deleted with deletionPolicy delete, and then lets it go. With
// orphan, and in mode observe, they stay as they are.
func (p *pass) remove(ctx context.Context) {
	if !hasFinalizer(p.sync) {
		return
	}
	keeps := p.sync.Spec.DeletionPolicy != v1alpha1.DeletionDelete || p.sync.Spec.Observes()
	if !keeps && !p.removeObjects(ctx) {
		return // a watch wakes the Sync when they are gone
	}
	if err := p.loop.deps.Syncs.RemoveFinalizer(ctx, p.sync); err != nil {
		p.failed("finalizer not removed", fmt.Errorf("remove finalizer: %w", err))
	}
}

// removeObjects takes away what the Sync owns, and reports whether all of it is gone.
func (p *pass) removeObjects(ctx context.Context) bool {
	if !p.seesAll() { // the store wakes the Sync when it does
		if p.noteWatches(); len(p.work.problems.watch) > 0 {
			p.publish(ctx)
		}
		return false
	}
	made := plan.Make(p.inputWithout())
	if len(made.Steps) == 0 {
		return true
	}
	if left := p.due(made); len(left) > 0 { // else what failed is tried again later
		p.take(ctx, left)
	}
	p.noteFailures()
	p.publish(ctx)
	return false
}

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
