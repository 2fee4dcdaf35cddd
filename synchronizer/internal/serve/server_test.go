package serve

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds the waits of these tests.
const patience = 20 * time.Second

type serveStream = grpc.BidiStreamingServer[relayv1.ServeRequest, relayv1.ServeResponse]

// automator hands every Serve stream to the test.
type automator struct {
	relayv1.UnimplementedRelayServiceServer
	script func(serveStream, *relayv1.ServeHello) error
}

func (a *automator) Serve(stream serveStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := stream.Send(&relayv1.ServeResponse{Message: &relayv1.ServeResponse_Welcome{Welcome: &relayv1.Welcome{Heartbeat: durationpb.New(time.Minute)}}}); err != nil {
		return err
	}
	return a.script(stream, first.GetHello())
}

// link is a connection that is there.
type link struct{ conn *grpc.ClientConn }

func (l link) Conn() (*grpc.ClientConn, error) { return l.conn, nil }

// converse runs a server against a script and returns what the script's stream ended with.
func converse(t *testing.T, answers *Answers, script func(serveStream, *relayv1.ServeHello) error) error {
	t.Helper()
	log, _ := logtest.New(t)
	ended := make(chan error, 1)
	srv := rpc.NewServer(rpc.ServerConfig{Identify: func(context.Context) (rpc.Identity, error) { return rpc.Identity{}, nil }, Log: log})
	relayv1.RegisterRelayServiceServer(srv.GRPC, &automator{script: func(stream serveStream, hello *relayv1.ServeHello) error {
		err := script(stream, hello)
		ended <- err
		return err
	}})
	listener := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ctx, listener) })
	conn, err := grpc.NewClient("passthrough:///relay", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	server := New(Config{Hello: &relayv1.Hello{Cluster: "dev", Replica: "a"}, Offers: []Kind{Tree}}, link{conn}, answers, log)
	wg.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); conn.Close() })
	server.Waiting()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatal("nobody opened the stream, or the script has no end")
		return nil
	}
}

func query(id int64, kind relayv1.QueryKind) *relayv1.ServeResponse {
	return &relayv1.ServeResponse{Message: &relayv1.ServeResponse_Query{Query: &relayv1.Query{
		Id: id, Kind: kind, Namespace: "shop", Name: "web", Timeout: durationpb.New(time.Minute),
	}}}
}

// exchange asks questions and returns the answers until as many have ended.
func exchange(stream serveStream, queries ...*relayv1.ServeResponse) ([]*relayv1.Answer, error) {
	for _, q := range queries {
		if err := stream.Send(q); err != nil {
			return nil, err
		}
	}
	var answers []*relayv1.Answer
	for left := len(queries); left > 0; {
		request, err := stream.Recv()
		if err != nil {
			return answers, err
		}
		answers = append(answers, request.GetAnswer())
		if request.GetAnswer().GetLast() || request.GetAnswer().GetError() != nil {
			left--
		}
	}
	return answers, nil
}

const (
	treeKind   = relayv1.QueryKind_QUERY_KIND_RESOURCE_TREE
	eventsKind = relayv1.QueryKind_QUERY_KIND_EVENTS
)

// names answers with what it was asked about.
func names(_ context.Context, asked Question, each Each) error {
	return each(Omission(asked.Namespace+"/"+asked.Name, "a test"))
}

