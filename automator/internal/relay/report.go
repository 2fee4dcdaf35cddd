package relay

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/shard"
)

// reporter is the receiving half of one Report stream.
type reporter struct {
	server  *Server
	cluster string
	of      shard.Shard
	budget  *budget
	out     *speaker
	full    []*statusv1.Sync // between begin and end
	bytes   int              // of full
	inFull  bool
}

// Report takes lifecycle events and status.
func (s *Server) Report(stream grpc.BidiStreamingServer[relayv1.ReportRequest, relayv1.ReportResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if err := admit(stream.Context(), hello); err != nil {
		return err
	}
	of, err := shardOf(hello)
	if err != nil {
		return err
	}
	ctx, finish, err := s.reports.start(stream.Context(), hello, of, nil)
	if err != nil {
		return err
	}
	defer finish()
	out := &speaker{stream: stream}
	if err := out.send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Welcome{Welcome: s.welcome()}}); err != nil {
		return err
	}
	forget := s.drains.add(func() {
		_ = out.send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Drain{Drain: &relayv1.Drain{Reason: "the automator is restarting"}}})
	})
	defer forget()
	stop := out.beat(s.cfg.Heartbeat)
	defer stop()
	r := &reporter{server: s, cluster: hello.GetCluster(), of: of, budget: s.budgets.of(hello.GetCluster()), out: out}
	return r.run(ctx, stream)
}

type reportStream = grpc.BidiStreamingServer[relayv1.ReportRequest, relayv1.ReportResponse]

// speaker is the sending half of one Report stream. Heartbeats come from a timer and not from a goroutine that would wait
// for as long as the stream lives: there are thousands.
type speaker struct {
	mu     sync.Mutex
	stream reportStream
}

func (s *speaker) send(message *relayv1.ReportResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream.Send(message)
}

// beat sends heartbeats until it is stopped or the stream is gone.
func (s *speaker) beat(every time.Duration) (stop func()) {
	var timer *time.Timer
	started := make(chan struct{})
	timer = time.AfterFunc(every, func() {
		<-started
		if s.send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Heartbeat{Heartbeat: beat()}}) == nil {
			timer.Reset(every)
		}
	})
	close(started)
	return func() { timer.Stop() }
}

// run reads until the stream ends. A client that was asked to connect anew ends it itself.
func (r *reporter) run(ctx context.Context, stream reportStream) error {
	ctx, cancel := context.WithCancelCause(ctx)
	events := newIntake(r)
	err := r.read(ctx, stream, events)
	if err != nil {
		cancel(err) // what was read last need not be stored: the client has it still
	}
	if broken := events.end(); ctx.Err() == nil && broken != nil {
		err = broken
	}
	cancel(nil)
	return err
}

// read takes messages in turn.
func (r *reporter) read(ctx context.Context, stream reportStream, events *intake) error {
	for {
		request, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if err := r.budget.report(ctx, proto.Size(request)); err != nil {
			return err
		}
		if err := r.take(ctx, request, events); err != nil {
			return err
		}
	}
}

func (r *reporter) take(ctx context.Context, req *relayv1.ReportRequest, events *intake) error {
	switch message := req.GetMessage().(type) {
	case *relayv1.ReportRequest_Event:
		if err := r.check(message.Event); err != nil {
			return err
		}
		return events.take(ctx, message.Event)
	case *relayv1.ReportRequest_Begin:
		r.inFull, r.full, r.bytes = true, nil, 0
	case *relayv1.ReportRequest_Sync:
		return r.sync(message.Sync)
	case *relayv1.ReportRequest_Removed:
		key := message.Removed
		if err := r.mine(key.GetNamespace(), key.GetName()); err != nil {
			return err
		}
		r.server.deps.Fleet.Remove(fleet.Key{Cluster: r.cluster, Namespace: key.GetNamespace(), Name: key.GetName()})
	case *relayv1.ReportRequest_End:
		if !r.inFull {
			return fault.New(fault.Invalid, "end without begin")
		}
		err := r.server.deps.Fleet.Replace(r.cluster, r.of, r.full)
		r.inFull, r.full, r.bytes = false, nil, 0
		return err
	}
	return nil
}

