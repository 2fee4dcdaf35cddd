// Package relay is the server side of tandem.relay.v1: it announces commits to clusters, serves them objects, and takes
// their events and status.
//
// Nothing here waits for a slow stream: a follower looks at the newest state whenever it is woken, so there is no queue
// that could grow or drop.
package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fair"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Protocol is the newest protocol that this server speaks.
const Protocol = 1

// Repository is what the relay reads of a mirror.
type Repository interface { //nolint:interfacebloat // one mirror, and nothing of it can be had without the rest
	gitobject.TreeReader
	gitobject.BlobReader
	// BlobSize returns a blob's size in bytes without its content.
	BlobSize(ctx context.Context, id gitobject.ID) (int64, error)
	// Commit returns a commit.
	Commit(ctx context.Context, id gitobject.ID) (*gitobject.Commit, error)
	// Tag returns an annotated tag.
	Tag(ctx context.Context, id gitobject.ID) (*gitobject.Tag, error)
	// Resolve returns the commit that a ref names, and the annotated tag between them if there is one.
	Resolve(ctx context.Context, ref string) (commit, tag gitobject.ID, ok bool)
	// Chain returns the commits from held, exclusive, to want, inclusive, each naming the one before as a parent; a
	// Stale fault when there is no way.
	Chain(ctx context.Context, held, want gitobject.ID) ([]gitobject.ID, error)
	// Reachable reports whether a commit is in the history of a ref that matches one of the patterns.
	Reachable(ctx context.Context, commit gitobject.ID, patterns []string) (bool, error)
}

// Events stores lifecycle events.
type Events interface {
	// AppendEvents stores events for good before it returns, and ignores those whose id it has.
	AppendEvents(ctx context.Context, events []*statusv1.Event) error
}

// Config holds times; zero values are the defaults of the protocol.
type Config struct {
	// Heartbeat is how often a silent stream is given a sign of life; 15 s by default.
	Heartbeat time.Duration
	// MaxAge is how long a stream lives before it is drained, ± 20 %; 30 min by default.
	MaxAge time.Duration
	// Version is this automator's version, for people.
	Version string
}

// Deps is what the server works with.
type Deps struct {
	// Repository finds a mirror by the repository's name.
	Repository func(name string) (Repository, bool)
	// Grants returns what a cluster may receive now.
	Grants func(cluster string) Grants
	// Interests returns the paths below a source whose health pipelines wait for; may be nil.
	Interests func(cluster string, source revision.Source) []string
	// Traceparent names the release of a commit for those who trace; may be nil.
	Traceparent func(commit string) string
	// Signatures returns what is known about the signatures of an image that a cluster asks about, and a version of that. seen is the
	// version that was not enough for it.
	Signatures func(ctx context.Context, cluster string, image signature.Image, seen []byte) (signature.Material, []byte, error)
	// Events stores lifecycle events.
	Events Events
	// Fleet takes status.
	Fleet *fleet.State
	// Log takes what a person would want in a timeline.
	Log *zap.Logger
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
}

// Server serves RelayService.
type Server struct {
	relayv1.UnimplementedRelayServiceServer
	cfg        Config
	deps       Deps
	follows    *sessions
	reports    *sessions
	hub        hub
	questions  questions
	serving    atomic.Int64 // Serve streams that are open
	contents   contents
	collects   *semaphore.Weighted // transfers that are being put together
	held       *semaphore.Weighted // bytes of transfers that wait or are being sent
	sends      *semaphore.Weighted // transfers that are being sent
	answers    *fair.Limiter       // answers about signatures, by cluster
	events     *appender
	recorder   *recorder
	unrecorded unrecorded
	budgets    budgets
	drains     drains
	closing    chan struct{}
	close      func()
	metrics    *metrics
}

// New returns a Server.
func New(cfg Config, deps Deps) *Server {
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 30 * time.Minute
	}
	if deps.Traceparent == nil {
		deps.Traceparent = func(string) string { return "" }
	}
	s := &Server{
		cfg: cfg, deps: deps, collects: semaphore.NewWeighted(maxCollects), held: semaphore.NewWeighted(maxHeld), sends: semaphore.NewWeighted(maxSends), answers: fair.NewLimiter(maxAnswers, maxClusterSignatures, newcomerAnswers), closing: make(chan struct{}),
		follows: newSessions(deps.Fleet), reports: newSessions(fleet.New()), recorder: newRecorder(),
	}
	s.events = newAppender(deps.Events, s.hub.settled)
	s.metrics = newMetrics(deps.Metrics, s)
	s.close = sync.OnceFunc(func() { close(s.closing); s.drains.run() })
	return s
}

// Changed wakes every follower: a ref moved or a grant changed.
func (s *Server) Changed() { s.hub.wakeAll() }

// Close asks every connected cluster to connect anew in a moment, and ends its streams.
func (s *Server) Close() { s.close() }

// Connected reports whether a cluster follows now.
func (s *Server) Connected(cluster string) bool { return s.follows.connected(cluster) }

// admit checks that the caller is the cluster it says it is and speaks a protocol that is known here.
func admit(ctx context.Context, hello *relayv1.Hello) error {
	caller, ok := rpc.Caller(ctx)
	if !ok || caller.Role != rpc.RoleCluster || caller.Name != hello.GetCluster() {
		return fault.New(fault.Unauthorized, "the certificate is for %q, not for cluster %q", caller, hello.GetCluster())
	}
	if hello.GetProtocol() < 1 {
		return fault.New(fault.Stale, "protocol %d is older than any that this automator speaks; upgrade the synchronizer", hello.GetProtocol())
	}
	if len(hello.GetReplica()) > revision.MaxRepositoryName || hello.GetReplica() == "" {
		return fault.New(fault.Invalid, "replica must have 1 to %d bytes", revision.MaxRepositoryName)
	}
	return nil
}

// canShard is the ability to take a full status of one shard, among several of a cluster.
const canShard = "shards"

// shardOf returns the part of its cluster's Syncs that a client works for.
func shardOf(hello *relayv1.Hello) (shard.Shard, error) {
	return shard.New(hello.GetShard(), hello.GetShards())
}

// drains are what is done when the server closes.
type drains struct {
	mu  sync.Mutex
	all map[int]func()
	n   int
}

// add has fn called when the server closes; what it returns takes that back.
func (d *drains) add(fn func()) (remove func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[int]func(){}
	}
	d.n++
	id := d.n
	d.all[id] = fn
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.all, id)
	}
}

// run calls all, each by a timer of its own: one that waits for a slow client is in nobody's way.
func (d *drains) run() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, fn := range d.all {
		time.AfterFunc(0, fn)
	}
}
