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
	"github.com/tandem-cd/tandem/shared/shard"
)

// What one cluster can make this process remember.
const (
	// MaxSyncsPerCluster bounds its Syncs.
	MaxSyncsPerCluster = 20_000
	// MaxBytesPerCluster bounds their status together, in bytes.
	MaxBytesPerCluster = 64 << 20
	// MaxSyncBytes bounds the status of one, in bytes.
	MaxSyncBytes = 256 << 10
)

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
	mu        sync.Mutex
	syncs     map[Key]*statusv1.Sync
	byCluster map[string]*share // one cluster's report costs nothing for the others'
	clusters  map[string]*statusv1.Cluster
	watchers  map[*watcher]struct{}
}

// New returns an empty State.
func New() *State {
	return &State{
		syncs: map[Key]*statusv1.Sync{}, byCluster: map[string]*share{},
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
	if known && proto.Equal(old, status) {
		return nil
	}
	mine := s.of(key.Cluster)
	if err := mine.put(key, proto.Size(status)); err != nil {
		return err
	}
	s.byCluster[key.Cluster] = mine
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
	if s.of(key.Cluster).remove(key); len(s.of(key.Cluster).sizes) == 0 {
		delete(s.byCluster, key.Cluster)
	}
	s.touch(key)
}

// Replace makes statuses all there is of a shard of a cluster: a Sync of the shard that is not among them is forgotten.
func (s *State) Replace(cluster string, of shard.Shard, statuses []*statusv1.Sync) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := make(map[Key]bool, len(statuses))
	for _, status := range statuses {
		named[KeyOf(status)] = true
	}
	for key := range s.of(cluster).sizes {
		if !named[key] && of.Owns(key.Namespace, key.Name) {
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
	for key := range s.of(name).sizes {
		s.remove(key)
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
	take := func(key Key, status *statusv1.Sync) {
		if matches(filter, key, status) {
			found = append(found, status)
		}
	}
	if cluster := filter.GetCluster(); cluster != "" {
		for key := range s.of(cluster).sizes {
			take(key, s.syncs[key])
		}
	} else {
		for key, status := range s.syncs {
			take(key, status)
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
		c.Syncs = int32(len(s.of(name).sizes))
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b *statusv1.Cluster) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return found
}

// share is what one cluster has of the state: its Syncs with their sizes in bytes.
type share struct {
	sizes map[Key]int
	bytes int
}

// of returns a cluster's share, an empty one when it has none.
func (s *State) of(cluster string) *share {
	if s.byCluster[cluster] == nil {
		return &share{sizes: map[Key]int{}}
	}
	return s.byCluster[cluster]
}

func (s *share) put(key Key, size int) error {
	old, known := s.sizes[key]
	switch {
	case size > MaxSyncBytes:
		return fault.New(fault.Invalid, "the status of %s has %d bytes, more than %d", key, size, MaxSyncBytes)
	case !known && len(s.sizes) >= MaxSyncsPerCluster:
		return fault.New(fault.Invalid, "cluster %q reports more than %d Syncs", key.Cluster, MaxSyncsPerCluster)
	case s.bytes+size-old > MaxBytesPerCluster:
		return fault.New(fault.Invalid, "the status of cluster %q has more than %d bytes", key.Cluster, MaxBytesPerCluster)
	}
	s.sizes[key] = size
	s.bytes += size - old
	return nil
}

func (s *share) remove(key Key) {
	s.bytes -= s.sizes[key]
	delete(s.sizes, key)
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
