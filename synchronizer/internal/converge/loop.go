package converge

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/tandem-cd/tandem/shared/fair"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
)

// DefaultWorkers is how many Syncs are worked on at a time.
const DefaultWorkers = 8

// Loop is the converge loop. Its methods that take events never block.
type Loop struct {
	deps  Deps
	queue workqueue.TypedDelayingInterface[types.NamespacedName]
	seats chan struct{} // full when every worker is at a Sync
	lanes *fair.Lanes[types.NamespacedName]

	metrics *metrics
	kinds   kindBook
	crowded func() bool   // whether Syncs wait for a worker
	reshape chan struct{} // what is to be followed may have changed
	rebased chan struct{} // a Sync stands elsewhere

	mu        sync.Mutex
	entries   map[types.NamespacedName]*entry
	labels    map[string]types.NamespacedName // by LabelSync's value
	elsewhere elsewhere                       // the Syncs of other replicas
	waiters   waiters
	owing     []types.NamespacedName // whose statuses are written when there is nothing more important, oldest first
	listed    chan struct{}          // closed when every Sync is known
}

// entry is one Sync. The worker that holds its key owns work; the rest is what others tell it.
type entry struct {
	sync      *v1alpha1.Sync
	gone      bool
	announced *announcement
	delivery  *relay.Delivery
	trouble   error          // why nothing of its source arrives
	denied    error          // why nothing of its paths does
	base      gitobject.ID   // the last verified commit; what the next transfer starts from
	now       bool           // a person asked for a pass
	healthy   bool           // what the last pass found; false while another works on a delivery
	shown     *v1alpha1.Sync // what the last pass found, for those that depend on it; nil while another works on a delivery
	waits     bool           // for a Sync that it depends on
	owes      bool           // its status, to the API server; the key is among owing
	settles   bool           // the next pass writes the status that is owed

	supersede context.CancelFunc // ends the apply that runs now; nil when none does
	work      *work
}

type announcement struct {
	commit gitobject.ID
	at     time.Time
}

// New returns a loop.
func New(deps Deps) *Loop {
	if deps.Workers <= 0 {
		deps.Workers = DefaultWorkers
	}
	l := &Loop{
		deps:    deps,
		queue:   newQueue(),
		seats:   make(chan struct{}, deps.Workers),
		lanes:   fair.NewLanes[types.NamespacedName](deps.Workers * lanesPerWorker),
		entries: map[types.NamespacedName]*entry{}, labels: map[string]types.NamespacedName{}, waiters: waiters{},
		elsewhere: elsewhere{syncs: map[types.NamespacedName]*foreign{}, labels: map[string]bool{}},
		kinds:     kindBook{listed: map[v1alpha1.ObjectKind]int{}},
		reshape:   make(chan struct{}, 1),
		rebased:   make(chan struct{}, 1),
		listed:    make(chan struct{}),
	}
	l.crowded = l.Crowded
	l.metrics = newMetrics(deps.Metrics, l)
	return l
}

// Crowded reports whether Syncs wait for a worker or a lane. What can wait does then.
func (l *Loop) Crowded() bool { return l.queue.Len() > 0 || l.lanes.Waiting() > 0 }

// Listed is closed when every Sync is known.
func (l *Loop) Listed() <-chan struct{} { return l.listed }

// Run works until the context is done.
func (l *Loop) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { <-ctx.Done(); l.queue.ShutDown(); return nil })
	group.Go(func() error { l.follow(ctx); return nil })
	group.Go(func() error { l.dispatch(ctx, group); return nil })
	err := group.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// flushes is how many statuses Flush writes at a time.
const flushes = 8

