package relay

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/run"
)

const (
	// canServe is the capability of clients that open Serve when they are told that questions wait.
	canServe = "serve"
	// pickUpTimeout is how long a cluster may take to open Serve.
	pickUpTimeout = 10 * time.Second
)

// errCut is why a question has no answer whose stream ended.
var errCut = fault.New(fault.Conflict, "the connection to the cluster was lost while it answered; ask again")

type serveStream = grpc.BidiStreamingServer[relayv1.ServeRequest, relayv1.ServeResponse]

// Serve asks a cluster what people want to know, for as long as they do.
func (s *Server) Serve(stream serveStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if err := admit(stream.Context(), hello.GetHello()); err != nil {
		return err
	}
	of, err := shardOf(hello.GetHello())
	if err != nil {
		return err
	}
	l, err := s.questions.attach(addressee{hello.GetHello().GetCluster(), of}, hello.GetOffers())
	if err != nil {
		return err
	}
	s.serving.Add(1)
	defer s.serving.Add(-1)
	defer s.questions.detach(l, errCut)
	a := &asking{server: s, line: l, stream: stream}
	err = a.run(stream.Context())
	s.deps.Log.Debug("questions ended", append(named(hello.GetHello()), zap.Error(err))...)
	return err
}

// asking is one Serve stream.
type asking struct {
	server *Server
	line   *line
	stream serveStream
}

// run sends questions and takes answers until no question is left.
func (a *asking) run(ctx context.Context) error {
	if err := a.send(ctx, &relayv1.ServeResponse{Message: &relayv1.ServeResponse_Welcome{Welcome: a.server.welcome()}}); err != nil {
		return err
	}
	ended := run.Aside(func() error { return a.receive(ctx) }) // ends with the stream, after this
	heartbeat := time.NewTicker(a.server.cfg.Heartbeat)
	defer heartbeat.Stop()
	for {
		out, over := a.server.questions.next(a.line)
		if over {
			return nil
		}
		for _, message := range out {
			if err := a.send(ctx, message); err != nil {
				return err
			}
		}
		if len(out) > 0 {
			continue // that may have been all
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.server.closing:
			return nil
		case err := <-ended:
			return err
		case <-heartbeat.C:
			if err := a.send(ctx, &relayv1.ServeResponse{Message: &relayv1.ServeResponse_Heartbeat{Heartbeat: beat()}}); err != nil {
				return err
			}
		case <-a.line.news:
		}
	}
}

// send sends a message. A client that does not read is hung up on.
func (a *asking) send(ctx context.Context, message *relayv1.ServeResponse) error {
	hangup := time.AfterFunc(sendTimeout, func() { rpc.Hangup(ctx) })
	defer hangup.Stop()
	return a.stream.Send(message)
}

// receive takes answers until the stream ends, as fast as the cluster's budget for them allows.
func (a *asking) receive(ctx context.Context) error {
	budget := a.server.budgets.of(a.line.to.cluster)
	for {
		request, err := a.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		size := proto.Size(request)
		if err := budget.part(ctx, size); err != nil {
			return err
		}
		answer := request.GetAnswer()
		if answer == nil {
			continue // a heartbeat, or a case of a newer client
		}
		if err := a.server.questions.answer(a.line, answer, size); err != nil {
			return err
		}
	}
}

// Ask has a cluster answer a question, and calls each with every part of the answer as it comes.
func (s *Server) Ask(ctx context.Context, cluster string, asked Question, each func(*statusv1.AskResponse) error) (err error) {
	defer func() { s.metrics.asked(err) }()
	until := time.Now().Add(maxQuestionTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	ctx, cancel := context.WithDeadlineCause(ctx, until, fault.New(fault.Conflict, "cluster %q has not answered in time", cluster))
	defer cancel()
	follows, err := s.answerer(cluster, asked)
	if err != nil {
		return err
	}
	q, err := s.questions.put(addressee{cluster, follows.of}, asked, until)
	if err != nil {
		return err
	}
	defer s.questions.drop(q)
	s.hub.call(follows.seat) // one that connects later finds by itself that questions wait
	return s.await(ctx, q, each)
}

// answerer returns who can be called to answer a question: the replica that works for its Sync.
func (s *Server) answerer(cluster string, asked Question) (*session, error) {
	follows := s.follows.owner(cluster, asked.Namespace, asked.Name)
	switch {
	case follows == nil && s.follows.connected(cluster):
		return nil, fault.New(fault.Stale, "the replica of cluster %q that works for the Sync %s/%s is not connected; ask again in a moment", cluster, asked.Namespace, asked.Name)
	case follows == nil:
		return nil, fault.New(fault.Stale, "cluster %q is not connected; `tandem status %s` shows since when", cluster, cluster)
	case !follows.seat.serves:
		return nil, fault.New(fault.Stale, "the synchronizer of cluster %q answers no questions yet; upgrade it", cluster)
	}
	return follows, nil
}

// await hands out the parts of an answer until it is complete.
func (s *Server) await(ctx context.Context, q *question, each func(*statusv1.AskResponse) error) error {
	pickUp := time.NewTimer(pickUpTimeout)
	defer pickUp.Stop()
	for {
		parts, over, failure := s.questions.more(q)
		if err := hand(ctx, parts, each); err != nil {
			return err
		}
		if over {
			return failure
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.closing:
			return fault.New(fault.Conflict, "the automator is restarting; ask again in a moment")
		case <-pickUp.C:
			if !s.questions.taken(q) {
				return fault.New(fault.Conflict, "cluster %q was told that somebody asks, and did not come within %s; look into its synchronizer's log", q.to.cluster, pickUpTimeout)
			}
		case <-q.news:
		}
	}
}

// hand gives parts to an asker. One that does not read is hung up on: others wait for the place.
func hand(ctx context.Context, parts []*statusv1.AskResponse, each func(*statusv1.AskResponse) error) error {
	hangup := time.AfterFunc(sendTimeout, func() { rpc.Hangup(ctx) })
	defer hangup.Stop()
	for _, part := range parts {
		if err := each(part); err != nil {
			return err
		}
		hangup.Reset(sendTimeout)
	}
	return nil
}

// serves reports whether a client opens Serve when it is told to.
func serves(hello *relayv1.Hello) bool { return slices.Contains(hello.GetCapabilities(), canServe) }
