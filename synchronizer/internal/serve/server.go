package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

const (
	// defaultHeartbeat is used when the server names none; a stream that is silent for three times as long is dead.
	defaultHeartbeat = 15 * time.Second
	// sendTimeout is how long the automator may take to read a part of an answer.
	sendTimeout = 30 * time.Second
	// maxOpen bounds the questions that one stream may have open; an automator of good faith has far fewer.
	maxOpen = 16
)

// Config says who answers, and what.
type Config struct {
	// Hello introduces every stream; its epoch is filled in.
	Hello *relayv1.Hello
	// Offers are the questions that may be answered through the automator.
	Offers []Kind
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
}

// Connector hands out the connection to the automator.
type Connector interface {
	// Conn returns the present connection.
	Conn() (*grpc.ClientConn, error)
}

// Server answers questions that come through the automator. Run it once.
type Server struct {
	cfg      Config
	link     Connector
	answers  *Answers
	log      *zap.Logger
	waiting  chan struct{}
	epoch    int64
	answered *prometheus.CounterVec
}

// New returns a server that answers what cfg offers.
func New(cfg Config, link Connector, answers *Answers, log *zap.Logger) *Server {
	return &Server{
		cfg: cfg, link: link, answers: answers, log: log, waiting: make(chan struct{}, 1), epoch: time.Now().UnixNano(),
		answered: meter.New(cfg.Metrics).Counter("tandem_synchronizer_serve_questions_total", "Questions that came through the automator, by how they ended.",
			meter.Of("result", "answered", "failed")),
	}
}

// Waiting says that somebody asks something. It does not block.
func (s *Server) Waiting() {
	select {
	case s.waiting <- struct{}{}:
	default: // it is going to look anyway
	}
}

// Run opens a stream whenever somebody asks, until the context is done. What is lost with a stream is not made up for:
// its askers were told, and ask again.
func (s *Server) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.waiting:
		}
		err := s.session(ctx)
		if err != nil && ctx.Err() == nil && !fault.Is(err, fault.Stale) { // stale: the asker has gone already
			s.log.Warn("questions not answered", zap.Error(err))
		}
	}
}

// session answers until the automator has no question left.
func (s *Server) session(ctx context.Context) error {
	conn, err := s.link.Conn()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var answering sync.WaitGroup
	defer answering.Wait()
	defer cancel(nil)
	stream, err := relayv1.NewRelayServiceClient(conn).Serve(ctx)
	if err != nil {
		return err
	}
	open := &session{server: s, stream: stream, cancel: cancel, group: &answering, open: map[int64]context.CancelFunc{}}
	if err := open.send(&relayv1.ServeRequest{Message: &relayv1.ServeRequest_Hello{Hello: s.hello()}}); err != nil {
		return err
	}
	err = open.read(ctx)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	return err
}

// Begin has streams introduced by a hello, whose epoch they count from: it MUST be above those of every stream before under the
// name of its replica. Without it they are introduced by the Config's, and count from the clock. Call it before Run.
func (s *Server) Begin(hello *relayv1.Hello) { s.cfg.Hello, s.epoch = hello, hello.GetEpoch() }

func (s *Server) hello() *relayv1.ServeHello {
	s.epoch++
	hello := &relayv1.ServeHello{Hello: proto.CloneOf(s.cfg.Hello)}
	hello.Hello.Epoch = s.epoch
	for _, kind := range s.cfg.Offers {
		hello.Offers = append(hello.Offers, kinds[kind])
	}
	return hello
}

// session is one Serve stream.
type session struct {
	server *Server
	stream grpc.BidiStreamingClient[relayv1.ServeRequest, relayv1.ServeResponse]
	cancel context.CancelCauseFunc
	group  *sync.WaitGroup

	sending sync.Mutex
	mu      sync.Mutex
	open    map[int64]context.CancelFunc // by question
}