// Flush writes the statuses that wait for their time, or could not be written, until ctx is done. It is for when Run has
// returned: who works next then begins where this one ended.
func (l *Loop) Flush(ctx context.Context) {
	l.mu.Lock()
	var waiting []*v1alpha1.Sync
	for _, e := range l.entries {
		if e.sync != nil && !e.gone && e.work != nil && e.work.owesStatus() {
			s := e.sync.DeepCopy()
			s.Status = *e.work.status.DeepCopy()
			waiting = append(waiting, s)
		}
	}
	l.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(flushes)
	for _, s := range waiting {
		group.Go(func() error {
			if err := l.deps.Syncs.WriteStatus(ctx, s); err != nil {
				l.logger(types.NamespacedName{Namespace: s.Namespace, Name: s.Name}).Warn("status not written", zap.Error(err))
			}
			return nil
		})
	}
	_ = group.Wait() // none returns an error
}

// SyncChanged takes a Sync's newest resource.
func (l *Loop) SyncChanged(s *v1alpha1.Sync) {
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	if !l.owns(key) {
		l.changedElsewhere(key, s)
		return
	}
	if s.Status.State != "" && !l.knows(key) {
		l.showWritten(key, s) // the first pass may be far away, and the first full report is not
	}
	l.mu.Lock()
	e := l.entries[key]
	if e != nil && e.sync != nil && e.sync.UID != s.UID {
		e.gone = true // it was deleted and made anew between two looks; the pass starts over
		e.base, e.delivery, e.announced, e.trouble = startOf(s), nil, nil, nil
	}
	if e == nil {
		e = &entry{base: startOf(s)}
		l.entries[key] = e
		l.labels[s.Label()] = key
	}
	relevant := e.sync == nil || e.gone || isRelevant(e.sync, s)
	if e.sync != nil && !equalTrees(e.sync, s) {
		e.base, e.delivery = sinceOf(s), nil // what was verified says nothing about other paths
	}
	if e.sync != nil && sinceOf(e.sync) != sinceOf(s) && e.base == sinceOf(e.sync) {
		e.base, e.delivery = sinceOf(s), nil // nothing is verified yet, and what arrived began elsewhere
	}
	l.waiters.replace(key, e.sync, s)
	e.sync = s
	l.mu.Unlock()
	if relevant {
		l.resubscribe()
		l.queue.Add(key)
	}
}

// knows reports whether a Sync of this replica was seen before.
func (l *Loop) knows(key types.NamespacedName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[key] != nil
}

// showWritten shows a Sync as its resource says it is.
func (l *Loop) showWritten(key types.NamespacedName, s *v1alpha1.Sync) {
	if err := l.deps.Reporter.Status(s, l.deps.Unverified, nil); err != nil {
		l.logger(key).Error("status not shown", zap.Error(err))
	}
}

// isRelevant reports whether a change needs a pass: our own status writes do not.
func isRelevant(before, now *v1alpha1.Sync) bool {
	return before.Generation != now.Generation || (before.DeletionTimestamp == nil) != (now.DeletionTimestamp == nil) ||
		!maps.Equal(before.Annotations, now.Annotations) || !maps.Equal(before.Labels, now.Labels)
}

// SyncGone takes note that a Sync no longer exists.
func (l *Loop) SyncGone(key types.NamespacedName) {
	if !l.owns(key) {
		l.goneElsewhere(key)
		return
	}
	l.mu.Lock()
	if e := l.entries[key]; e != nil {
		l.waiters.replace(key, e.sync, nil)
		e.gone, e.sync = true, nil
	}
	l.mu.Unlock()
	l.resubscribe()
	l.queue.Add(key)
}

// SyncsListed takes note that every Sync is known.
func (l *Loop) SyncsListed() {
	close(l.listed)
	l.resubscribe() // what is followed for other replicas is certain now
}

func (l *Loop) isListed() bool {
	select {
	case <-l.listed:
		return true
	default:
		return false
	}
}

// ObjectChanged takes note that something about the objects of a Sync changed. It is what the live store calls.
func (l *Loop) ObjectChanged(label string) {
	l.mu.Lock()
	key, ok := l.labels[label]
	l.mu.Unlock()
	if ok {
		l.queue.Add(key)
	}
}

