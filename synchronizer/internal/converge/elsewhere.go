package converge

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
)

// elsewhere are the Syncs that other replicas work for, as their resources say. They are known for three reasons: what carries
// their label is not ours to take, people ask any replica how they are, and our own may depend on them.
//
// What a replica knows of its own Syncs before it is in their status, namely that something has arrived, another cannot see. So
// it follows the trees of those that its own depend on: what arrives for one arrives for the other, in one delivery, and a
// commit that changes both is applied in order.
type elsewhere struct {
	syncs  map[types.NamespacedName]*foreign
	labels map[string]bool // LabelSync's values
}

// foreign is a Sync of another replica. It is not changed but replaced.
type foreign struct {
	sync *v1alpha1.Sync
	// followed says that its tree is followed here, and known that its newest is known: the automator has told of it since then,
	// or its tree is not to be followed, and its status says enough.
	followed, known bool
	// trouble is why nothing newer of its tree arrives; nil when that would.
	trouble error
	// arrived is the newest commit that arrived here since then; zero for none.
	arrived gitobject.ID
}

// base returns the commit that the next transfer of its tree starts from. Nothing is verified of it here, so what has arrived
// need not come again.
func (f *foreign) base() gitobject.ID {
	if f.arrived.IsZero() {
		return startOf(f.sync)
	}
	return f.arrived
}

// owns reports whether this replica works for a Sync.
func (l *Loop) owns(key types.NamespacedName) bool {
	return l.deps.Owns == nil || l.deps.Owns(key.Namespace, key.Name)
}

// isShared reports whether other replicas work for Syncs, too.
func (l *Loop) isShared() bool { return l.deps.Shared != nil && l.deps.Shared() }

// Elsewhere reports whether there is a Sync that another replica works for.
func (l *Loop) Elsewhere(namespace, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.elsewhere.syncs[types.NamespacedName{Namespace: namespace, Name: name}] != nil
}

// changedElsewhere takes the newest resource of a Sync of another replica.
func (l *Loop) changedElsewhere(key types.NamespacedName, s *v1alpha1.Sync) {
	l.showWritten(key, s)
	l.deps.Live.Foreign(s.Label(), true)
	l.mu.Lock()
	before, now := l.elsewhere.syncs[key], &foreign{sync: slim(s)}
	same := before != nil && before.sync.UID == s.UID && equalTrees(before.sync, s)
	if same {
		now.followed, now.known, now.trouble, now.arrived = before.followed, before.known, before.trouble, before.arrived
	}
	l.elsewhere.syncs[key] = now
	l.elsewhere.labels[s.Label()] = true
	if before == nil || !looksLike(before.sync, s) {
		l.wake(key)
	}
	moved := !same || before.base() != now.base()
	followed := moved && len(l.waiters[key]) > 0
	l.mu.Unlock()
	if followed {
		l.resubscribe()
	}
}

// slim is a Sync without what only its own replica needs: the larger part of it, in each replica.
func slim(s *v1alpha1.Sync) *v1alpha1.Sync {
	less := *s
	less.ManagedFields, less.Status.Inventory = nil, nil
	return &less
}

// goneElsewhere takes note that a Sync of another replica no longer exists.
func (l *Loop) goneElsewhere(key types.NamespacedName) {
	l.deps.Reporter.Removed(key.Namespace, key.Name)
	label := v1alpha1.Label(key.Namespace, key.Name)
	l.deps.Live.Foreign(label, false)
	l.mu.Lock()
	followed := len(l.waiters[key]) > 0
	delete(l.elsewhere.syncs, key)
	delete(l.elsewhere.labels, label)
	l.mu.Unlock()
	if followed {
		l.resubscribe()
	}
}

// deliveredElsewhere takes note of what arrived for Syncs of other replicas, before those that depend on them hear of it. It
// reports whether that is where the next transfers start from.
func (l *Loop) deliveredElsewhere(d relay.Delivery) (moved bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range l.awaited() {
		f := l.elsewhere.syncs[key]
		if _, brought := d.Chains[key.String()]; f == nil || !f.followed || !brought || sourceOf(f.sync) != d.Source {
			continue
		}
		now := &foreign{sync: f.sync, followed: true, known: true, arrived: d.Commit}
		moved = moved || now.base() != f.base()
		l.elsewhere.syncs[key] = now
		l.wake(key)
	}
	return moved
}

// readyElsewhere takes note that nothing newer than what is held is to come for Syncs of other replicas.
func (l *Loop) readyElsewhere(source revision.Source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range l.awaited() {
		if f := l.elsewhere.syncs[key]; f != nil && sourceOf(f.sync) == source {
			l.know(key, f, f.trouble)
		}
	}
}

// deniedElsewhere takes note of which Syncs of other replicas need a denied path: nothing is to come for them. For the others
// something may, so what was in its way counts no more, and what is known of them stays as it is.
func (l *Loop) deniedElsewhere(source revision.Source, paths []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range l.awaited() {
		f := l.elsewhere.syncs[key]
		if f == nil || sourceOf(f.sync) != source {
			continue
		}
		if denied := denial(f.sync, paths); denied != nil {
			l.know(key, f, denied)
		} else {
			l.hinder(key, f, nil)
		}
	}
}

