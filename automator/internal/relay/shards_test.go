package relay

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/shard"
)

// worker is how the replica that works for a shard introduces itself.
func worker(of shard.Shard, epoch int64) *relayv1.Hello {
	introduced := hello(epoch)
	if introduced.Replica = "leader"; of.Index > 0 {
		introduced.Replica = fmt.Sprintf("leader-%d", of.Index)
	}
	introduced.Shard, introduced.Shards = int32(of.Index), int32(of.Count)
	introduced.Capabilities = []string{canServe}
	return introduced
}

// shardSyncs are the Syncs of a shard among some.
func shardSyncs(of shard.Shard) (names []string) {
	for i := range 24 {
		if name := fmt.Sprintf("app-%02d", i); of.Owns("apps", name) {
			names = append(names, name)
		}
	}
	return names
}

type reportClient = grpc.BidiStreamingClient[relayv1.ReportRequest, relayv1.ReportResponse]

// reports opens a Report stream of a shard, for as long as these tests wait.
func (w *world) reports(t *testing.T, introduced *relayv1.Hello) reportClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	stream, err := w.client.Report(ctx)
	if err != nil {
		t.Fatal(err)
	}
	report(t, stream, &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Hello{Hello: introduced}})
	welcome, err := stream.Recv()
	if err != nil || !slices.Contains(welcome.GetWelcome().GetCapabilities(), canShard) {
		t.Fatalf("welcome: got %v, %v; want one that offers shards", welcome, err)
	}
	return stream
}

// full sends a full status.
func full(t *testing.T, stream reportClient, names ...string) {
	t.Helper()
	report(t, stream, &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Begin{Begin: &relayv1.StatusBegin{}}})
	for _, name := range names {
		report(t, stream, &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Sync{Sync: &statusv1.Sync{Cluster: "dev", Namespace: "apps", Name: name}}})
	}
	report(t, stream, &relayv1.ReportRequest{Message: &relayv1.ReportRequest_End{End: &relayv1.StatusEnd{}}})
}

// shows waits until the fleet has Syncs of these names and no other.
func (w *world) shows(t *testing.T, names []string) {
	t.Helper()
	slices.Sort(names)
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); {
		got = nil
		for _, s := range w.fleet.Syncs(nil) {
			got = append(got, s.GetName())
		}
		if slices.Equal(got, names) {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(time.Millisecond):
		}
	}
	t.Fatalf("Syncs: got %v, want %v", got, names)
}

func TestAShardsStatusLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := shard.Shard{Index: 0, Count: 2}, shard.Shard{Index: 1, Count: 2}
	mine, others := shardSyncs(first), shardSyncs(second)
	streams := []reportClient{w.reports(t, worker(first, 1)), w.reports(t, worker(second, 1))}
	full(t, streams[0], mine...)
	full(t, streams[1], others...)
	w.shows(t, slices.Concat(mine, others))
	full(t, streams[1], others[1:]...) // one is gone
	w.shows(t, slices.Concat(mine, others[1:]))
	report(t, streams[0], &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Removed{Removed: &statusv1.SyncKey{Cluster: "dev", Namespace: "apps", Name: mine[0]}}})
	w.shows(t, slices.Concat(mine[1:], others[1:]))
}

func TestAShardSpeaksOfItsOwnSyncsAlone(t *testing.T) {
	t.Parallel()
	of, other := shard.Shard{Index: 0, Count: 2}, shard.Shard{Index: 1, Count: 2}
	foreign := shardSyncs(other)[0]
	forged := map[string]*relayv1.ReportRequest{
		"Sync":    {Message: &relayv1.ReportRequest_Sync{Sync: &statusv1.Sync{Cluster: "dev", Namespace: "apps", Name: foreign}}},
		"Removed": {Message: &relayv1.ReportRequest_Removed{Removed: &statusv1.SyncKey{Cluster: "dev", Namespace: "apps", Name: foreign}}},
	}
	for name, message := range forged {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			stream := w.reports(t, worker(of, 1))
			report(t, stream, message)
			if answer, err := stream.Recv(); !fault.Is(fault.FromStatus(err), fault.Invalid) {
				t.Errorf("answer: got %v, %v; want Invalid", answer, err)
			}
		})
	}
}

