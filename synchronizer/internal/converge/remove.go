package converge

import (
	"context"
	"fmt"

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
	l, label := p.loop, p.sync.Label()
	if p.sync.Spec.DeletionPolicy == v1alpha1.DeletionDelete && !p.sync.Spec.Observes() {
		if !l.deps.Live.Synced(label) { // the store wakes the Sync when it is
			if p.noteWatches(); len(p.work.problems.watch) > 0 {
				p.publish(ctx)
			}
			return
		}
		left := p.removals()
		if len(left) > 0 {
			p.take(ctx, left)
			p.noteFailures()
			p.publish(ctx)
			return // the watch wakes the Sync when they are gone
		}
	}
	if err := l.deps.Syncs.RemoveFinalizer(ctx, p.sync); err != nil {
		p.failed("finalizer not removed", fmt.Errorf("remove finalizer: %w", err))
	}
}

// removals are the steps that remove what the Sync owns, in the order of a prune. Its owner decided; there is no guard.
func (p *pass) removals() []plan.Step {
	in := p.inputWithout()
	in.Prune, in.AllowPrune = true, true
	return p.due(plan.Make(in))
}

func (p *pass) inputWithout() plan.Input {
	owned := p.loop.deps.Live.Owned(p.sync.Label())
	return plan.Input{Label: p.sync.Label(), Live: live.Planned(owned), Recorded: p.work.inventory}
}