// send sends a message; an automator that does not read ends the stream.
func (s *session) send(message *relayv1.ServeRequest) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	hangup := time.AfterFunc(sendTimeout, func() {
		s.cancel(fault.New(fault.Stale, "the automator has not read an answer for %s", sendTimeout))
	})
	defer hangup.Stop()
	return s.stream.Send(message)
}

// read takes questions until the stream ends or stays silent for too long.
func (s *session) read(ctx context.Context) error {
	limit := 3 * defaultHeartbeat
	silence := time.AfterFunc(limit, func() {
		s.cancel(fault.New(fault.Stale, "the automator was silent for three heartbeats"))
	})
	defer silence.Stop()
	for {
		message, err := s.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		if heartbeat := message.GetWelcome().GetHeartbeat().AsDuration(); heartbeat > 0 {
			limit = 3 * heartbeat
		}
		silence.Reset(limit)
		switch m := message.GetMessage().(type) {
		case *relayv1.ServeResponse_Query:
			err = s.begin(ctx, m.Query)
		case *relayv1.ServeResponse_Cancel:
			s.end(m.Cancel.GetId())
		case *relayv1.ServeResponse_Heartbeat:
			err = s.send(&relayv1.ServeRequest{Message: &relayv1.ServeRequest_Heartbeat{Heartbeat: &relayv1.Heartbeat{Time: timestamppb.Now()}}})
		case *relayv1.ServeResponse_Drain:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// begin answers a question beside the others.
func (s *session) begin(ctx context.Context, query *relayv1.Query) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.open[query.GetId()]; taken || len(s.open) >= maxOpen {
		return fault.New(fault.Invalid, "the automator asks question %d twice, or more than %d at once", query.GetId(), maxOpen)
	}
	timeout := query.GetTimeout().AsDuration()
	if timeout <= 0 || timeout > maxTime {
		timeout = maxTime
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	s.open[query.GetId()] = cancel
	s.group.Go(func() {
		defer s.end(query.GetId())
		s.answer(ctx, query)
	})
	return nil
}

// end gives up a question, or forgets one that was answered.
func (s *session) end(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.open[id]; cancel != nil {
		cancel()
		delete(s.open, id)
	}
}

func (s *session) answer(ctx context.Context, query *relayv1.Query) {
	result := "answered"
	final := &relayv1.Answer{Id: query.GetId(), Last: true}
	err := s.ask(ctx, query)
	if err != nil {
		result = "failed"
		final = &relayv1.Answer{Id: query.GetId(), Code: fault.Code(err), Error: &statusv1.Problem{
			Kind: statusv1.ProblemKind_PROBLEM_KIND_CONFIG, Message: Clip(err.Error()),
		}}
	}
	s.server.answered.WithLabelValues(result).Inc()
	_ = s.send(&relayv1.ServeRequest{Message: &relayv1.ServeRequest_Answer{Answer: final}}) // fails only with the stream
}

func (s *session) ask(ctx context.Context, query *relayv1.Query) (err error) {
	defer func() { // a diff works on what nobody signed, and whatever that does, the cluster goes on
		if p := recover(); p != nil {
			s.server.log.Error("question not answered", zap.Any("panic", p), zap.Stack("stack"))
			err = fault.New(fault.Internal, "internal error; the synchronizer's log has the details")
		}
	}()
	kind := kindOf(query.GetKind())
	if !slices.Contains(s.server.cfg.Offers, kind) {
		return fault.New(fault.Unauthorized, "this cluster does not answer the question; its administrator decides that in the synchronizer's configuration, under queries")
	}
	commit, err := revision.ObjectFromProto(query.GetCommit())
	if err != nil {
		return err
	}
	asked := Question{Kind: kind, Namespace: query.GetNamespace(), Name: query.GetName(), Commit: commit}
	return s.server.answers.Answer(ctx, asked, func(part *statusv1.AskResponse) error {
		return s.send(&relayv1.ServeRequest{Message: &relayv1.ServeRequest_Answer{Answer: &relayv1.Answer{Id: query.GetId(), Part: part}}})
	})
}