// check returns why an event may not be stored.
func (r *reporter) check(event *statusv1.Event) error {
	if event.GetCluster() != r.cluster || len(event.GetId()) != 32 {
		return fault.New(fault.Invalid, "event is for cluster %q and has an id of %d bytes; want %q and 32", event.GetCluster(), len(event.GetId()), r.cluster)
	}
	if size := proto.Size(event); size > MaxEvent {
		return fault.New(fault.Invalid, "event of %d bytes is larger than %d", size, MaxEvent)
	}
	return nil
}

// allow waits for the cluster's budget.
func (r *reporter) allow(ctx context.Context, events int) (int, error) {
	return r.budget.event(ctx, events)
}

// store stores events and acknowledges them. While they are being stored those of other streams join, see appender.
func (r *reporter) store(ctx context.Context, events []*statusv1.Event) error {
	if err := r.server.events.append(ctx, events); err != nil {
		return err
	}
	r.server.metrics.events.WithLabelValues().Add(float64(len(events)))
	ids := make([][]byte, len(events))
	for i, event := range events {
		ids[i] = event.GetId()
	}
	return r.out.send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Ack{Ack: &relayv1.EventAck{Ids: ids}}})
}

// maxProblem bounds what a client is told of why events could not be stored.
const maxProblem = 1024

// broken has the client come again with what could not be stored, and tells it why. The stream itself ends with the next
// message at the latest.
func (r *reporter) broken(err error) {
	drain := &relayv1.Drain{Reason: "events could not be stored"}
	if !errors.Is(err, context.Canceled) { // by the end of the stream, or our own
		text := strings.ToValidUTF8(err.Error(), "")
		drain.Problem = strings.ToValidUTF8(text[:min(len(text), maxProblem)], "")
	}
	_ = r.out.send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Drain{Drain: drain}})
}

func (r *reporter) sync(status *statusv1.Sync) error {
	if status.GetCluster() != r.cluster {
		return fault.New(fault.Invalid, "status is for cluster %q, not %q", status.GetCluster(), r.cluster)
	}
	if err := r.mine(status.GetNamespace(), status.GetName()); err != nil {
		return err
	}
	r.server.metrics.statuses.WithLabelValues().Inc()
	share(status)
	if !r.inFull {
		return r.server.deps.Fleet.Put(status)
	}
	r.bytes += proto.Size(status)
	if len(r.full) >= fleet.MaxSyncsPerCluster || r.bytes > fleet.MaxBytesPerCluster {
		return fault.New(fault.Invalid, "the status of cluster %q has more than %d Syncs or %d bytes", r.cluster, fleet.MaxSyncsPerCluster, fleet.MaxBytesPerCluster)
	}
	r.full = append(r.full, status)
	return nil
}

// mine returns why the client may not speak of a Sync.
func (r *reporter) mine(namespace, name string) error {
	if r.of.Owns(namespace, name) {
		return nil
	}
	return fault.New(fault.Invalid, "the Sync %s/%s is not of shard %s of cluster %q", namespace, name, r.of, r.cluster)
}

// share makes equal revisions of a status one: it is kept, and most Syncs have one revision in all of their stages.
func share(status *statusv1.Sync) {
	var last *revisionv1.Revision
	for _, stage := range []*statusv1.Stage{status.GetAnnounced(), status.GetReceived(), status.GetVerified(), status.GetApplied(), status.GetHealthy()} {
		if stage == nil {
			continue
		}
		if proto.Equal(stage.GetRevision(), last) {
			stage.Revision = last
		}
		last = stage.GetRevision()
	}
}