// problemElsewhere takes note of why nothing arrives for the Syncs of other replicas that follow a source.
func (l *Loop) problemElsewhere(source revision.Source, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range l.awaited() {
		if f := l.elsewhere.syncs[key]; f != nil && sourceOf(f.sync) == source {
			l.hinder(key, f, cause)
		}
	}
}

// hinder takes note of why nothing newer of a followed tree arrives; nil when that would. The caller holds mu.
func (l *Loop) hinder(key types.NamespacedName, f *foreign, trouble error) {
	if !f.followed || sameError(f.trouble, trouble) {
		return
	}
	l.elsewhere.syncs[key] = &foreign{sync: f.sync, followed: true, known: f.known, trouble: trouble, arrived: f.arrived}
	l.wake(key)
}

// know takes note that the newest of a followed tree is known, or why it does not arrive. The caller holds mu.
func (l *Loop) know(key types.NamespacedName, f *foreign, trouble error) {
	if !f.followed || f.known && sameError(f.trouble, trouble) {
		return
	}
	l.elsewhere.syncs[key] = &foreign{sync: f.sync, followed: true, known: true, trouble: trouble, arrived: f.arrived}
	l.wake(key)
}

// awaited are the Syncs of other replicas that those of this one depend on, and may. The caller holds mu.
func (l *Loop) awaited() (keys []types.NamespacedName) {
	for on, by := range l.waiters {
		if !l.owns(on) && l.mayBeAwaited(on, by) {
			keys = append(keys, on)
		}
	}
	return keys
}

// mayBeAwaited reports whether a Sync may be depended on by one of some at least.
func (l *Loop) mayBeAwaited(on types.NamespacedName, by map[types.NamespacedName]bool) bool {
	for key := range by {
		if l.deps.DependOn(key.Namespace, on.Namespace) == nil {
			return true
		}
	}
	return false
}

// known returns a Sync, whoever works for it; nil for none. The caller holds mu.
func (l *Loop) known(key types.NamespacedName) *v1alpha1.Sync {
	if e := l.entries[key]; e != nil && e.sync != nil {
		return e.sync
	}
	if f := l.elsewhere.syncs[key]; f != nil {
		return f.sync
	}
	return nil
}

// followElsewhere adds the trees of the Syncs that ours depend on to what is followed. What arrived for one is forgotten where
// it is followed no more: nobody here would hear of anything newer, and its status says enough. The caller holds mu.
func (l *Loop) followElsewhere(bySource map[revision.Source]*relay.Subscription) {
	followed := map[types.NamespacedName]bool{} // all that are awaited
	for _, key := range l.awaited() {
		followed[key] = false
		f := l.elsewhere.syncs[key]
		if f == nil || f.sync.DeletionTimestamp != nil {
			continue
		}
		paths, err := l.pathsOf(f.sync)
		sub := bySource[sourceOf(f.sync)]
		if err != nil || sub == nil {
			continue
		}
		if followed[key] = true; !f.followed {
			f = &foreign{sync: f.sync, followed: true}
			l.elsewhere.syncs[key] = f
		}
		sub.Trees = append(sub.Trees, treeToFollow(f.sync, paths, f.base()))
	}
	listed := l.isListed() // before, a Sync of the same source may still come
	for key, f := range l.elsewhere.syncs {
		follows, awaited := followed[key]
		if follows {
			continue
		}
		if known := awaited && listed; f.followed || f.known != known {
			l.elsewhere.syncs[key] = &foreign{sync: f.sync, known: known}
			l.wake(key)
		}
	}
}

// roots returns what the object store must keep to tell what arrived for Syncs.
func (o elsewhere) roots(keys []types.NamespacedName) (roots []objects.Root) {
	for _, key := range keys {
		f := o.syncs[key]
		if f == nil {
			continue
		}
		paths, err := treeOf(f.sync)
		if err != nil {
			continue
		}
		for _, commit := range []gitobject.ID{startOf(f.sync), f.arrived} {
			if !commit.IsZero() {
				roots = append(roots, objects.Root{Commit: commit, Paths: paths})
			}
		}
	}
	return roots
}

// readyElsewhere reports whether a Sync of another replica is healthy at what is known to have arrived for it, by its status,
// and returns it for those who ask something else; nil while it has not taken that in.
func (p *pass) readyElsewhere(ctx context.Context, f *foreign) (healthy bool, shown *v1alpha1.Sync) {
	s := f.sync
	if s.Status.ObservedGeneration != s.Generation || !p.tookIn(ctx, f) {
		return false, nil
	}
	applied, verified := s.Status.Applied, s.Status.Verified
	switch s.Status.State {
	case v1alpha1.StateHealthy:
		healthy = applied != nil && verified != nil && applied.ContentID == verified.ContentID
	case v1alpha1.StateObserving:
		healthy = s.Status.HealthySince != nil
	default:
	}
	return healthy, s
}

// tookIn reports whether the status of a Sync of another replica is about what arrived for it.
func (p *pass) tookIn(ctx context.Context, f *foreign) bool {
	if !f.known || f.arrived.IsZero() {
		return f.known
	}
	paths, err := treeOf(f.sync)
	if err != nil {
		return false
	}
	content, err := p.loop.deps.Trees.ContentID(ctx, f.arrived, paths)
	if err != nil {
		p.failed("what arrived for a Sync that this one depends on is not known", err)
		return false
	}
	return f.sync.Status.Verified != nil && f.sync.Status.Verified.ContentID == content.String()
}