// TestAnotherNumberOfShardsEndsTheFormerSessions has a cluster divided anew: a stream by the former number ends, and nothing
// that was reported by it flickers.
func TestAnotherNumberOfShardsEndsTheFormerSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []string
	var former []reportClient
	for index := range 3 {
		of := shard.Shard{Index: index, Count: 3}
		stream := w.reports(t, worker(of, 1))
		full(t, stream, shardSyncs(of)...)
		former, all = append(former, stream), append(all, shardSyncs(of)...)
	}
	w.shows(t, all)
	now := shard.Shard{Index: 0, Count: 2}
	stream := w.reports(t, worker(now, 1<<32))
	gone := shardSyncs(now)[0]
	full(t, stream, shardSyncs(now)[1:]...)
	all = slices.DeleteFunc(all, func(name string) bool { return name == gone })
	w.shows(t, all)
	for index, stale := range former {
		name := shardSyncs(shard.Shard{Index: index, Count: 3})[0]
		report(t, stale, &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Removed{Removed: &statusv1.SyncKey{Cluster: "dev", Namespace: "apps", Name: name}}})
		if _, err := stale.Recv(); !fault.Is(fault.FromStatus(err), fault.Stale) {
			t.Errorf("what shard %d of 3 says now: got %v, want Stale", index, err)
		}
	}
	w.shows(t, all)
	if got := w.server.reports.count(); got != 1 {
		t.Errorf("Report streams that count: got %d, want 1", got)
	}
}

func TestAQuestionGoesToTheReplicaThatWorksForTheSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := shard.Shard{Index: shard.Of(treeQuestion.Namespace, treeQuestion.Name, 2), Count: 2}
	other := shard.Shard{Index: 1 - owner.Index, Count: 2}
	follow := func(of shard.Shard) grpc.ServerStreamingClient[relayv1.FollowResponse] {
		stream, err := w.client.Follow(t.Context(), &relayv1.FollowRequest{Hello: worker(of, 1)})
		if err != nil {
			t.Fatal(err)
		}
		if first := next(t, stream); first.GetWelcome() == nil {
			t.Fatalf("first message: got %v, want welcome", first)
		}
		return stream
	}
	_ = follow(other)
	lonely := w.ask(t, t.Context(), treeQuestion)
	lonely.wait(t)
	if !fault.Is(lonely.err, fault.Stale) {
		t.Errorf("asked while the owner is not connected: got %v, want Stale", lonely.err)
	}
	follows := follow(owner)
	a := w.ask(t, t.Context(), treeQuestion)
	called(t, follows)
	if stream, err := w.client.Serve(t.Context()); err != nil {
		t.Fatal(err)
	} else if err := stream.Send(&relayv1.ServeRequest{Message: &relayv1.ServeRequest_Hello{Hello: &relayv1.ServeHello{Hello: worker(other, 1), Offers: []relayv1.QueryKind{treeQuestion.Kind}}}}); err != nil {
		t.Fatal(err)
	} else if _, err := stream.Recv(); !fault.Is(fault.FromStatus(err), fault.Stale) {
		t.Errorf("the other replica comes to answer: got %v, want Stale", err)
	}
	stream, err := w.client.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&relayv1.ServeRequest{Message: &relayv1.ServeRequest_Hello{Hello: &relayv1.ServeHello{Hello: worker(owner, 1), Offers: []relayv1.QueryKind{treeQuestion.Kind}}}}); err != nil {
		t.Fatal(err)
	}
	if first := heard(t, stream); first.GetWelcome() == nil {
		t.Fatalf("first message: got %v, want welcome", first)
	}
	query := heard(t, stream).GetQuery()
	say(t, stream, &relayv1.Answer{Id: query.GetId(), Last: true, Part: nodePart("Deployment/web")})
	a.wait(t)
	if a.err != nil || !slices.Equal(a.parts, []string{"Deployment/web"}) {
		t.Errorf("answer: got %v, %v", a.parts, a.err)
	}
}

// TestAClustersQuestionsAreBoundedOverItsReplicas opens as many questions as a cluster may have, to two replicas.
func TestAClustersQuestionsAreBoundedOverItsReplicas(t *testing.T) {
	t.Parallel()
	var h questions
	until := time.Now().Add(time.Minute)
	for i := range maxClusterQuestions {
		if _, err := h.put(addressee{"dev", shard.Shard{Index: i % 2, Count: 2}}, treeQuestion, until); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.put(addressee{"dev", shard.Shard{Index: 1, Count: 2}}, treeQuestion, until); !fault.Is(err, fault.Conflict) {
		t.Errorf("one more: got %v, want Conflict", err)
	}
	if _, err := h.put(addressee{"prod", shard.Shard{}}, treeQuestion, until); err != nil {
		t.Errorf("another cluster: got %v", err)
	}
}

func TestNoShardIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	introduced := worker(shard.Shard{Index: 2, Count: 2}, 1)
	follow, err := w.client.Follow(t.Context(), &relayv1.FollowRequest{Hello: introduced})
	if err == nil {
		_, err = follow.Recv()
	}
	if !fault.Is(fault.FromStatus(err), fault.Invalid) {
		t.Errorf("Follow of shard 2 of 2: got %v, want Invalid", err)
	}
}