// Announced takes note of a source's newest commit.
func (l *Loop) Announced(source revision.Source, commit gitobject.ID, at time.Time) {
	l.each(source, func(e *entry) bool {
		e.announced, e.trouble = &announcement{commit: commit, at: at}, nil
		return false // what matters is the delivery
	})
}

// Deliver takes what arrived. An apply that runs for something older ends after its present objects.
func (l *Loop) Deliver(d relay.Delivery) {
	if l.deliveredElsewhere(d) {
		l.resubscribe() // of the same shape, so the stream goes on
	}
	l.each(d.Source, func(e *entry) bool {
		if _, ok := d.Chains[nameOf(e.sync)]; !ok {
			return false
		}
		e.delivery, e.trouble = &d, nil
		if e.supersede != nil {
			e.supersede()
		}
		return true
	})
}

// Ready takes note that what is held is the newest.
func (l *Loop) Ready(source revision.Source, _ gitobject.ID) {
	l.readyElsewhere(source)
	l.each(source, func(e *entry) bool {
		had := e.trouble != nil
		e.trouble = nil
		return had
	})
}

// SourceProblem takes note of why nothing of a source arrives.
func (l *Loop) SourceProblem(source revision.Source, cause error) {
	l.problemElsewhere(source, cause)
	l.each(source, func(e *entry) bool {
		before := e.trouble
		e.trouble = cause
		return !sameError(before, cause)
	})
}

// Denied takes note of which paths of a source are outside the grant.
func (l *Loop) Denied(source revision.Source, paths []string) {
	l.deniedElsewhere(source, paths)
	l.each(source, func(e *entry) bool {
		before := e.denied
		e.denied = denial(e.sync, paths)
		return !sameError(before, e.denied)
	})
}

// SyncNow asks for a pass of one Sync.
func (l *Loop) SyncNow(namespace, name string) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	l.mu.Lock()
	e := l.entries[key]
	if e != nil {
		e.now = true
	}
	l.mu.Unlock()
	if e != nil {
		l.queue.Add(key)
	}
}

// each changes every Sync that follows a source, and queues those for which change says so.
func (l *Loop) each(source revision.Source, change func(*entry) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, e := range l.entries {
		if e.sync != nil && sourceOf(e.sync) == source && change(e) {
			l.queue.Add(key)
		}
	}
}

func sourceOf(s *v1alpha1.Sync) revision.Source {
	return revision.Source{Repository: s.Spec.Source.Repository, Ref: s.Spec.Source.Ref}
}

func nameOf(s *v1alpha1.Sync) string { return s.Namespace + "/" + s.Name }

// startOf returns the commit that a Sync stands at: the last one that was verified for its paths, or the one that its
// installer trusts.
func startOf(s *v1alpha1.Sync) gitobject.ID {
	paths, err := treeOf(s)
	if err != nil || s.Status.Verified == nil || !slices.Equal(s.Status.VerifiedPaths, paths) {
		return sinceOf(s)
	}
	id, err := gitobject.ParseID(s.Status.Verified.Commit)
	if err != nil {
		return sinceOf(s)
	}
	return id
}

// sinceOf returns the commit that the installer trusts; zero for none.
func sinceOf(s *v1alpha1.Sync) gitobject.ID {
	id, err := gitobject.ParseID(s.Spec.Trust.Since)
	if err != nil {
		return gitobject.ID{}
	}
	return id
}

// treeOf returns the paths of a Sync's tree in canonical form.
func treeOf(s *v1alpha1.Sync) ([]string, error) {
	return revision.CleanPaths(append([]string{s.Spec.Path}, s.Spec.Include...))
}

// equalTrees reports whether two states of a Sync follow the same paths of the same source.
func equalTrees(a, b *v1alpha1.Sync) bool {
	before, errBefore := treeOf(a)
	now, errNow := treeOf(b)
	return errBefore == nil && errNow == nil && sourceOf(a) == sourceOf(b) && slices.Equal(before, now)
}

