package relay

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/shard"
)

// maxReplicas bounds the streams of one kind that a cluster has open, one for each replica: those of all its shards, and of
// as many that take them over while the former are not known to be gone.
const maxReplicas = 2 * shard.Max

// sessions knows which replica of which cluster has a stream open. A newer session of a replica ends the older; an older
// one can neither replace nor close a newer.
type sessions struct {
	mu    sync.Mutex
	open  map[string][]*session // by cluster, one of each replica, the newest last
	fleet *fleet.State
}

type session struct {
	cluster, replica string
	of               shard.Shard
	epoch            int64
	end              context.CancelCauseFunc
	seat             *seat // of a Follow stream; nil for others
}

// errReplaced is why a stream ends whose replica opened a newer one.
var errReplaced = fault.New(fault.Stale, "a newer session of this replica took over")

// errDivided is why a stream ends whose cluster is divided into another number of shards now.
var errDivided = fault.New(fault.Stale, "a session of this cluster has another number of shards")

func newSessions(state *fleet.State) *sessions {
	return &sessions{open: map[string][]*session{}, fleet: state}
}

// start registers a session and returns the context that its stream lives in, and what to call at its end. seat is that of
// a Follow stream, and nil for others.
func (s *sessions) start(ctx context.Context, hello *relayv1.Hello, of shard.Shard, seat *seat) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cluster, replica := hello.GetCluster(), hello.GetReplica()
	if slices.ContainsFunc(s.open[cluster], func(o *session) bool { return o.replica == replica && o.epoch > hello.GetEpoch() }) {
		return nil, nil, errReplaced
	}
	ctx, cancel := context.WithCancelCause(ctx)
	now := &session{cluster: cluster, replica: replica, of: of, epoch: hello.GetEpoch(), end: cancel, seat: seat}
	s.open[cluster] = slices.DeleteFunc(s.open[cluster], now.supersedes)
	if len(s.open[cluster]) >= maxReplicas {
		cancel(nil)
		return nil, nil, fault.New(fault.Conflict, "cluster %q has %d replicas connected already", cluster, maxReplicas)
	}
	s.open[cluster] = append(s.open[cluster], now)
	s.report(cluster, true, hello.GetVersion())
	return ctx, func() { s.finish(now, hello.GetVersion()) }, nil
}

// supersedes reports whether another session of the cluster counts no longer, and ends it then: a former one of the same
// replica; and one of another number of shards, because replicas agree on it before they work, so that one has lost its Lease,
// or is about to come back and tell everything anew.
func (s *session) supersedes(other *session) bool {
	switch {
	case other.of.Count != s.of.Count:
		other.end(errDivided)
	case other.replica == s.replica:
		other.end(errReplaced)
	default:
		return false
	}
	return true
}

// finish forgets a session, unless a newer one has its place.
func (s *sessions) finish(ended *session, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended.end(nil)
	open := s.open[ended.cluster]
	at := slices.Index(open, ended)
	if at < 0 {
		return
	}
	if s.open[ended.cluster] = slices.Delete(open, at, at+1); len(open) == 1 {
		delete(s.open, ended.cluster)
		s.report(ended.cluster, false, version)
	}
}

func (s *sessions) report(cluster string, connected bool, version string) {
	s.fleet.PutCluster(&statusv1.Cluster{
		Name: cluster, Connected: connected, Since: timestamppb.New(time.Now()), Version: version,
	})
}

// connected reports whether a cluster has a session.
func (s *sessions) connected(cluster string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open[cluster]) > 0
}

// owner returns the newest session of those that work for a Sync of a cluster; nil for none.
func (s *sessions) owner(cluster, namespace, name string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, open := range slices.Backward(s.open[cluster]) {
		if open.of.Owns(namespace, name) {
			return open
		}
	}
	return nil
}
