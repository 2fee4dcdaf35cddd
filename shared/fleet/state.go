// Package fleet holds what is known about clusters and their Syncs, and answers StatusService from it.
//
// The automator keeps a fleet of many clusters, the synchronizer a fleet of one: both answer the same questions by the
// same code.
package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

// MaxSyncsPerCluster bounds what one cluster can make this process remember.
const MaxSyncsPerCluster = 20_000

// Key names one Sync of one cluster.
type Key struct{ Cluster, Namespace, Name string }

func (k Key) compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Cluster, other.Cluster), cmp.Compare(k.Namespace, other.Namespace), cmp.Compare(k.Name, other.Name))
}

// KeyOf returns the key of a Sync's status.
func KeyOf(s *statusv1.Sync) Key {
	return Key{Cluster: s.GetCluster(), Namespace: s.GetNamespace(), Name: s.GetName()}
}

// State is the newest status of every Sync and cluster. It is safe for concurrent use; what it hands out is shared and
// must not be changed.
type State struct {
	mu       sync.Mutex
	syncs    map[Key]*statusv1.Sync
	perCount map[string]int
	clusters map[string]*statusv1.Cluster
	watchers map[*watcher]struct{}
}

// New returns an empty State.
func New() *State {
	return &State{
		syncs: map[Key]*statusv1.Sync{}, perCount: map[string]int{},
		clusters: map[string]*statusv1.Cluster{}, watchers: map[*watcher]struct{}{},
	}
}

// Put replaces the status of one Sync. It refuses a cluster that reports more Syncs than MaxSyncsPerCluster.
func (s *State) Put(status *statusv1.Sync) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(status)
}

func (s *State) put(status *statusv1.Sync) error {
	key := KeyOf(status)
	old, known := s.syncs[key]
	if !known && s.perCount[key.Cluster] >= MaxSyncsPerCluster {
		return fault.New(fault.Invalid, "cluster %q reports more than %d Syncs", key.Cluster, MaxSyncsPerCluster)
	}
	if known && proto.Equal(old, status) {
		return nil
	}
	if !known {
		s.perCount[key.Cluster]++
	}
	s.syncs[key] = status
	s.touch(key)
	return nil
}

// Remove forgets one Sync.
func (s *State) Remove(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(key)
}

func (s *State) remove(key Key) {
	if _, known := s.syncs[key]; !known {
		return
	}
	delete(s.syncs, key)
	if s.perCount[key.Cluster]--; s.perCount[key.Cluster] == 0 {
		delete(s.perCount, key.Cluster)
	}
	s.touch(key)
}

// Replace makes statuses all there is of a cluster: a Sync that is not among them is forgotten.
func (s *State) Replace(cluster string, statuses []*statusv1.Sync) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := make(map[Key]bool, len(statuses))
	for _, status := range statuses {
		named[KeyOf(status)] = true
	}
	for key := range s.syncs {
		if key.Cluster == cluster && !named[key] {
			s.remove(key)
		}
	}
	for _, status := range statuses {
		if err := s.put(status); err != nil {
			return err
		}
	}
	return nil
}

// PutCluster replaces what is known about a cluster's connection.
func (s *State) PutCluster(cluster *statusv1.Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clusters[cluster.GetName()] = cluster
}

// RemoveCluster forgets a cluster and its Syncs.
func (s *State) RemoveCluster(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clusters, name)
	for key := range s.syncs {
		if key.Cluster == name {
			s.remove(key)
		}
	}
}

// Get returns the status of one Sync, nil when there is none.
func (s *State) Get(key Key) *statusv1.Sync {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.syncs[key]
}

// Syncs returns the Syncs that match a filter, ordered by key.
func (s *State) Syncs(filter *statusv1.SyncFilter) []*statusv1.Sync {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*statusv1.Sync
	for key, status := range s.syncs {
		if matches(filter, key, status) {
			found = append(found, status)
		}
	}
	slices.SortFunc(found, func(a, b *statusv1.Sync) int { return KeyOf(a).compare(KeyOf(b)) })
	return found
}

// Clusters returns every cluster with the count of its Syncs, ordered by name.
func (s *State) Clusters() []*statusv1.Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make([]*statusv1.Cluster, 0, len(s.clusters))
	for name, cluster := range s.clusters {
		c := proto.CloneOf(cluster)
		c.Syncs = int32(s.perCount[name])
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b *statusv1.Cluster) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return found
}

func matches(filter *statusv1.SyncFilter, key Key, status *statusv1.Sync) bool {
	return either(filter.GetCluster(), key.Cluster) && either(filter.GetNamespace(), key.Namespace) &&
		either(filter.GetName(), key.Name) &&
		(len(filter.GetStates()) == 0 || slices.Contains(filter.GetStates(), status.GetState()))
}

// either reports whether a filter's field is empty or says exactly value.
func either(want, value string) bool { return want == "" || want == value }

// String returns the key as "cluster/namespace/name".
func (k Key) String() string { return fmt.Sprintf("%s/%s/%s", k.Cluster, k.Namespace, k.Name) }
