package report

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeServer is a RelayService that remembers what it was told and cuts every stream after a number of events.
type fakeServer struct {
	relayv1.UnimplementedRelayServiceServer
	hello    *relayv1.Hello
	mu       sync.Mutex
	seen     map[string]int // event ids and how often they came
	order    []string
	unacked  int
	mostOpen int
	cutAfter int
	mute     bool // acknowledges nothing
	problem  string
	refuses  int // events that have a problem, before others are stored
	able     []string
	full     chan []string
	named    chan string // Syncs outside of a full status
	enough   chan struct{}
	want     int
}

func (f *fakeServer) Report(stream grpc.BidiStreamingServer[relayv1.ReportRequest, relayv1.ReportResponse]) error {
	var named []string
	if first, err := stream.Recv(); err != nil {
		return err
	} else if f.hello = first.GetHello(); f.hello == nil {
		return fmt.Errorf("no hello")
	}
	begun := false
	err := stream.Send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Welcome{Welcome: &relayv1.Welcome{Heartbeat: durationpb.New(time.Minute), Capabilities: f.able}}})
	if err != nil {
		return err
	}
	for events := 0; ; {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := message.GetMessage().(type) {
		case *relayv1.ReportRequest_Begin:
			begun = true
		case *relayv1.ReportRequest_Sync:
			if named = append(named, m.Sync.GetName()); !begun {
				f.named <- m.Sync.GetName()
			}
		case *relayv1.ReportRequest_End:
			f.full <- named
		case *relayv1.ReportRequest_Event:
			if events++; events == f.cutAfter {
				return fmt.Errorf("cut")
			}
			if err := f.event(stream, m.Event); err != nil {
				return err
			}
		}
	}
}

func (f *fakeServer) event(stream grpc.BidiStreamingServer[relayv1.ReportRequest, relayv1.ReportResponse], event *statusv1.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses > 0 {
		f.refuses--
		return stream.Send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Drain{Drain: &relayv1.Drain{Reason: "come again", Problem: f.problem}}})
	}
	f.unacked++
	f.mostOpen = max(f.mostOpen, f.unacked)
	if f.seen[string(event.GetId())]++; f.seen[string(event.GetId())] == 1 {
		f.order = append(f.order, event.GetMessage())
	}
	if len(f.seen) == f.want {
		f.want = -1
		close(f.enough)
	}
	if f.mute {
		return nil
	}
	f.unacked--
	return stream.Send(&relayv1.ReportResponse{Message: &relayv1.ReportResponse_Ack{Ack: &relayv1.EventAck{Ids: [][]byte{event.GetId()}}}})
}

type connector struct{ conn *grpc.ClientConn }

func (c connector) Conn() (*grpc.ClientConn, error) { return c.conn, nil }

// start serves f in memory and returns how to connect to it.
func start(t *testing.T, f *fakeServer) connector {
	t.Helper()
	f.seen, f.full, f.named, f.enough = map[string]int{}, make(chan []string, 100), make(chan string, 100), make(chan struct{})
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	relayv1.RegisterRelayServiceServer(server, f)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient("passthrough:///fake", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); server.Stop(); wg.Wait() })
	return connector{conn}
}

