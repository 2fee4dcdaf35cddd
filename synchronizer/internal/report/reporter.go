// Package report sends lifecycle events and status to the automator.
//
// Events are kept on disk until the automator has stored them; status is whatever the newest is. The two never share a
// slot: a burst of status cannot push an event out, and an event cannot be overwritten.
package report

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/shard"
)

const (
	// window bounds the events that are sent and not acknowledged; it is the protocol's.
	window = 256
	// defaultHeartbeat is used when the server names none.
	defaultHeartbeat = 15 * time.Second
	// maxProblem bounds what is logged of an automator's problem; it is the protocol's.
	maxProblem = 1024
)

// Config says who reports and where events are kept.
type Config struct {
	// Hello introduces every session; its epoch is filled in.
	Hello *relayv1.Hello
	// Dir is the folder of the event spool.
	Dir string
	// Backoff is how reconnects are spread; zero is 1 s to 60 s.
	Backoff backoff.Backoff
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
}

// Connector hands out the connection to the automator.
type Connector interface {
	// Conn returns the present connection.
	Conn() (*grpc.ClientConn, error)
}

// Reporter sends what happens in a cluster to the automator.
type Reporter struct {
	cfg   Config
	link  Connector
	state *fleet.State
	spool *spool
	log   *zap.Logger
	hello *relayv1.Hello
	epoch int64

	welcomed bool   // whether the present session was
	problem  string // why the automator could not store events, until it can

	metrics *metrics
}

// New returns a reporter that sends every change of state, and opens the event spool.
func New(cfg Config, link Connector, state *fleet.State, log *zap.Logger) (*Reporter, error) {
	spool, err := openSpool(cfg.Dir)
	if err != nil {
		return nil, err
	}
	return &Reporter{
		cfg: cfg, link: link, state: state, spool: spool, log: log, hello: cfg.Hello, epoch: time.Now().UnixNano(),
		metrics: newMetrics(cfg.Metrics, spool),
	}, nil
}

// Begin has sessions introduced by a hello, whose epoch they count from: it MUST be above those of every session before under
// the name of its replica. Without it they are introduced by the Config's, and count from the clock. Only Syncs of the hello's
// shard are reported. Call it before Run.
func (r *Reporter) Begin(hello *relayv1.Hello) { r.hello, r.epoch = hello, hello.GetEpoch() }

// Event keeps an event until the automator has it. The event's cluster and id are filled in; one that is sent already
// changes nothing.
func (r *Reporter) Event(event *statusv1.Event) {
	event.Cluster = r.cfg.Hello.GetCluster()
	event.Id = EventID(event)
	r.metrics.events.WithLabelValues().Inc()
	dropped, err := r.spool.add(event)
	r.metrics.givenUp.WithLabelValues().Add(float64(dropped))
	if err != nil {
		r.metrics.givenUp.WithLabelValues().Inc()
		r.log.Error("event not kept on disk; it is lost if this process dies before the automator has it", zap.Error(err))
	}
	if dropped > 0 {
		r.log.Error("old events given up, because too many wait for the automator", zap.Int("events", dropped))
	}
}

// EventID is SHA-256 over (cluster, Sync uid, content id, state, attempt).
func EventID(event *statusv1.Event) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%x\x00%d\x00%d",
		event.GetCluster(), event.GetSyncUid(), event.GetRevision().GetContentId(), event.GetState(), event.GetAttempt()))
	return sum[:]
}

// Run reports until the context is done, through any number of connections.
func (r *Reporter) Run(ctx context.Context) error {
	attempt := 0
	for ctx.Err() == nil {
		started := time.Now()
		r.welcomed = false
		err := r.session(ctx)
		r.metrics.connected.WithLabelValues().Set(0)
		r.metrics.sessions.WithLabelValues().Inc()
		if ctx.Err() != nil {
			break
		}
		attempt = backoff.After(attempt, r.welcomed, time.Since(started))
		r.log.Debug("report stream lost", zap.Error(err), zap.Int("attempt", attempt))
		_ = r.cfg.Backoff.Wait(ctx, attempt)
		attempt++
	}
	return ctx.Err()
}

// session runs one Report stream.
func (r *Reporter) session(ctx context.Context) error {
	conn, err := r.link.Conn()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group, ctx := errgroup.WithContext(ctx)
	stream, err := relayv1.NewRelayServiceClient(conn).Report(ctx)
	if err != nil {
		return err
	}
	r.epoch++
	hello := proto.CloneOf(r.hello)
	hello.Epoch = r.epoch
	of, err := shard.New(hello.GetShard(), hello.GetShards())
	if err != nil {
		return err
	}
	s := &session{reporter: r, stream: stream, shard: of, acked: make(chan struct{}, 1), last: -1}
	if err := s.send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Hello{Hello: hello}}); err != nil {
		return err
	}
	welcome, err := stream.Recv()
	if err != nil {
		return err
	}
	r.welcomed = true
	r.metrics.connected.WithLabelValues().Set(1)
	if s.partial = !of.All() && !slices.Contains(welcome.GetWelcome().GetCapabilities(), canShard); s.partial {
		r.log.Warn("the automator is older than shards: it goes on showing Syncs that are deleted while this replica does not report; upgrade it")
	}
	s.heartbeat = welcome.GetWelcome().GetHeartbeat().AsDuration()
	if s.heartbeat <= 0 {
		s.heartbeat = defaultHeartbeat
	}
	group.Go(func() error { return s.receive(cancel) })
	group.Go(func() error { return s.events(ctx) })
	group.Go(func() error { return r.state.Watch(ctx, s.status) })
	return group.Wait()
}

