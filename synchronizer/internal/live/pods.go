package live

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// relistEvery bounds how often pods are listed again because a workload that
// has pods already became managed.
const relistEvery = 2 * time.Second

// workloads are the kinds whose pods are looked at.
var workloads = map[schema.GroupKind]bool{ //nolint:gochecknoglobals // a constant
	{Group: "", Kind: "Pod"}:                   true,
	{Group: "", Kind: "ReplicationController"}: true,
	{Group: "apps", Kind: "DaemonSet"}:         true,
	{Group: "apps", Kind: "Deployment"}:        true,
	{Group: "apps", Kind: "ReplicaSet"}:        true,
	{Group: "apps", Kind: "StatefulSet"}:       true,
	{Group: "batch", Kind: "CronJob"}:          true,
	{Group: "batch", Kind: "Job"}:              true,
}

// pods are the pods of managed workloads in one namespace, or in all of them;
// those of others are dropped as they come. It is what its feed's reflector
// writes into.
type pods struct {
	feed
	store *Store

	// The rest is guarded by store.mu.
	stop    context.CancelFunc
	since   time.Time // when it was started
	stale   bool      // pods that were dropped belong to a managed workload now
	records map[id]*pod
	of      map[object.Key]map[id]*pod
}

func newPods(store *Store, namespace string) *pods {
	return &pods{
		feed:  feed{resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, namespace: namespace, metrics: store.metrics},
		store: store, since: time.Now(),
		records: map[id]*pod{}, of: map[object.Key]map[id]*pod{},
	}
}

// duePods starts, restarts and stops the watches of pods as Syncs need them. It
// returns what to run, and when to look again; 0 for never.
func (s *Store) duePods(ctx context.Context) (start []func(), again time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted, listed := s.workloadsNeeded()
	if !wanted {
		for namespace, p := range s.pods {
			p.stop()
			delete(s.pods, namespace)
		}
	}
	if !listed {
		return nil, 0 // the list of the workloads wakes us
	}
	for _, namespace := range s.config.Namespaces {
		p := s.pods[namespace]
		if p != nil && !p.stale {
			continue
		}
		if p != nil {
			if early := relistEvery - time.Since(p.since); early > 0 {
				again = early
				continue
			}
		}
		start = append(start, s.startPods(ctx, namespace))
	}
	return start, again
}

// workloadsNeeded reports whether a Sync has workloads, and whether all of them
// have been listed: until then nobody can say whose a pod is. The caller holds
// mu.
func (s *Store) workloadsNeeded() (wanted, listed bool) {
	if s.config.Looking {
		return false, false
	}
	listed = true
	for _, w := range s.watches {
		if workloads[w.kind.GroupKind()] {
			wanted, listed = true, listed && w.synced
		}
	}
	return wanted, wanted && listed
}

// startPods begins, or begins again with what is known until the new list is
// there. The caller holds mu.
func (s *Store) startPods(ctx context.Context, namespace string) func() {
	p := newPods(s, namespace)
	if old := s.pods[namespace]; old != nil {
		old.stop()
		p.records, p.of = old.records, old.of
		old.records, old.of = map[id]*pod{}, map[object.Key]map[id]*pod{}
	}
	ctx, p.stop = context.WithCancel(ctx)
	s.pods[namespace] = p
	return func() { p.run(ctx, s.client, p) }
}

// Transformer makes the reflector keep no full pod while a list streams in.
func (p *pods) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return arrivalOf(obj) }
}

// Add takes an event of the watch.
func (p *pods) Add(obj any) error { return p.Update(obj) }

// Update takes an event of the watch.
func (p *pods) Update(obj any) error {
	a, err := arrivalOf(obj)
	if err != nil {
		return err
	}
	p.store.changeImages(func(changed changes) { p.put(a, changed) })
	return nil
}

// Delete takes an event of the watch.
func (p *pods) Delete(obj any) error {
	a, err := arrivalOf(obj)
	if err != nil {
		return err
	}
	p.store.changeImages(func(changed changes) { p.drop(a.id, changed) })
	return nil
}

// Replace takes a whole list.
func (p *pods) Replace(list []any, _ string) error {
	arrivals := make(map[id]arrival, len(list))
	for _, obj := range list {
		a, err := arrivalOf(obj)
		if err != nil {
			return err
		}
		arrivals[a.id] = a
	}
	p.store.changeImages(func(changed changes) {
		for at := range p.records {
			if _, still := arrivals[at]; !still {
				p.drop(at, changed)
			}
		}
		for _, a := range arrivals {
			p.put(a, changed)
		}
	})
	return nil
}

// Resync is never asked for.
func (p *pods) Resync() error { return nil }

// put keeps a pod that runs images for a managed workload. The caller holds
// store.mu.
func (p *pods) put(a arrival, changed changes) {
	owner, label := p.store.manages(a.owners)
	if label == "" || len(a.images) == 0 {
		p.drop(a.id, changed)
		return
	}
	known := p.records[a.id]
	if known != nil && known.owner == owner && known.same(a.images) {
		return
	}
	p.drop(a.id, changed)
	changed[label] = true
	if p.of[owner] == nil {
		p.of[owner] = map[id]*pod{}
	}
	kept := &pod{owner: owner, images: a.images}
	p.records[a.id], p.of[owner][a.id] = kept, kept
}

// drop forgets a pod if it was kept. The caller holds store.mu.
func (p *pods) drop(at id, changed changes) {
	known := p.records[at]
	if known == nil {
		return
	}
	if _, label := p.store.manages([]object.Key{known.owner}); label != "" {
		changed[label] = true
	}
	delete(p.records, at)
	delete(p.of[known.owner], at)
	if len(p.of[known.owner]) == 0 {
		delete(p.of, known.owner)
	}
}

// manages returns the first of a pod's owners that a Sync manages, and the
// Sync's label; empty for none. The caller holds mu.
func (s *Store) manages(owners []object.Key) (object.Key, string) {
	for _, owner := range owners {
		if _, e := s.find(owner); e != nil && e.flags&namesItself != 0 {
			return owner, e.sync.Value()
		}
	}
	return object.Key{}, ""
}

// runs notes that a managed workload has pods. Where none of them is kept, they
// came when nobody managed it, and were dropped; or they are yet to come. The
// caller holds mu.
func (s *Store) runs(workload object.Key) {
	for _, p := range s.pods {
		if (p.namespace == "" || p.namespace == workload.Namespace) && len(p.of[workload]) == 0 {
			p.stale = true
			s.look()
		}
	}
}