func TestAQuestionIsAnswered(t *testing.T) {
	t.Parallel()
	err := converse(t, NewAnswers(map[Kind]Answer{Tree: names}), func(stream serveStream, hello *relayv1.ServeHello) error {
		if hello.GetHello().GetCluster() != "dev" || len(hello.GetOffers()) != 1 || hello.GetOffers()[0] != treeKind {
			t.Errorf("hello: got %v", hello)
		}
		answers, err := exchange(stream, query(1, treeKind))
		if len(answers) != 2 || answers[0].GetPart().GetOmission().GetWhat() != "shop/web" || !answers[1].GetLast() {
			t.Errorf("answers: got %v", answers)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotAnswered(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		by     map[Kind]Answer
		asked  relayv1.QueryKind
		want   fault.Kind
		says   string
	}{
		"NotOffered": {
			reason: "The cluster decides, whatever the automator asks.", by: map[Kind]Answer{Tree: names, Events: names}, asked: eventsKind,
			want: fault.Unauthorized, says: "queries",
		},
		"Unknown": {
			reason: "A newer automator asks something new.", by: map[Kind]Answer{Tree: names}, asked: 99, want: fault.Unauthorized, says: "does not answer",
		},
		"Fails": {
			reason: "A failure is the answer, with its kind.", asked: treeKind, want: fault.NotFound, says: "no Sync",
			by: map[Kind]Answer{Tree: func(context.Context, Question, Each) error { return fault.New(fault.NotFound, "there is no Sync") }},
		},
		"Panics": {
			reason: "The synchronizer outlives it.", asked: treeKind, want: fault.Internal, says: "log",
			by: map[Kind]Answer{Tree: func(context.Context, Question, Each) error { panic("lost") }},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := converse(t, NewAnswers(tc.by), func(stream serveStream, _ *relayv1.ServeHello) error {
				answers, err := exchange(stream, query(1, tc.asked))
				if len(answers) != 1 || fault.KindOfStatus(answers[0].GetCode()) != tc.want || !strings.Contains(answers[0].GetError().GetMessage(), tc.says) {
					t.Errorf("%s\nanswers: got %v, want %v that says %q", tc.reason, answers, tc.want, tc.says)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestQuestionsAreAnsweredBesideEachOtherAndBounded(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	slow := func(ctx context.Context, _ Question, _ Each) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	err := converse(t, NewAnswers(map[Kind]Answer{Tree: slow}), func(stream serveStream, _ *relayv1.ServeHello) error {
		for id := range int64(maxAtOnce) {
			if err := stream.Send(query(id+1, treeKind)); err != nil {
				return err
			}
		}
		answers, err := exchange(stream, query(maxAtOnce+1, treeKind))
		if err != nil {
			return err
		}
		refused := answers[0]
		if fault.KindOfStatus(refused.GetCode()) != fault.Conflict {
			t.Errorf("one too many: got %v, want Conflict", refused)
		}
		close(gate)
		for range maxAtOnce {
			if request, err := stream.Recv(); err != nil || !request.GetAnswer().GetLast() {
				return errors.Join(err, errors.New("no answer"))
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestACancelledQuestionIsGivenUp(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	endless := func(ctx context.Context, _ Question, _ Each) error {
		<-ctx.Done()
		close(stopped)
		return ctx.Err()
	}
	err := converse(t, NewAnswers(map[Kind]Answer{Tree: endless}), func(stream serveStream, _ *relayv1.ServeHello) error {
		if err := stream.Send(query(1, treeKind)); err != nil {
			return err
		}
		if err := stream.Send(&relayv1.ServeResponse{Message: &relayv1.ServeResponse_Cancel{Cancel: &relayv1.QueryCancel{Id: 1}}}); err != nil {
			return err
		}
		select {
		case <-stopped:
			return nil
		case <-time.After(patience):
			return errors.New("it goes on")
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAnAutomatorThatAsksTooMuchIsLeft(t *testing.T) {
	t.Parallel()
	endless := func(ctx context.Context, _ Question, _ Each) error { <-ctx.Done(); return ctx.Err() }
	cases := map[string]struct {
		reason string
		ids    []int64
	}{
		"Twice": {reason: "One id for two questions.", ids: []int64{1, 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_ = converse(t, NewAnswers(map[Kind]Answer{Tree: endless}), func(stream serveStream, _ *relayv1.ServeHello) error {
				for _, id := range tc.ids {
					if err := stream.Send(query(id, treeKind)); err != nil {
						return err
					}
				}
				for range len(tc.ids) + 1 { // what was asked may be answered with the end of it, before the stream ends
					if _, err := stream.Recv(); err != nil {
						return err
					}
				}
				t.Errorf("%s\nthe stream goes on", tc.reason)
				return nil
			})
		})
	}
}

func TestAnAnswerWithoutEndIsCut(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		text   string
		most   int
	}{
		"Parts": {reason: "Many small parts.", text: "x", most: maxParts},
		"Bytes": {reason: "Few large parts.", text: strings.Repeat("x", maxPart-100), most: maxBytes/maxPart + 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endless := func(_ context.Context, _ Question, each Each) error {
				for {
					if err := each(&statusv1.AskResponse{Part: &statusv1.AskResponse_Node{Node: &statusv1.TreeNode{Object: tc.text}}}); err != nil {
						return err
					}
				}
			}
			var parts []*statusv1.AskResponse
			err := NewAnswers(map[Kind]Answer{Tree: endless}).Answer(t.Context(), Question{Kind: Tree}, func(part *statusv1.AskResponse) error {
				parts = append(parts, part)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if last := parts[len(parts)-1]; last.GetOmission() == nil || len(parts) > tc.most+1 || len(parts) < tc.most {
				t.Errorf("%s\n%d parts, the last %v; want %d and what is left out", tc.reason, len(parts), last, tc.most)
			}
		})
	}
	huge := func(_ context.Context, _ Question, each Each) error {
		return each(&statusv1.AskResponse{Part: &statusv1.AskResponse_Node{Node: &statusv1.TreeNode{Object: strings.Repeat("x", maxPart)}}})
	}
	err := NewAnswers(map[Kind]Answer{Tree: huge}).Answer(t.Context(), Question{Kind: Tree}, func(*statusv1.AskResponse) error { return nil })
	if !fault.Is(err, fault.Internal) {
		t.Errorf("a part that is too large: got %v, want Internal", err)
	}
}

func TestKindsAreChecked(t *testing.T) {
	t.Parallel()
	if err := CheckKinds(Kinds()); err != nil {
		t.Errorf("CheckKinds(Kinds()): %v", err)
	}
	if err := CheckKinds([]Kind{"logs"}); err == nil {
		t.Error("CheckKinds(logs): no error")
	}
}

// deaf is a stream whose other end does not read.
type deaf struct {
	grpc.BidiStreamingClient[relayv1.ServeRequest, relayv1.ServeResponse]

	ctx context.Context //nolint:containedctx // a stream has one
}

func (d deaf) Send(*relayv1.ServeRequest) error { <-d.ctx.Done(); return d.ctx.Err() }

// What an automator does not read takes a place from everybody else, so its stream ends.
func TestAnAutomatorThatDoesNotReadIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		log, _ := logtest.New(t)
		s := &session{
			server: New(Config{Offers: []Kind{Tree}}, nil, NewAnswers(map[Kind]Answer{Tree: names}), log),
			stream: deaf{ctx: ctx}, cancel: cancel, group: &sync.WaitGroup{}, open: map[int64]context.CancelFunc{},
		}
		began := time.Now()
		if err := s.begin(ctx, query(1, treeKind).GetQuery()); err != nil {
			t.Fatal(err)
		}
		s.group.Wait()
		if took := time.Since(began); took != sendTimeout || !fault.Is(context.Cause(ctx), fault.Stale) {
			t.Errorf("the stream ended after %s with %v; want Stale after %s", took, context.Cause(ctx), sendTimeout)
		}
		if err := s.server.answers.Answer(t.Context(), Question{Kind: Tree}, func(*statusv1.AskResponse) error { return nil }); err != nil || len(s.open) > 0 {
			t.Errorf("the place is still taken: %v, open questions %d", err, len(s.open))
		}
	})
}
