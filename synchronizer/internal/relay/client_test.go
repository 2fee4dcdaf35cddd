package relay

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var source = revision.Source{Repository: "deploy", Ref: "refs/heads/main"}

// handler hands what it is told to channels.
type handler struct {
	deliveries chan Delivery
	problems   chan error
	ready      chan gitobject.ID
}

func (h *handler) Announced(revision.Source, gitobject.ID, time.Time) {}
func (h *handler) Deliver(d Delivery)                                 { h.deliveries <- d }
func (h *handler) Ready(_ revision.Source, c gitobject.ID)            { h.ready <- c }
func (h *handler) SourceProblem(_ revision.Source, cause error)       { h.problems <- cause }
func (h *handler) Denied(revision.Source, []string)                   {}
func (h *handler) SyncNow(string, string)                             {}

// start runs a client against a scripted server.
func start(t *testing.T, server *scriptedRelay, tree Tree) (*Client, *handler) {
	t.Helper()
	return startPatiently(t, backoff.Backoff{Min: 1, Max: time.Millisecond}, server, tree)
}

// startPatiently runs a client that waits before it connects anew.
func startPatiently(t *testing.T, patience backoff.Backoff, server *scriptedRelay, tree Tree) (*Client, *handler) {
	t.Helper()
	log, _ := logtest.New(t)
	srv := rpc.NewServer(rpc.ServerConfig{Identify: func(context.Context) (rpc.Identity, error) { return rpc.Identity{}, nil }, Log: log})
	relayv1.RegisterRelayServiceServer(srv.GRPC, server)
	listener := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ctx, listener) })
	link := NewLink(func() (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///relay", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	})
	h := &handler{deliveries: make(chan Delivery, 10), problems: make(chan error, 10), ready: make(chan gitobject.ID, 10)}
	client := New(Config{Cluster: "dev", Replica: "a", Backoff: patience}, link, openStore(t), h, log)
	client.Follow([]Subscription{{Source: source, Trees: []Tree{tree}}})
	wg.Go(func() { _ = client.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); link.Close() })
	return client, h
}

// announce follows by announcing a commit and staying open.
func announce(commit gitobject.ID) func(*relayv1.FollowRequest, grpc.ServerStreamingServer[relayv1.FollowResponse]) error {
	return func(_ *relayv1.FollowRequest, stream grpc.ServerStreamingServer[relayv1.FollowResponse]) error {
		rev := revision.ToProto(revision.Revision{Commit: commit, ContentID: revision.ContentID{1}})
		err := stream.Send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Announcement{Announcement: &relayv1.Announcement{
			Source: revision.SourceToProto(source), Revision: rev,
		}}})
		if err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}
}

func (g *good) send(stream grpc.ServerStreamingServer[relayv1.FetchResponse], pieces int) error {
	for _, message := range []*relayv1.FetchResponse{g.header, g.commitMsg, g.treeMsg, g.blobMsg, g.trailer}[:pieces] {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

// An automator that is killed again and again is there in between: nobody waits for it as for one that is gone.
func TestWhoWasWelcomedComesBackSoon(t *testing.T) {
	t.Parallel()
	const times = 30
	welcomes := make(chan struct{}, times)
	startPatiently(t, backoff.Backoff{Min: time.Millisecond, Max: time.Hour}, &scriptedRelay{
		follow: func(_ *relayv1.FollowRequest, stream grpc.ServerStreamingServer[relayv1.FollowResponse]) error {
			if err := stream.Send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Welcome{Welcome: &relayv1.Welcome{}}}); err != nil {
				return err
			}
			select {
			case welcomes <- struct{}{}:
			default:
			}
			return fault.New(fault.Internal, "boom")
		},
	}, Tree{Sync: "apps/web", Paths: []string{""}})
	for range times {
		wait(t, welcomes)
	}
}