// session is one Report stream; several goroutines send on it.
type session struct {
	reporter  *Reporter
	stream    grpc.BidiStreamingClient[relayv1.ReportRequest, relayv1.ReportResponse]
	heartbeat time.Duration
	acked     chan struct{}
	shard     shard.Shard
	last      int64 // the number of the event that was sent last
	full      bool  // whether every Sync was sent
	partial   bool  // whether the automator would take a full status for that of the whole cluster
	mu        sync.Mutex
	flying    int // events that are sent and not acknowledged
}

func (s *session) send(request *relayv1.ReportRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream.Send(request)
}

// errDrain ends a session that the server asked to end.
var errDrain = errors.New("asked to connect anew")

// receive takes acknowledgements until the stream ends or stays silent for three heartbeats.
func (s *session) receive(cancel context.CancelCauseFunc) error {
	silence := time.AfterFunc(3*s.heartbeat, func() {
		cancel(fault.New(fault.Stale, "the automator was silent for three heartbeats"))
	})
	defer silence.Stop()
	for {
		message, err := s.stream.Recv()
		if err != nil {
			return err
		}
		silence.Reset(3 * s.heartbeat)
		switch m := message.GetMessage().(type) {
		case *relayv1.ReportResponse_Ack:
			if err := s.acknowledged(m.Ack.GetIds()); err != nil {
				return err
			}
		case *relayv1.ReportResponse_Drain:
			return s.reporter.drained(m.Drain)
		}
	}
}

// drained returns why the automator ends a session. That something is wrong with it is logged once.
func (r *Reporter) drained(drain *relayv1.Drain) error {
	problem := drain.GetProblem()
	problem = strings.ToValidUTF8(problem[:min(len(problem), maxProblem)], "")
	if problem != "" && problem != r.problem {
		r.log.Warn("the automator does not store events, which wait here", zap.String("problem", problem), zap.Int("waiting", r.spool.size()))
	}
	r.problem = problem
	return fmt.Errorf("%w: %s", errDrain, cmp.Or(problem, drain.GetReason()))
}

func (s *session) acknowledged(ids [][]byte) error {
	s.reporter.problem = ""
	count, err := s.reporter.spool.acknowledge(ids)
	if err != nil {
		return fault.New(fault.Internal, "forget acknowledged events: %w", err)
	}
	s.reporter.metrics.acknowledged.WithLabelValues().Add(float64(count))
	s.mu.Lock()
	s.flying -= count
	s.mu.Unlock()
	select {
	case s.acked <- struct{}{}:
	default:
	}
	return nil
}

// events sends what waits in the spool, never more than the window ahead of its acknowledgement, and heartbeats.
func (s *session) events(ctx context.Context) error {
	beat := time.NewTicker(s.heartbeat)
	defer beat.Stop()
	for {
		if err := s.sendEvents(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.acked:
		case <-s.reporter.spool.wake:
		case <-beat.C:
			heartbeat := &relayv1.Heartbeat{Time: timestamppb.Now()}
			if err := s.send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Heartbeat{Heartbeat: heartbeat}}); err != nil {
				return err
			}
		}
	}
}

func (s *session) sendEvents() error {
	s.mu.Lock()
	room := window - s.flying
	s.mu.Unlock()
	for _, waiting := range s.reporter.spool.after(s.last, max(room, 0)) {
		s.mu.Lock()
		s.flying++
		s.mu.Unlock()
		if err := s.send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Event{Event: waiting.event}}); err != nil {
			return err
		}
		s.last = waiting.number
	}
	return nil
}

// canShard is the ability of an automator to take a full status of one shard, among several of a cluster.
const canShard = "shards"

// status sends the first batch as a full status and each further one as changes, of the Syncs of the shard.
func (s *session) status(changes []fleet.Change) error {
	changes = slices.DeleteFunc(changes, func(c fleet.Change) bool { return !s.shard.Owns(c.Key.Namespace, c.Key.Name) })
	s.full = s.full || s.partial
	if !s.full {
		if err := s.send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Begin{Begin: &relayv1.StatusBegin{}}}); err != nil {
			return err
		}
	}
	s.reporter.metrics.statuses.WithLabelValues().Add(float64(len(changes)))
	for _, change := range changes {
		if err := s.send(changeToProto(change)); err != nil {
			return err
		}
	}
	if s.full {
		return nil
	}
	s.full = true
	return s.send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_End{End: &relayv1.StatusEnd{}}})
}

func changeToProto(change fleet.Change) *relayv1.ReportRequest {
	if change.Sync != nil {
		return &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Sync{Sync: change.Sync}}
	}
	return &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Removed{Removed: &statusv1.SyncKey{
		Cluster: change.Key.Cluster, Namespace: change.Key.Namespace, Name: change.Key.Name,
	}}}
}