// resubscribe has the relay told what to follow now. Whoever makes many Syncs at once has it told once for all that came
// meanwhile: what is told is all of them.
func (l *Loop) resubscribe() {
	select {
	case l.reshape <- struct{}{}:
	default: // it is going to be told anyway
	}
}

// rebaseAfter is for how long the relay is not told that Syncs stand elsewhere: what is told is all Syncs, and a commit moves a
// thousand of them one after the other. A transfer that begins where a Sync stood brings a little more than it needs.
const rebaseAfter = 100 * time.Millisecond

// follow tells the relay what to follow, until ctx is done.
func (l *Loop) follow(ctx context.Context) {
	var due <-chan time.Time // nil while every Sync stands where the relay knows
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.rebased:
			if due == nil {
				due = time.After(rebaseAfter)
			}
			continue
		case <-l.reshape:
		case <-due:
		}
		due = nil
		l.deps.Relay.Follow(l.subscriptions())
	}
}

// rebase has the relay told soon where Syncs stand.
func (l *Loop) rebase() {
	select {
	case l.rebased <- struct{}{}:
	default: // it is going to be told anyway
	}
}

// subscriptions are the sources of all Syncs with what each of them needs.
func (l *Loop) subscriptions() []relay.Subscription {
	bySource := map[revision.Source]*relay.Subscription{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.sync == nil || e.sync.DeletionTimestamp != nil {
			continue
		}
		paths, err := l.pathsOf(e.sync)
		if err != nil {
			continue // the pass says why
		}
		source := sourceOf(e.sync)
		if bySource[source] == nil {
			bySource[source] = &relay.Subscription{Source: source}
		}
		bySource[source].Trees = append(bySource[source].Trees, treeToFollow(e.sync, paths, e.base))
	}
	l.followElsewhere(bySource)
	subs := make([]relay.Subscription, 0, len(bySource))
	for _, sub := range bySource {
		subs = append(subs, *sub)
	}
	return subs
}

func treeToFollow(s *v1alpha1.Sync, paths []string, base gitobject.ID) relay.Tree {
	return relay.Tree{Sync: nameOf(s), Incarnation: string(s.UID) + s.Spec.Trust.Since, Paths: paths, Base: base}
}

// pathsOf returns the tree of a Sync, or why it may not have it.
func (l *Loop) pathsOf(s *v1alpha1.Sync) ([]string, error) {
	if err := sourceOf(s).Validate(); err != nil {
		return nil, err
	}
	paths, err := treeOf(s)
	if err != nil {
		return nil, err
	}
	return paths, l.deps.Permit(s.Namespace, sourceOf(s), paths)
}

// Exists reports whether there is a Sync of a label.
func (l *Loop) Exists(label string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.labels[label]
	return ok || l.elsewhere.labels[label]
}

// Roots returns what the object store must keep: for every Sync the commit that it stands at and the one that arrived.
func (l *Loop) Roots() []objects.Root {
	l.mu.Lock()
	defer l.mu.Unlock()
	var roots []objects.Root
	for _, e := range l.entries {
		if e.sync == nil {
			continue
		}
		paths, err := treeOf(e.sync)
		if err != nil {
			continue
		}
		for _, commit := range []gitobject.ID{e.base, delivered(e)} {
			if !commit.IsZero() {
				roots = append(roots, objects.Root{Commit: commit, Paths: paths})
			}
		}
	}
	return append(roots, l.elsewhere.roots(l.awaited())...)
}

func delivered(e *entry) gitobject.ID {
	if e.delivery == nil {
		return gitobject.ID{}
	}
	return e.delivery.Commit
}

// logger returns the log of one Sync.
func (l *Loop) logger(key types.NamespacedName) *zap.Logger {
	return l.deps.Log.With(zap.String(telemetry.Namespace, key.Namespace), zap.String(telemetry.Name, key.Name))
}