func TestATransferThatIsCutIsMadeAgain(t *testing.T) {
	t.Parallel()
	g := newGood(t)
	var calls atomic.Int32
	_, h := start(t, &scriptedRelay{
		follow: announce(g.commitID),
		fetch: func(_ *relayv1.FetchRequest, stream grpc.ServerStreamingServer[relayv1.FetchResponse]) error {
			if n := int(calls.Add(1)); n < 5 {
				return g.send(stream, n) // ends without a trailer
			}
			return g.send(stream, 5)
		},
	}, Tree{Sync: "apps/web", Paths: []string{""}})
	got := wait(t, h.deliveries)
	chain := got.Chains["apps/web"]
	if got.Commit != g.commitID || len(chain.Commits) != 1 || chain.Rewritten || calls.Load() != 5 {
		t.Errorf("delivery: got %+v after %d calls", got, calls.Load())
	}
	if err := wait(t, h.problems); !fault.Is(err, fault.Internal) {
		t.Errorf("problem: got %v", err)
	}
}

func TestRewrittenHistoryIsDeliveredAsSuch(t *testing.T) {
	t.Parallel()
	g := newGood(t)
	base := hash(t, gitobject.TypeCommit, []byte("gone"))
	_, h := start(t, &scriptedRelay{
		follow: announce(g.commitID),
		fetch: func(req *relayv1.FetchRequest, stream grpc.ServerStreamingServer[relayv1.FetchResponse]) error {
			want, err := revision.ObjectFromProto(req.GetWant())
			if err != nil {
				return err
			}
			if want == base {
				return fault.New(fault.NotFound, "not in the history")
			}
			return g.send(stream, 5)
		},
	}, Tree{Sync: "apps/web", Paths: []string{""}, Base: base})
	if chain := wait(t, h.deliveries).Chains["apps/web"]; !chain.Rewritten || chain.Base != base || len(chain.Commits) != 1 {
		t.Errorf("chain: got %+v, want a rewritten one", chain)
	}
}

func TestAHeldRevisionIsNotFetched(t *testing.T) {
	t.Parallel()
	g := newGood(t)
	requests := make(chan *relayv1.FollowRequest, 10)
	server := &scriptedRelay{
		follow: func(req *relayv1.FollowRequest, stream grpc.ServerStreamingServer[relayv1.FollowResponse]) error {
			requests <- req
			<-stream.Context().Done()
			return nil
		},
	}
	client, _ := start(t, server, Tree{Sync: "apps/web", Paths: []string{""}})
	if held := wait(t, requests).GetSources()[0].GetHeld(); held != nil {
		t.Errorf("held at first contact: got %v", held)
	}
	for kind, content := range map[gitobject.Type][]byte{gitobject.TypeCommit: g.commit, gitobject.TypeTree: g.tree, gitobject.TypeBlob: g.blob} {
		if err := client.store.Put(hash(t, kind, content), kind, content); err != nil {
			t.Fatal(err)
		}
	}
	client.Follow([]Subscription{{Source: source, Trees: []Tree{{Sync: "apps/other", Paths: []string{""}, Base: g.commitID}}}})
	held, err := revision.FromProto(wait(t, requests).GetSources()[0].GetHeld())
	if err != nil || held.Commit != g.commitID || held.ContentID.IsZero() {
		t.Errorf("held: got %v, %v; want %s", held, err, g.commitID)
	}
}

func TestASilentStreamIsReplaced(t *testing.T) {
	t.Parallel()
	streams := make(chan int64, 10)
	start(t, &scriptedRelay{
		follow: func(req *relayv1.FollowRequest, stream grpc.ServerStreamingServer[relayv1.FollowResponse]) error {
			streams <- req.GetHello().GetEpoch()
			welcome := &relayv1.Welcome{Heartbeat: durationpb.New(time.Millisecond)}
			if err := stream.Send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Welcome{Welcome: welcome}}); err != nil {
				return err
			}
			<-stream.Context().Done() // says nothing more
			return nil
		},
	}, Tree{Sync: "apps/web", Paths: []string{""}})
	if first, second := wait(t, streams), wait(t, streams); second <= first {
		t.Errorf("epochs: got %d then %d, want a higher one", first, second)
	}
}

func TestTraceOf(t *testing.T) {
	t.Parallel()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for traceparent, want := range map[string]string{
		"00-" + trace + "-b7ad6b7169203331-01": trace,
		"":                                     "",
		"00-" + trace + "-b7ad6b7169203331":    "",
		"00-" + trace[1:] + "-b7ad6b7169203331-01":  "",
		"00-x" + trace[1:] + "-b7ad6b7169203331-01": "",
	} {
		if got := traceOf(traceparent); got != want {
			t.Errorf("traceOf(%q): got %q, want %q", traceparent, got, want)
		}
	}
}