func newReporter(t *testing.T, dir string, link Connector, state *fleet.State) *Reporter {
	t.Helper()
	log, _ := logtest.New(t)
	r, err := New(Config{
		Hello: &relayv1.Hello{Cluster: "dev", Replica: "a"}, Dir: dir, Backoff: backoff.Backoff{Min: 1, Max: time.Millisecond},
	}, link, state, log)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// event returns the n-th event of one content.
func event(n int) *statusv1.Event {
	return &statusv1.Event{
		SyncUid: "u", Attempt: int64(n), Message: fmt.Sprint(n), State: statusv1.EventState_EVENT_STATE_APPLIED,
		Revision: &revisionv1.Revision{ContentId: make([]byte, 32)},
	}
}

func TestEveryEventArrivesThroughCutsInOrder(t *testing.T) {
	t.Parallel()
	const events = 40
	f := &fakeServer{cutAfter: 7, want: events}
	r := newReporter(t, t.TempDir(), start(t, f), fleet.New())
	for n := range events {
		r.Event(event(n))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	<-f.enough
	cancel()
	wg.Wait()
	if !slices.IsSortedFunc(f.order, func(a, b string) int { return len(a)*10 - len(b)*10 + int(a[0]) - int(b[0]) }) {
		t.Errorf("events came out of order: %v", f.order)
	}
}

// Why events are not stored is logged once, until they are.
func TestTheProblemOfTheAutomatorIsLogged(t *testing.T) {
	t.Parallel()
	f := &fakeServer{want: 1, refuses: 3, problem: "disk full" + strings.Repeat("!", 2*maxProblem)}
	log, logs := logtest.New(t)
	r := newReporter(t, t.TempDir(), start(t, f), fleet.New())
	r.log = log
	r.Event(event(1))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	select {
	case <-f.enough:
	case <-time.After(time.Minute):
		t.Error("the event never arrived")
	}
	cancel()
	wg.Wait()
	warned := logs.FilterLevelExact(zapcore.WarnLevel).All()
	if len(warned) != 1 || warned[0].ContextMap()["problem"] != f.problem[:maxProblem] || warned[0].ContextMap()["waiting"] != int64(1) {
		t.Errorf("warned of %v, want once of the problem, clipped", warned)
	}
	if ended := logs.FilterMessage("report stream lost").All(); len(ended) < 3 || !strings.Contains(ended[0].ContextMap()["error"].(string), "disk full") {
		t.Errorf("sessions ended: %v, want the problem as the reason", ended)
	}
}

func TestTheWindowStopsTheSender(t *testing.T) {
	t.Parallel()
	f := &fakeServer{mute: true, want: window}
	r := newReporter(t, t.TempDir(), start(t, f), fleet.New())
	for n := range window + 50 {
		r.Event(event(n))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	<-f.enough
	cancel()
	wg.Wait()
	if f.mostOpen != window {
		t.Errorf("unacknowledged events: got %d, want %d", f.mostOpen, window)
	}
}

func TestFullStatusNamesEverySync(t *testing.T) {
	t.Parallel()
	f := &fakeServer{}
	state := fleet.New()
	for _, name := range []string{"a", "b"} {
		if err := state.Put(&statusv1.Sync{Cluster: "dev", Namespace: "apps", Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	r := newReporter(t, t.TempDir(), start(t, f), state)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	named := <-f.full
	cancel()
	wg.Wait()
	if slices.Sort(named); !slices.Equal(named, []string{"a", "b"}) {
		t.Errorf("full status: got %v", named)
	}
}

// TestAShardReportsItsOwnSyncs has one of two shards report: to an automator that knows shards by a full status, to an older
// one, which would take that for the whole cluster's, without.
func TestAShardReportsItsOwnSyncs(t *testing.T) {
	t.Parallel()
	of := shard.Shard{Index: 1, Count: 2}
	for name, able := range map[string][]string{"Knows": {canShard}, "Older": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeServer{able: able}
			state := fleet.New()
			var want []string
			for i := range 10 {
				name := fmt.Sprintf("app-%d", i)
				if err := state.Put(&statusv1.Sync{Cluster: "dev", Namespace: "apps", Name: name}); err != nil {
					t.Fatal(err)
				}
				if of.Owns("apps", name) {
					want = append(want, name)
				}
			}
			r := newReporter(t, t.TempDir(), start(t, f), state)
			r.Begin(&relayv1.Hello{Cluster: "dev", Replica: "leader-1", Epoch: 7 << 32, Shard: 1, Shards: 2})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = r.Run(ctx) })
			var got []string
			full := false
			end := time.After(time.Minute)
			for len(got) < len(want) {
				select {
				case all := <-f.full:
					got, full = append(got, all...), true
				case one := <-f.named:
					got = append(got, one)
				case <-end:
					t.Fatalf("reported: got %v, want %v", got, want)
				}
			}
			cancel()
			wg.Wait()
			if slices.Sort(got); !slices.Equal(got, want) || len(f.full) > 0 || len(f.named) > 0 || full != (able != nil) {
				t.Errorf("reported: got %v, %d more and %d more full ones, full: %v; want %v", got, len(f.named), len(f.full), full, want)
			}
			if f.hello.GetReplica() != "leader-1" || f.hello.GetEpoch() != 7<<32+1 || f.hello.GetShard() != 1 || f.hello.GetShards() != 2 {
				t.Errorf("introduced as %v", f.hello)
			}
		})
	}
}

func TestTheSpoolSurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := openSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ids [][]byte
	for n := range 3 {
		e := event(n)
		e.Id = EventID(e)
		ids = append(ids, e.GetId())
		if _, err := first.add(e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := first.acknowledge(ids[:1]); err != nil {
		t.Fatal(err)
	}
	// What a kill in the middle of a write leaves behind.
	for _, name := range []string{"7.event.tmp", "8.event"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte{0xff, 0xff}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second, err := openSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range second.after(-1, 10) {
		got = append(got, e.event.GetMessage())
	}
	if !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("events after a kill: got %v, want 1 and 2", got)
	}
}

func TestTheSpoolIsBounded(t *testing.T) {
	t.Parallel()
	s := &spool{dir: t.TempDir(), wake: make(chan struct{}, 1), events: make([]spooled, MaxSpooled), ids: map[string]bool{}, next: MaxSpooled}
	for i := range s.events {
		s.events[i] = spooled{number: int64(i), event: event(i)}
		s.events[i].event.Id = EventID(s.events[i].event)
		s.ids[string(s.events[i].event.GetId())] = true
	}
	e := event(MaxSpooled)
	e.Id = EventID(e)
	dropped, err := s.add(e)
	if err != nil || dropped != 1 || len(s.events) != MaxSpooled {
		t.Errorf("add(one more): dropped %d, kept %d, %v", dropped, len(s.events), err)
	}
	if dropped, err = s.add(e); err != nil || dropped != 0 {
		t.Errorf("add(the same): dropped %d, %v; it waits already", dropped, err)
	}
	if count, err := s.acknowledge([][]byte{e.GetId()}); err != nil || count != 1 || len(s.ids) != MaxSpooled-1 {
		t.Errorf("acknowledge: %d, %v, and %d ids are known; want 1 and %d", count, err, len(s.ids), MaxSpooled-1)
	}
}
