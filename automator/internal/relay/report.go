package relay

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
)

// maxBatch bounds the events that are stored and acknowledged together; it is the client's window.
const maxBatch = 256

// reporter is the receiving half of one Report stream.
type reporter struct {
	server  *Server
	cluster string
	pending []*statusv1.Event // received, not stored yet
	full    []*statusv1.Sync  // between begin and end
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
	ctx, finish, err := s.reports.start(stream.Context(), hello)
	if err != nil {
		return err
	}
	defer finish()
	welcome := &relayv1.ReportResponse{Message: &relayv1.ReportResponse_Welcome{Welcome: s.welcome()}}
	if err := stream.Send(welcome); err != nil {
		return err
	}
	r := &reporter{server: s, cluster: hello.GetCluster()}
	return r.run(ctx, stream)
}

// run lets one goroutine read, so that heartbeats and the end of the server need not wait for the client.
func (r *reporter) run(ctx context.Context, stream grpc.BidiStreamingServer[relayv1.ReportRequest, relayv1.ReportResponse]) error {
	requests := make(chan *relayv1.ReportRequest)
	failed := make(chan error, 1)
	go receive(ctx, stream, requests, failed) // ends with the stream, which ends when this function returns
	heartbeat := time.NewTicker(r.server.cfg.Heartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.server.closing:
			return stream.Send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Drain{Drain: &relayv1.Drain{Reason: "the automator is restarting"}}})
		case err := <-failed:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-heartbeat.C:
			if err := stream.Send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Heartbeat{Heartbeat: beat()}}); err != nil {
				return err
			}
		case req := <-requests:
			if err := r.batch(ctx, req, requests, stream.Send); err != nil {
				return err
			}
		}
	}
}

func receive(ctx context.Context, stream grpc.BidiStreamingServer[relayv1.ReportRequest, relayv1.ReportResponse], out chan<- *relayv1.ReportRequest, failed chan<- error) {
	for {
		req, err := stream.Recv()
		if err != nil {
			failed <- err
			return
		}
		select {
		case out <- req:
		case <-ctx.Done():
			return
		}
	}
}

// batch takes a request and those that are there already, stores their events in one go and acknowledges them.
func (r *reporter) batch(ctx context.Context, req *relayv1.ReportRequest, more <-chan *relayv1.ReportRequest, send func(*relayv1.ReportResponse) error) error {
	for {
		if err := r.take(req); err != nil {
			return err
		}
		if len(r.pending) < maxBatch {
			select {
			case req = <-more:
				continue
			default:
			}
		}
		return r.store(ctx, send)
	}
}

func (r *reporter) take(req *relayv1.ReportRequest) error {
	switch message := req.GetMessage().(type) {
	case *relayv1.ReportRequest_Event:
		return r.event(message.Event)
	case *relayv1.ReportRequest_Begin:
		r.inFull, r.full = true, nil
	case *relayv1.ReportRequest_Sync:
		return r.sync(message.Sync)
	case *relayv1.ReportRequest_Removed:
		key := message.Removed
		r.server.deps.Fleet.Remove(fleet.Key{Cluster: r.cluster, Namespace: key.GetNamespace(), Name: key.GetName()})
	case *relayv1.ReportRequest_End:
		if !r.inFull {
			return fault.New(fault.Invalid, "end without begin")
		}
		err := r.server.deps.Fleet.Replace(r.cluster, r.full)
		r.inFull, r.full = false, nil
		return err
	}
	return nil
}

func (r *reporter) event(event *statusv1.Event) error {
	if event.GetCluster() != r.cluster || len(event.GetId()) != 32 {
		return fault.New(fault.Invalid, "event is for cluster %q and has an id of %d bytes; want %q and 32", event.GetCluster(), len(event.GetId()), r.cluster)
	}
	r.pending = append(r.pending, event)
	return nil
}

func (r *reporter) sync(status *statusv1.Sync) error {
	if status.GetCluster() != r.cluster {
		return fault.New(fault.Invalid, "status is for cluster %q, not %q", status.GetCluster(), r.cluster)
	}
	if !r.inFull {
		return r.server.deps.Fleet.Put(status)
	}
	if len(r.full) >= fleet.MaxSyncsPerCluster {
		return fault.New(fault.Invalid, "more than %d Syncs", fleet.MaxSyncsPerCluster)
	}
	r.full = append(r.full, status)
	return nil
}

func (r *reporter) store(ctx context.Context, send func(*relayv1.ReportResponse) error) error {
	if len(r.pending) == 0 {
		return nil
	}
	if err := r.server.deps.Events.AppendEvents(ctx, r.pending); err != nil {
		return err
	}
	ack := &relayv1.EventAck{Ids: make([][]byte, 0, len(r.pending))}
	for _, event := range r.pending {
		ack.Ids = append(ack.Ids, event.GetId())
	}
	r.pending = nil
	return send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Ack{Ack: ack}})
}
