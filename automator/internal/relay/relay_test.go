package relay

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

var main = revision.Source{Repository: "deploy", Ref: "refs/heads/main"}

// world is a server for cluster "dev" with one repository.
type world struct {
	server *Server
	repo   *memory
	client relayv1.RelayServiceClient
	fleet  *fleet.State

	mu       sync.Mutex
	grants   Grants
	events   []*statusv1.Event
	refuse   error
	material signature.Material // what is known about ghcr.io/acme/api; set before anything is asked

	slow chan struct{} // the store is, until this is closed; set before anything is stored
}

func (w *world) AppendEvents(ctx context.Context, events []*statusv1.Event) error {
	if w.slow != nil {
		select {
		case <-w.slow:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, events...)
	return w.refuse
}

func (w *world) stored() []*statusv1.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *world) grant(grants ...Grant) {
	w.mu.Lock()
	w.grants = Grants{Known: grants}
	w.mu.Unlock()
	w.server.Changed()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{repo: newMemory(), fleet: fleet.New()}
	log, _ := logtest.New(t)
	w.server = New(Config{Heartbeat: time.Minute}, Deps{
		Repository: func(name string) (Repository, bool) { return w.repo, name == main.Repository },
		Grants: func(string) Grants {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.grants
		},
		Signatures: w.signatures, Events: w, Fleet: w.fleet, Log: log,
	})
	w.grants.Known = []Grant{{Repository: "deploy", Refs: []string{"refs/heads/*"}, Paths: []string{"dev", "base"}}}
	server := rpc.NewServer(rpc.ServerConfig{
		Identify: func(context.Context) (rpc.Identity, error) {
			return rpc.Identity{Role: rpc.RoleCluster, Name: "dev"}, nil
		},
		Log: log,
	})
	relayv1.RegisterRelayServiceServer(server.GRPC, w.server)
	listener := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(ctx, listener) })
	wg.Go(func() { _ = w.server.Run(ctx) })
	conn, err := grpc.NewClient("passthrough:///relay", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close(); conn.Close(); cancel(); wg.Wait() })
	w.client = relayv1.NewRelayServiceClient(conn)
	return w
}

func hello(epoch int64) *relayv1.Hello {
	return &relayv1.Hello{Cluster: "dev", Replica: "a", Epoch: epoch, Protocol: Protocol}
}

// follow opens a stream for paths and reads its welcome.
func (w *world) follow(t *testing.T, epoch int64, paths ...string) grpc.ServerStreamingClient[relayv1.FollowResponse] {
	t.Helper()
	stream, err := w.client.Follow(t.Context(), &relayv1.FollowRequest{
		Hello: hello(epoch), Sources: []*relayv1.FollowedSource{{Source: revision.SourceToProto(main), Paths: paths}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if first := next(t, stream); first.GetWelcome().GetProtocol() != Protocol {
		t.Fatalf("first message: got %v, want welcome", first)
	}
	return stream
}

func next(t *testing.T, stream grpc.ServerStreamingClient[relayv1.FollowResponse]) *relayv1.FollowResponse {
	t.Helper()
	message, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func announcedCommit(t *testing.T, message *relayv1.FollowResponse) gitobject.ID {
	t.Helper()
	rev, err := revision.FromProto(message.GetAnnouncement().GetRevision())
	if err != nil || rev.IsZero() {
		t.Fatalf("message: got %v, want an announcement (%v)", message, err)
	}
	return rev.Commit
}

func TestOnlyNewContentIsAnnounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.repo.commit(t, map[string]string{"dev/a": "1", "prod/a": "1"})
	stream := w.follow(t, 1, "dev")
	if got := announcedCommit(t, next(t, stream)); got != first {
		t.Errorf("announced: got %s, want %s", got, first)
	}
	w.repo.commit(t, map[string]string{"dev/a": "1", "prod/a": "2"}) // nothing under dev
	w.server.Changed()
	third := w.repo.commit(t, map[string]string{"dev/a": "2", "prod/a": "2"})
	w.server.Changed()
	if got := announcedCommit(t, next(t, stream)); got != third {
		t.Errorf("announced: got %s, want %s", got, third)
	}
}

// What is announced is not handed out before the announcement is recorded: once a cluster has it, nothing announces it again.
func TestAFetchWaitsForTheRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slow = make(chan struct{})
	w.repo.commit(t, map[string]string{"dev/a": "1"})
	announcedCommit(t, next(t, w.follow(t, 1, "dev")))
	request := &relayv1.FetchRequest{Hello: hello(1), Source: revision.SourceToProto(main), Want: w.tip(t), Paths: []string{"dev"}}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	stream, err := w.client.Fetch(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	if piece, err := stream.Recv(); err == nil {
		t.Errorf("before the record: got %v, want nothing", piece)
	}
	close(w.slow)
	if _, err := w.fetch(t, request); err != nil || len(w.stored()) != 1 {
		t.Errorf("after the record: %v, %d events", err, len(w.stored()))
	}
}

// A store that hangs holds deliveries up for a moment only.
func TestAFetchDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var u unrecorded
		first, second := u.begin("dev"), u.begin("dev")
		defer second()
		u.begin("prod")()
		first()
		began := time.Now()
		if err := u.wait(t.Context(), "prod"); err != nil || time.Since(began) != 0 {
			t.Errorf("another cluster's: waited %s, %v", time.Since(began), err)
		}
		if err := u.wait(t.Context(), "dev"); err != nil || time.Since(began) != recordTimeout {
			t.Errorf("waited %s, %v, want %s", time.Since(began), err, recordTimeout)
		}
	})
}

func TestAHeldContentIsReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	commit := w.repo.commit(t, map[string]string{"dev/a": "1"})
	content, err := ContentAt(t.Context(), w.repo, commit, []string{"dev"})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := w.client.Follow(t.Context(), &relayv1.FollowRequest{Hello: hello(1), Sources: []*relayv1.FollowedSource{{
		Source: revision.SourceToProto(main), Paths: []string{"dev"}, Held: revision.ToProto(revision.Revision{Commit: commit, ContentID: content}),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	next(t, stream)
	if got := next(t, stream); got.GetSourceReady() == nil {
		t.Errorf("message: got %v, want source_ready", got)
	}
}

func TestAGrantIsLookedUpAllTheTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.repo.commit(t, map[string]string{"dev/a": "1", "prod/a": "1"})
	stream := w.follow(t, 1, "prod")
	if got := next(t, stream).GetSourceProblem().GetProblem(); got.GetKind() != statusv1.ProblemKind_PROBLEM_KIND_SOURCE {
		t.Errorf("without a grant: got %v, want a problem", got)
	}
	w.grant(Grant{Repository: "deploy", Refs: []string{"refs/heads/main"}, Paths: []string{"prod"}})
	announcedCommit(t, next(t, stream))
	w.grant()
	if got := next(t, stream).GetSourceProblem(); got == nil {
		t.Error("after the grant was taken: got no problem")
	}
	_, err := w.fetch(t, &relayv1.FetchRequest{Source: revision.SourceToProto(main), Want: w.tip(t), Paths: []string{"prod"}})
	if !fault.Is(err, fault.Unauthorized) {
		t.Errorf("Fetch after the grant was taken: got %v, want Unauthorized", err)
	}
}

// An automator that has just started says that it does not know yet, and not that something is missing.
func TestGrantsThatAreNotKnownYetAreNotMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.repo.commit(t, map[string]string{"dev/a": "1"})
	w.grants = Grants{Incomplete: true}
	stream := w.follow(t, 1, "dev")
	if got := next(t, stream).GetSourceProblem().GetProblem().GetMessage(); !strings.Contains(got, "not known yet") {
		t.Errorf("before the repositories were read: got %q", got)
	}
	_, err := w.fetch(t, &relayv1.FetchRequest{Source: revision.SourceToProto(main), Want: w.tip(t), Paths: []string{"dev"}})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("Fetch before the repositories were read: got %v, want Unavailable", err)
	}
	w.grant(Grant{Repository: "deploy", Refs: []string{"refs/heads/main"}, Paths: []string{"dev"}})
	announcedCommit(t, next(t, stream))
}

