package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/shard"
)

var treeQuestion = Question{Kind: relayv1.QueryKind_QUERY_KIND_RESOURCE_TREE, Namespace: "shop", Name: "web"}

// whole is a cluster where one replica works for all Syncs.
func whole(cluster string) addressee { return addressee{cluster, shard.Shard{Count: 1}} }

// patience bounds the waits of these tests.
const patience = 20 * time.Second

// asked is a question whose answer is awaited.
type asked struct {
	parts []string
	err   error
	done  chan struct{}
}

// ask asks cluster "dev" beside the test.
func (w *world) ask(t *testing.T, ctx context.Context, question Question) *asked { //nolint:revive // the context is the asker's, not the test's
	t.Helper()
	a := &asked{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.err = w.server.Ask(ctx, "dev", question, func(part *statusv1.AskResponse) error {
			a.parts = append(a.parts, part.GetNode().GetObject()+part.GetOmission().GetWhat())
			return nil
		})
	}()
	t.Cleanup(func() { a.wait(t) })
	return a
}

func (a *asked) wait(t *testing.T) {
	t.Helper()
	select {
	case <-a.done:
	case <-time.After(patience):
		t.Fatal("the question has no end")
	}
}

// capable opens a Follow stream that can be called.
func (w *world) capable(t *testing.T, epoch int64) grpc.ServerStreamingClient[relayv1.FollowResponse] {
	t.Helper()
	introduced := hello(epoch)
	introduced.Capabilities = []string{canServe}
	stream, err := w.client.Follow(t.Context(), &relayv1.FollowRequest{Hello: introduced})
	if err != nil {
		t.Fatal(err)
	}
	if first := next(t, stream); first.GetWelcome() == nil {
		t.Fatalf("first message: got %v, want welcome", first)
	}
	return stream
}

func called(t *testing.T, stream grpc.ServerStreamingClient[relayv1.FollowResponse]) {
	t.Helper()
	if message := next(t, stream); message.GetQueriesWaiting() == nil {
		t.Fatalf("got %v, want that questions wait", message)
	}
}

type serveClient = grpc.BidiStreamingClient[relayv1.ServeRequest, relayv1.ServeResponse]

// serve opens a Serve stream and reads its welcome.
func (w *world) serve(t *testing.T, offers ...relayv1.QueryKind) serveClient {
	t.Helper()
	stream, err := w.client.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	introduced := &relayv1.ServeHello{Hello: hello(1), Offers: offers}
	if err := stream.Send(&relayv1.ServeRequest{Message: &relayv1.ServeRequest_Hello{Hello: introduced}}); err != nil {
		t.Fatal(err)
	}
	if first := heard(t, stream); first.GetWelcome() == nil {
		t.Fatalf("first message: got %v, want welcome", first)
	}
	return stream
}

func heard(t *testing.T, stream serveClient) *relayv1.ServeResponse {
	t.Helper()
	message, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func say(t *testing.T, stream serveClient, answers ...*relayv1.Answer) {
	t.Helper()
	for _, answer := range answers {
		if err := stream.Send(&relayv1.ServeRequest{Message: &relayv1.ServeRequest_Answer{Answer: answer}}); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
}

func nodePart(object string) *statusv1.AskResponse {
	return &statusv1.AskResponse{Part: &statusv1.AskResponse_Node{Node: &statusv1.TreeNode{Object: object}}}
}

func TestAQuestionGoesToItsClusterAndTheAnswerBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	follows := w.capable(t, 1)
	a := w.ask(t, t.Context(), treeQuestion)
	called(t, follows)
	stream := w.serve(t, treeQuestion.Kind)
	query := heard(t, stream).GetQuery()
	if query.GetKind() != treeQuestion.Kind || query.GetNamespace() != "shop" || query.GetName() != "web" {
		t.Errorf("query: got %v", query)
	}
	if timeout := query.GetTimeout().AsDuration(); timeout <= 0 || timeout > maxQuestionTime {
		t.Errorf("timeout: got %s", timeout)
	}
	second := w.ask(t, t.Context(), treeQuestion) // the stream that is open takes it
	other := heard(t, stream).GetQuery()
	say(t, stream, &relayv1.Answer{Id: other.GetId(), Last: true},
		&relayv1.Answer{Id: query.GetId(), Part: nodePart("a")}, &relayv1.Answer{Id: query.GetId(), Part: nodePart("b"), Last: true})
	a.wait(t)
	second.wait(t)
	if a.err != nil || strings.Join(a.parts, " ") != "a b" {
		t.Errorf("answer: got %q, %v; want a and b", a.parts, a.err)
	}
	if second.err != nil || len(second.parts) != 0 {
		t.Errorf("second answer: got %q, %v; want nothing", second.parts, second.err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("without a question: got %v, want the end of the stream", err)
	}
	if n := len(w.server.questions.desks); n != 0 {
		t.Errorf("%d clusters are remembered that nobody asks", n)
	}
}

func TestWhyNobodyAnswers(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		before func(*testing.T, *world)
		want   fault.Kind
		says   string
	}{
		"NotConnected": {
			reason: "A cluster that is not there answers nothing.", before: func(*testing.T, *world) {}, want: fault.Stale, says: "not connected",
		},
		"TooOld": {
			reason: "Its synchronizer does not know how.",
			before: func(t *testing.T, w *world) { t.Helper(); w.follow(t, 1, "dev") }, want: fault.Stale, says: "upgrade",
		},
		"OldTookOver": {
			reason: "The newest session counts.",
			before: func(t *testing.T, w *world) { t.Helper(); w.capable(t, 1); w.follow(t, 2, "dev") }, want: fault.Stale, says: "upgrade",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.before(t, w)
			err := w.server.Ask(t.Context(), "dev", treeQuestion, nil)
			if !fault.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s\nAsk(...): got %v, want %v that says %q", tc.reason, err, tc.want, tc.says)
			}
		})
	}
}

func TestOnlyWhatIsOfferedIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	follows := w.capable(t, 1)
	a := w.ask(t, t.Context(), treeQuestion)
	called(t, follows)
	stream := w.serve(t, relayv1.QueryKind_QUERY_KIND_EVENTS)
	a.wait(t)
	if !fault.Is(a.err, fault.Unauthorized) || !strings.Contains(a.err.Error(), "queries") {
		t.Errorf("got %v, want Unauthorized and where that is decided", a.err)
	}
	if message, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, %v; want the end of the stream", message, err)
	}
}

func TestWhatAClusterSaysOfAFailureReachesTheAsker(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		code int32
		want fault.Kind
	}{{5, fault.NotFound}, {7, fault.Unauthorized}, {14, fault.Internal}, {-1, fault.Internal}} {
		w := newWorld(t)
		follows := w.capable(t, 1)
		a := w.ask(t, t.Context(), treeQuestion)
		called(t, follows)
		stream := w.serve(t, treeQuestion.Kind)
		long := strings.Repeat("x", 2*maxReason)
		say(t, stream, &relayv1.Answer{Id: heard(t, stream).GetQuery().GetId(), Code: tc.code, Error: &statusv1.Problem{Message: "no such Sync" + long}})
		a.wait(t)
		if !fault.Is(a.err, tc.want) || !strings.Contains(a.err.Error(), "no such Sync") || len(a.err.Error()) > maxReason+100 {
			t.Errorf("code %d: got %v of %d bytes, want %v, cut", tc.code, a.err, len(a.err.Error()), tc.want)
		}
	}
}

func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		hostile func(*testing.T, serveClient, int64)
		want    fault.Kind
		says    string
	}{
		"UnknownQuestion": {
			reason: "Nobody asked it, so the stream is not one of good faith.",
			hostile: func(t *testing.T, s serveClient, id int64) {
				t.Helper()
				say(t, s, &relayv1.Answer{Id: id + 1, Last: true})
			},
			want: fault.Conflict, says: "lost",
		},
		"Oversize": {
			reason: "A part is larger than the protocol allows.",
			hostile: func(t *testing.T, s serveClient, id int64) {
				t.Helper()
				say(t, s, &relayv1.Answer{Id: id, Part: nodePart(strings.Repeat("x", maxPart))})
			},
			want: fault.Conflict, says: "lost",
		},
		"TooManyParts": {
			reason: "An answer without an end.",
			hostile: func(t *testing.T, s serveClient, id int64) {
				t.Helper()
				for range maxParts + 1 {
					say(t, s, &relayv1.Answer{Id: id, Part: nodePart("x")})
				}
			},
			want: fault.Internal, says: "more than",
		},
		"TooManyBytes": {
			reason: "An answer that would fill the memory.",
			hostile: func(t *testing.T, s serveClient, id int64) {
				t.Helper()
				for range maxAnswer/maxPart + 2 {
					say(t, s, &relayv1.Answer{Id: id, Part: nodePart(strings.Repeat("x", maxPart-100))})
				}
			},
			want: fault.Internal, says: "more than",
		},
		"AnotherKind": {
			reason: "It answers something else.",
			hostile: func(t *testing.T, s serveClient, id int64) {
				t.Helper()
				say(t, s, &relayv1.Answer{Id: id, Part: &statusv1.AskResponse{Part: &statusv1.AskResponse_Event{Event: &statusv1.ObjectEvent{}}}})
			},
			want: fault.Internal, says: "another question",
		},
		"Vanishes": {
			reason: "It is killed in the middle of its answer.",
			hostile: func(t *testing.T, s serveClient, id int64) {
				t.Helper()
				say(t, s, &relayv1.Answer{Id: id, Part: nodePart("x")})
				if err := s.CloseSend(); err != nil {
					t.Error(err)
				}
			},
			want: fault.Conflict, says: "lost",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			follows := w.capable(t, 1)
			a := w.ask(t, t.Context(), treeQuestion)
			called(t, follows)
			stream := w.serve(t, treeQuestion.Kind)
			tc.hostile(t, stream, heard(t, stream).GetQuery().GetId())
			a.wait(t)
			if !fault.Is(a.err, tc.want) || !strings.Contains(a.err.Error(), tc.says) {
				t.Errorf("%s\nAsk(...): got %v, want %v that says %q", tc.reason, a.err, tc.want, tc.says)
			}
		})
	}
}

func TestWhatComesAfterTheEndIsIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	follows := w.capable(t, 1)
	w.ask(t, t.Context(), treeQuestion)
	called(t, follows)
	stream := w.serve(t, treeQuestion.Kind)
	first := heard(t, stream).GetQuery().GetId()
	second := w.ask(t, t.Context(), treeQuestion)
	id := heard(t, stream).GetQuery().GetId()
	say(t, stream, &relayv1.Answer{Id: first, Last: true}, &relayv1.Answer{Id: first, Part: nodePart("late")}, &relayv1.Answer{Id: first, Last: true},
		&relayv1.Answer{Id: id, Part: nodePart("a"), Last: true})
	second.wait(t)
	if second.err != nil || strings.Join(second.parts, " ") != "a" {
		t.Errorf("the other answer: got %q, %v; want a", second.parts, second.err)
	}
}

func TestAnAskerWhoLeavesIsToldToTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	follows := w.capable(t, 1)
	ctx, leave := context.WithCancel(t.Context())
	w.ask(t, ctx, treeQuestion)
	called(t, follows)
	stream := w.serve(t, treeQuestion.Kind)
	id := heard(t, stream).GetQuery().GetId()
	leave()
	if cancelled := heard(t, stream).GetCancel(); cancelled.GetId() != id {
		t.Errorf("got %v, want that %d is cancelled", cancelled, id)
	}
	if message, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("without a question: got %v, %v; want the end of the stream at once", message, err)
	}
}

func TestAStreamThatNobodyAskedForEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stream, err := w.client.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&relayv1.ServeRequest{Message: &relayv1.ServeRequest_Hello{Hello: &relayv1.ServeHello{Hello: hello(1)}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !fault.Is(err, fault.Stale) {
		t.Errorf("got %v, want Stale", err)
	}
}

func TestWhoConnectsLaterHearsOfWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q, err := w.server.questions.put(whole("dev"), treeQuestion, time.Now().Add(patience))
	if err != nil {
		t.Fatal(err)
	}
	called(t, w.capable(t, 1))
	w.server.questions.drop(q)
}

func TestARestartingAutomatorSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.capable(t, 1)
	a := w.ask(t, t.Context(), treeQuestion)
	w.server.Close()
	a.wait(t)
	if a.err == nil || !strings.Contains(a.err.Error(), "restarting") && !strings.Contains(a.err.Error(), "not connected") {
		t.Errorf("got %v, want why", a.err)
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	t.Parallel()
	var all questions
	var open []*question
	for range maxClusterQuestions {
		q, err := all.put(whole("dev"), treeQuestion, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, q)
	}
	if _, err := all.put(whole("dev"), treeQuestion, time.Now()); !fault.Is(err, fault.Conflict) {
		t.Errorf("one more to a cluster: got %v, want Conflict", err)
	}
	for n := 0; len(open) < maxQuestions; n++ {
		q, err := all.put(whole(fmt.Sprintf("other-%d", n)), treeQuestion, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, q)
	}
	if _, err := all.put(whole("last"), treeQuestion, time.Now()); !fault.Is(err, fault.Conflict) {
		t.Errorf("one more to all: got %v, want Conflict", err)
	}
	for _, q := range open {
		all.drop(q)
	}
	if all.open != 0 || len(all.desks) != 0 {
		t.Errorf("%d questions and %d clusters are left", all.open, len(all.desks))
	}
}

func TestNobodyWaitsForEverForACluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{}, Deps{Fleet: fleet.New()})
		defer s.Close()
		seat := s.hub.join(true)
		_, finish, err := s.follows.start(t.Context(), hello(1), shard.Shard{Count: 1}, seat)
		if err != nil {
			t.Fatal(err)
		}
		defer finish()
		began := time.Now()
		err = s.Ask(t.Context(), "dev", treeQuestion, nil)
		if !fault.Is(err, fault.Conflict) || time.Since(began) != pickUpTimeout {
			t.Errorf("a cluster that does not come: got %v after %s, want Conflict after %s", err, time.Since(began), pickUpTimeout)
		}
		time.AfterFunc(time.Second, func() { _, _ = s.questions.attach(whole("dev"), []relayv1.QueryKind{treeQuestion.Kind}) })
		began = time.Now()
		err = s.Ask(t.Context(), "dev", treeQuestion, nil)
		if !fault.Is(err, fault.Conflict) || time.Since(began) != maxQuestionTime {
			t.Errorf("a cluster that does not answer: got %v after %s, want Conflict after %s", err, time.Since(began), maxQuestionTime)
		}
	})
}
