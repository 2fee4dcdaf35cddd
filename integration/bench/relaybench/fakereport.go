package relaybench

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
)

// drained has the next attempt dial anew.
func (f *fake) drained(conn *grpc.ClientConn) error {
	f.link.drop(conn)
	return errDrained
}

type reportStream = grpc.BidiStreamingClient[relayv1.ReportRequest, relayv1.ReportResponse]

// report is one Report stream.
func (f *fake) report(ctx context.Context) (after time.Duration, err error) {
	conn, err := f.link.get()
	if err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	stream, err := relayv1.NewRelayServiceClient(conn).Report(ctx)
	if err != nil {
		return 0, err
	}
	if err := stream.Send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Hello{Hello: f.hello()}}); err != nil {
		return 0, receiveError(stream, err)
	}
	welcome, err := stream.Recv()
	if err != nil {
		return 0, err
	}
	f.reporting.Store(time.Now().UnixNano())
	group.Go(func() error { return f.hear(stream) })
	group.Go(func() error { return f.say(ctx, stream, welcome.GetWelcome().GetHeartbeat().AsDuration()) })
	return 0, group.Wait()
}

// receiveError is why a stream ended that refuses to be sent on.
func receiveError(stream reportStream, err error) error {
	if _, reason := stream.Recv(); reason != nil {
		return reason
	}
	return err
}

// hear takes acknowledgements.
func (f *fake) hear(stream reportStream) error {
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := message.GetMessage().(type) {
		case *relayv1.ReportResponse_Ack:
			f.crowd.acknowledged(m.Ack, time.Now())
		case *relayv1.ReportResponse_Drain:
			return errDrained
		}
	}
}

// say sends the full status, then what changes, and heartbeats.
func (f *fake) say(ctx context.Context, stream reportStream, heartbeat time.Duration) error {
	for _, first := range []*relayv1.ReportRequest{
		{Message: &relayv1.ReportRequest_Begin{Begin: &relayv1.StatusBegin{}}},
		{Message: &relayv1.ReportRequest_Sync{Sync: f.status(time.Now())}},
		{Message: &relayv1.ReportRequest_End{End: &relayv1.StatusEnd{}}},
	} {
		if err := stream.Send(first); err != nil {
			return err
		}
	}
	beat := time.NewTicker(max(heartbeat, time.Second))
	defer beat.Stop()
	for {
		if err := f.news(stream); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.kick:
		case <-beat.C:
			alive := &relayv1.Heartbeat{Time: timestamppb.Now()}
			if err := stream.Send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Heartbeat{Heartbeat: alive}}); err != nil {
				return err
			}
		}
	}
}

// news sends what was announced since: an event and the changed status.
func (f *fake) news(stream reportStream) error {
	f.mu.Lock()
	tell := f.tell
	f.tell = nil
	f.mu.Unlock()
	if tell == nil {
		return nil
	}
	event := f.event(tell)
	f.crowd.told(event.GetId(), tell)
	if err := stream.Send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Event{Event: event}}); err != nil {
		return err
	}
	return stream.Send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Sync{Sync: f.status(time.Now())}})
}