func TestANewerSessionEndsTheOlder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.repo.commit(t, map[string]string{"dev/a": "1"})
	old := w.follow(t, 5, "dev")
	announcedCommit(t, next(t, old))
	w.follow(t, 6, "dev")
	if _, err := old.Recv(); !fault.Is(fault.FromStatus(err), fault.Stale) {
		t.Errorf("older session: got %v, want Stale", err)
	}
	late, err := w.client.Follow(t.Context(), &relayv1.FollowRequest{Hello: hello(5)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Recv(); !fault.Is(fault.FromStatus(err), fault.Stale) {
		t.Errorf("late older session: got %v, want Stale", err)
	}
	if clusters := w.fleet.Clusters(); len(clusters) != 1 || !clusters[0].GetConnected() {
		t.Errorf("clusters: got %v, want dev connected", clusters)
	}
}

func TestACallerIsItsCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stream, err := w.client.Follow(t.Context(), &relayv1.FollowRequest{Hello: &relayv1.Hello{Cluster: "prod", Replica: "a", Protocol: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !fault.Is(fault.FromStatus(err), fault.Unauthorized) {
		t.Errorf("Follow as another cluster: got %v, want Unauthorized", err)
	}
}

func (w *world) tip(t *testing.T) *revisionv1.ObjectId {
	t.Helper()
	commit, _, ok := w.repo.Resolve(t.Context(), main.Ref)
	if !ok {
		t.Fatal("no commit")
	}
	return revision.ObjectToProto(commit)
}

// fetch returns every piece of a transfer.
func (w *world) fetch(t *testing.T, req *relayv1.FetchRequest) ([]*relayv1.FetchResponse, error) {
	t.Helper()
	req.Hello = hello(1)
	stream, err := w.client.Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var pieces []*relayv1.FetchResponse
	for {
		piece, err := stream.Recv()
		if err != nil {
			return pieces, fault.FromStatus(err)
		}
		pieces = append(pieces, piece)
		if piece.GetTrailer() != nil {
			return pieces, nil
		}
	}
}

func blobs(pieces []*relayv1.FetchResponse) (contents []string) {
	for _, p := range pieces {
		if blob := p.GetBlob(); blob != nil {
			contents = append(contents, string(blob.GetContent()))
		}
	}
	return contents
}

func TestFetchBringsWhatDiffersAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.repo.commit(t, map[string]string{"dev/a": "a1", "dev/b": "b1", "prod/a": "secret1"})
	w.repo.commit(t, map[string]string{"dev/a": "a1", "dev/b": "b1", "prod/a": "secret2"})
	w.repo.commit(t, map[string]string{"dev/a": "a2", "dev/b": "b1", "prod/a": "secret2"})
	all, err := w.fetch(t, &relayv1.FetchRequest{Source: revision.SourceToProto(main), Want: w.tip(t), Paths: []string{"dev"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := blobs(all); !slices.Equal(got, []string{"a2", "b1"}) {
		t.Errorf("first contact: got blobs %q, want a2 and b1", got)
	}
	some, err := w.fetch(t, &relayv1.FetchRequest{
		Source: revision.SourceToProto(main), Want: w.tip(t), Held: revision.ObjectToProto(first), Paths: []string{"dev"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := blobs(some); !slices.Equal(got, []string{"a2"}) {
		t.Errorf("from the first commit: got blobs %q, want a2", got)
	}
	var deltas, trees int
	for _, p := range some {
		if p.GetTreeDelta() != nil {
			deltas++
		}
		if p.GetTree() != nil {
			trees++
		}
	}
	// The second commit's root, though it touches nothing followed; the third's root and dev.
	if deltas != 3 || trees != 0 || some[0].GetHeader().GetCommits() != 2 {
		t.Errorf("from the first commit: got %d deltas, %d trees, header %v; want 3, 0, 2 commits", deltas, trees, some[0].GetHeader())
	}
}

func TestFetchStaysInsideTheGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	commit := w.repo.commit(t, map[string]string{"dev/a": "1", "prod/a": "2"})
	unreachable := hash(t, gitobject.TypeCommit, []byte("somewhere else"))
	cases := map[string]struct {
		reason string
		req    *relayv1.FetchRequest
		want   fault.Kind
	}{
		"Path":   {reason: "A path outside the grant.", want: fault.Unauthorized, req: &relayv1.FetchRequest{Source: revision.SourceToProto(main), Want: revision.ObjectToProto(commit), Paths: []string{"prod"}}},
		"Root":   {reason: "The whole tree is more than the grant.", want: fault.Unauthorized, req: &relayv1.FetchRequest{Source: revision.SourceToProto(main), Want: revision.ObjectToProto(commit), Paths: []string{""}}},
		"Escape": {reason: "A path that leaves.", want: fault.Invalid, req: &relayv1.FetchRequest{Source: revision.SourceToProto(main), Want: revision.ObjectToProto(commit), Paths: []string{"dev/../../etc"}}},
		"Commit": {reason: "A commit of no granted ref.", want: fault.NotFound, req: &relayv1.FetchRequest{Source: revision.SourceToProto(main), Want: revision.ObjectToProto(unreachable), Paths: []string{"dev"}}},
		"Tag":    {reason: "A tag that the ref does not name.", want: fault.NotFound, req: &relayv1.FetchRequest{Source: revision.SourceToProto(main), Want: revision.ObjectToProto(commit), Tag: revision.ObjectToProto(unreachable), Paths: []string{"dev"}}},
		"Ref":    {reason: "A ref outside the grant.", want: fault.Unauthorized, req: &relayv1.FetchRequest{Source: &revisionv1.Source{Repository: "deploy", Ref: "refs/tags/v1"}, Want: revision.ObjectToProto(commit), Paths: []string{"dev"}}},
		"Held":   {reason: "No way from what is held.", want: fault.Stale, req: &relayv1.FetchRequest{Source: revision.SourceToProto(main), Want: revision.ObjectToProto(commit), Held: revision.ObjectToProto(unreachable), Paths: []string{"dev"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pieces, err := w.fetch(t, tc.req)
			if !fault.Is(err, tc.want) || len(pieces) > 0 {
				t.Errorf("%s\nFetch(...): got %d pieces, %v; want %v", tc.reason, len(pieces), err, tc.want)
			}
		})
	}
}

func TestALargeTransferIsCutAtACommit(t *testing.T) {
	t.Parallel()
	repo := newMemory()
	large := func(mark byte) string { return string(slices.Repeat([]byte{mark}, 30<<20)) }
	held := repo.commit(t, map[string]string{"dev/a": "1"})
	second := repo.commit(t, map[string]string{"dev/a": large('a')})
	third := repo.commit(t, map[string]string{"dev/a": large('b')})
	fourth := repo.commit(t, map[string]string{"dev/a": large('c')})
	plan, err := collect(t.Context(), repo, []string{"dev"}, held, []gitobject.ID{second, third, fourth})
	if err != nil {
		t.Fatal(err)
	}
	if plan.until != third || plan.commits != 2 || plan.bytes > MaxTransfer {
		t.Errorf("collect(...): until %s with %d commits and %d bytes, want %s", plan.until, plan.commits, plan.bytes, third)
	}
	huge := repo.commit(t, map[string]string{"dev/a": large('d'), "dev/b": large('e'), "dev/c": large('f')})
	if _, err := collect(t.Context(), repo, []string{"dev"}, fourth, []gitobject.ID{huge}); !fault.Is(err, fault.Invalid) {
		t.Errorf("collect(one commit over the limit): got %v, want Invalid", err)
	}
}

func TestEventsAreStoredBeforeTheyAreAcknowledged(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]error{"Stored": nil, "NotStored": errBoom} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.refuse = refuse
			stream, err := w.client.Report(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			report(t, stream, &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Hello{Hello: hello(1)}})
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			id := slices.Repeat([]byte{7}, 32)
			report(t, stream, &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Event{Event: &statusv1.Event{Cluster: "dev", Id: id}}})
			answer, err := stream.Recv()
			if refuse == nil && (err != nil || !slices.Equal(answer.GetAck().GetIds()[0], id)) {
				t.Errorf("answer: got %v, %v; want an ack", answer, err)
			}
			if drain := answer.GetDrain(); refuse != nil && drain.GetProblem() != refuse.Error() {
				t.Errorf("answer: got %v, %v; want to be asked to come again, and why", answer, err)
			}
		})
	}
}

func TestAClusterReportsOnlyItself(t *testing.T) {
	t.Parallel()
	forged := map[string]*relayv1.ReportRequest{
		"Event": {Message: &relayv1.ReportRequest_Event{Event: &statusv1.Event{Cluster: "prod", Id: make([]byte, 32)}}},
		"Sync":  {Message: &relayv1.ReportRequest_Sync{Sync: &statusv1.Sync{Cluster: "prod"}}},
		"End":   {Message: &relayv1.ReportRequest_End{End: &relayv1.StatusEnd{}}},
	}
	for name, message := range forged {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			stream, err := w.client.Report(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			report(t, stream, &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Hello{Hello: hello(1)}})
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			report(t, stream, message)
			if answer, err := stream.Recv(); !fault.Is(fault.FromStatus(err), fault.Invalid) {
				t.Errorf("answer: got %v, %v; want Invalid", answer, err)
			}
			if len(w.fleet.Syncs(nil)) != 0 || len(w.events) != 0 {
				t.Error("something of it was kept")
			}
		})
	}
}

func report(t *testing.T, stream grpc.BidiStreamingClient[relayv1.ReportRequest, relayv1.ReportResponse], message *relayv1.ReportRequest) {
	t.Helper()
	if err := stream.Send(message); err != nil {
		t.Fatal(err)
	}
}
