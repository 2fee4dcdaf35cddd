package live

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// needs are the kinds that a Sync needs.
type needs map[schema.GroupVersionKind]*need

// need is one kind that a Sync needs.
type need struct {
	resolved bool // the cluster has said what the kind is, or that it knows none
	failure  error
	failing  time.Time  // since when
	watches  []*watched // one per namespace; none before the kind is known
}

// Need has the kinds of a Sync's objects watched; it replaces what the Sync
// needed before. Watches are shared among Syncs and end with the last one that
// needs them.
func (s *Store) Need(label string, kinds []v1alpha1.ObjectKind) {
	if s.meets(label, kinds) {
		return
	}
	wanted := needs{}
	for _, kind := range kinds {
		wanted[kindOf(kind)] = &need{}
	}
	s.locked(func() {
		for kind, n := range s.needs[label] {
			if wanted[kind] == nil {
				s.detach(label, n)
				continue
			}
			wanted[kind] = n
		}
		for kind, n := range wanted {
			s.share(label, n, kind)
		}
		s.needs[label] = wanted
	})
	s.look()
}

// meets reports whether just these kinds are watched for a Sync already, as they are whenever nothing new is asked for.
func (s *Store) meets(label string, kinds []v1alpha1.ObjectKind) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now, known := s.needs[label]
	distinct := map[schema.GroupVersionKind]bool{}
	for _, kind := range kinds {
		n := now[kindOf(kind)]
		if n == nil || n.watches == nil {
			return false
		}
		distinct[kindOf(kind)] = true
	}
	return known && len(now) == len(distinct)
}

// share lets a Sync use the watches that there are of a kind, so that it need not wait to be told of them. The caller holds mu.
func (s *Store) share(label string, n *need, kind schema.GroupVersionKind) {
	if n.watches != nil {
		return
	}
	for _, w := range s.byKind[kind.GroupKind()] {
		if w.kind == kind {
			n.resolved = true
			w.users[label] = true
			n.watches = append(n.watches, w)
		}
	}
}

// Release ends what Need began.
func (s *Store) Release(label string) {
	s.locked(func() {
		for _, n := range s.needs[label] {
			s.detach(label, n)
		}
		delete(s.needs, label)
		s.lookAway(label, nil)
		delete(s.judges, label)
	})
	s.look()
}

// Foreign has no records kept of the objects that carry a Sync's label, because another replica works for it; or has them kept
// again, as far as they change from then on. It is not for stores that are Looking.
func (s *Store) Foreign(label string, is bool) {
	s.locked(func() {
		if !is {
			delete(s.foreign, label)
			return
		}
		if s.foreign[label] {
			return
		}
		s.foreign[label] = true
		for _, w := range s.watches {
			for _, e := range w.bySync[label] {
				w.drop(e, changes{})
			}
		}
	})
}

// resolve maps the kinds that are not known yet and attaches watches to them.
// It returns when to try again because the cluster could not be asked; 0 for
// never.
func (s *Store) resolve(ctx context.Context) (again time.Duration) {
	for _, kind := range s.unmapped() {
		resource, namespaced, err := s.mapper.Resource(ctx, kind)
		known := err == nil || fault.Is(err, fault.NotFound)
		if !known {
			again = mapAgain
		}
		s.change(func(changed changes) {
			for label, needs := range s.needs {
				n := needs[kind]
				if n == nil || n.watches != nil {
					continue
				}
				if known && !n.resolved || (n.failure == nil) != (err == nil) {
					changed[label], n.failing = true, time.Now()
				}
				n.resolved, n.failure = n.resolved || known, err
				if err == nil {
					s.attach(label, n, kind, places(resource, namespaced, s.config.Namespaces))
				}
			}
		})
	}
	return again
}

// unmapped returns the kinds without watches, in order.
func (s *Store) unmapped() []schema.GroupVersionKind {
	s.mu.RLock()
	defer s.mu.RUnlock()
	kinds := map[schema.GroupVersionKind]bool{}
	for _, needs := range s.needs {
		for kind, n := range needs {
			if n.watches == nil {
				kinds[kind] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(kinds), compareKinds)
}

func compareKinds(a, b schema.GroupVersionKind) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Version, b.Version))
}

// places are where the objects of a resource are watched. Cluster-scoped ones
// are in no namespace.
func places(resource schema.GroupVersionResource, namespaced bool, namespaces []string) []place {
	if !namespaced {
		return []place{{resource: resource}}
	}
	list := make([]place, len(namespaces))
	for i, namespace := range namespaces {
		list[i] = place{resource, namespace}
	}
	return list
}

// attach makes a Sync a user of the watches of a kind. The caller holds mu.
func (s *Store) attach(label string, n *need, kind schema.GroupVersionKind, places []place) {
	for _, at := range places {
		w := s.watches[at]
		if w == nil {
			w = newWatched(s, at, kind)
			s.watches[at] = w
			s.byKind[kind.GroupKind()] = append(s.byKind[kind.GroupKind()], w)
		}
		w.users[label] = true
		n.watches = append(n.watches, w)
	}
}

// detach ends a Sync's use of watches, and the watches that nobody uses any
// more. The caller holds mu.
func (s *Store) detach(label string, n *need) {
	for _, w := range n.watches {
		delete(w.users, label)
		if len(w.users) > 0 {
			continue
		}
		if w.stop != nil {
			w.stop()
		}
		delete(s.watches, place{w.resource, w.namespace})
		kind := w.kind.GroupKind()
		s.byKind[kind] = slices.DeleteFunc(s.byKind[kind], func(other *watched) bool { return other == w })
		if len(s.byKind[kind]) == 0 {
			delete(s.byKind, kind)
		}
	}
}

// forget ends the watches of a kind that the cluster no longer serves, and has
// it looked up again: its objects are gone with it, or are served in another
// version.
func (s *Store) forget(kind schema.GroupVersionKind) {
	s.mapper.forget(kind)
	s.change(func(changed changes) {
		for label, needs := range s.needs {
			if n := needs[kind]; n != nil && n.watches != nil {
				s.detach(label, n)
				n.watches = nil
				changed[label] = true
			}
		}
	})
	s.look()
}

// dueWatches returns the watches that do not run yet, to be run.
func (s *Store) dueWatches(ctx context.Context) (start []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		if w.stop != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		w.stop = stop
		start = append(start, func() { w.run(ctx, s.client, w) })
	}
	return start
}
