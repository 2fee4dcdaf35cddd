package relay

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

func TestAFloodIsSlowedDownToItsRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all budgets
		began := time.Now()
		for range eventBurst {
			if _, err := all.of("mallory").event(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the burst: took %s, want no wait", took)
		}
		for range 10 * eventRate {
			if _, err := all.of("mallory").event(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began).Round(time.Second); took != 10*time.Second {
			t.Errorf("%d more events: took %s, want 10s", 10*eventRate, took)
		}
		if count, err := all.of("mallory").event(t.Context(), 100); err != nil || count != 1 {
			t.Errorf("a hundred at once, with nothing left: %d are allowed, %v; want 1", count, err)
		}
		began = time.Now()
		if _, err := all.of("dev").event(t.Context(), 1); err != nil || time.Since(began) != 0 {
			t.Errorf("a neighbour's event: %v after %s, want no wait", err, time.Since(began))
		}
	})
}

func TestReportsArePaidByTheirBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all budgets
		mallory := all.of("mallory")
		began := time.Now()
		for range reportBytesBurst/(4<<20) + 10 {
			if err := mallory.report(t.Context(), 4<<20); err != nil {
				t.Fatal(err)
			}
		}
		want := time.Duration(10*(4<<20)/reportBytes) * time.Second
		if took := time.Since(began).Round(time.Second); took != want {
			t.Errorf("40 MiB over the burst: took %s, want %s", took, want)
		}
	})
}

func TestAnswersTakeNothingFromReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dev := (&budgets{}).of("dev")
		began := time.Now()
		for range maxClusterQuestions * maxParts {
			if err := dev.part(t.Context(), maxAnswer/maxParts); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the largest answers to all questions that may be open: took %s, want no wait", took)
		}
		for range reportBurst {
			if err := dev.report(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("a full status behind them: took %s, want no wait", took)
		}
		for range 10 * partRate {
			if err := dev.part(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began).Round(time.Second); took != 10*time.Second {
			t.Errorf("%d parts more: took %s, want 10s", 10*partRate, took)
		}
	})
}

func TestAChainIsPaidBeforeTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all budgets
		mallory := all.of("mallory")
		large := &transfer{bytes: MaxTransfer, pieces: make([]piece, 3*MaxChain)}
		cost := MaxTransfer + int64(len(large.pieces))*pieceCost
		began := time.Now()
		const transfers = 10
		for range transfers {
			done, err := mallory.fetch(t.Context(), "mallory")
			if err != nil {
				t.Fatal(err)
			}
			if err := mallory.affords(t.Context()); err != nil {
				t.Fatal(err)
			}
			mallory.charge(large.bytes, len(large.pieces))
			done()
		}
		owed := time.Duration((transfers-1)*cost-fetchBurst) * time.Second / fetchBytes // the last is owed still
		if took := time.Since(began); took < owed-time.Second || took > owed+time.Second {
			t.Errorf("%d of the largest transfers: took %s, want %s", transfers, took, owed)
		}
	})
}

func TestTransfersOfAClusterAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all budgets
		mallory := all.of("mallory")
		ctx, cancel := context.WithCancel(t.Context())
		var running, waited int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range maxClusterFetches + maxClusterWaiting {
			wg.Go(func() {
				done, err := mallory.fetch(ctx, "mallory")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					waited++
					return
				}
				running++
				context.AfterFunc(ctx, done)
			})
		}
		synctest.Wait()
		if running != maxClusterFetches {
			t.Errorf("running: got %d, want %d", running, maxClusterFetches)
		}
		if _, err := mallory.fetch(ctx, "mallory"); !fault.Is(err, fault.Conflict) {
			t.Errorf("one more than may wait: got %v, want Conflict", err)
		}
		if done, err := all.of("dev").fetch(ctx, "dev"); err != nil {
			t.Errorf("a neighbour: %v", err)
		} else {
			done()
		}
		cancel()
		wg.Wait()
		if running+waited != maxClusterFetches+maxClusterWaiting {
			t.Errorf("after the end: %d ran and %d waited", running, waited)
		}
	})
}

func TestAClusterCannotFillTheMemory(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		sends  []*relayv1.ReportRequest
	}{
		"Event": {
			reason: "An event goes to the disk of all.",
			sends: []*relayv1.ReportRequest{{Message: &relayv1.ReportRequest_Event{Event: &statusv1.Event{
				Cluster: "dev", Id: make([]byte, 32), Time: timestamppb.Now(), Message: strings.Repeat("x", MaxEvent),
			}}}},
		},
		"Sync": {
			reason: "A status that no synchronizer composes.",
			sends: []*relayv1.ReportRequest{{Message: &relayv1.ReportRequest_Sync{Sync: &statusv1.Sync{
				Cluster: "dev", Name: "a", Path: strings.Repeat("x", fleet.MaxSyncBytes),
			}}}},
		},
		"Full": {reason: "A full status that never ends is not kept for good.", sends: endless()},
	}
	for name, tc := range cases {
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
			for _, message := range tc.sends {
				if stream.Send(message) != nil {
					break // it was ended; why, says Recv
				}
			}
			if answer, err := stream.Recv(); !fault.Is(fault.FromStatus(err), fault.Invalid) {
				t.Errorf("%s\nanswer: got %v, %v; want Invalid", tc.reason, answer, err)
			}
			if len(w.fleet.Syncs(nil)) != 0 || len(w.events) != 0 {
				t.Error("something of it was kept")
			}
		})
	}
}

// endless is a full status with more bytes than one may have, without an end.
func endless() []*relayv1.ReportRequest {
	messages := []*relayv1.ReportRequest{{Message: &relayv1.ReportRequest_Begin{Begin: &relayv1.StatusBegin{}}}}
	const each = 1 << 20
	for i := range fleet.MaxBytesPerCluster/each + 1 {
		messages = append(messages, &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Sync{Sync: &statusv1.Sync{
			Cluster: "dev", Name: fmt.Sprint(i), Path: strings.Repeat("x", each),
		}}})
	}
	return messages
}

func TestATransferHoldsNoContents(t *testing.T) {
	t.Parallel()
	repo := newMemory()
	files := map[string]string{}
	for i := range 2000 {
		files[fmt.Sprintf("dev/file-%04d", i)] = "x"
	}
	commit := repo.commit(t, files)
	plan, err := collect(t.Context(), repo, []string{"dev"}, gitobject.ID{}, []gitobject.ID{commit})
	if err != nil {
		t.Fatal(err)
	}
	var sent int64
	for _, p := range plan.pieces {
		if p.kind == gitobject.TypeTree && p.content != nil {
			t.Errorf("tree %s is held", p.id)
		}
		content, err := (&sender{repo: repo}).content(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if p.size != int64(len(content)) {
			t.Errorf("%s %s: announced as %d bytes, has %d", p.kind, p.id, p.size, len(content))
		}
		sent += int64(len(content))
	}
	if sent != plan.bytes {
		t.Errorf("header: %d bytes, sent %d", plan.bytes, sent)
	}
}

// brokenEvents refuses transactions with an event that says so.
type brokenEvents struct {
	mu     sync.Mutex
	stored int
	calls  int
	gate   chan struct{}
}

func (b *brokenEvents) AppendEvents(_ context.Context, events []*statusv1.Event) error {
	<-b.gate
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	for _, e := range events {
		if e.GetMessage() == "bad" {
			return fault.New(fault.Invalid, "bad event")
		}
	}
	b.stored += len(events)
	return nil
}

func TestEventsAreStoredTogetherAndFailAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events := &brokenEvents{gate: make(chan struct{})}
		a := newAppender(events, func(context.Context) {})
		var wg sync.WaitGroup
		failed := make([]error, 101)
		wg.Go(func() { failed[100] = a.append(t.Context(), []*statusv1.Event{{}}) })
		synctest.Wait() // the first is being stored, the others gather
		for i := range 100 {
			message := ""
			if i == 42 {
				message = "bad"
			}
			wg.Go(func() { failed[i] = a.append(t.Context(), []*statusv1.Event{{Message: message}}) })
		}
		synctest.Wait()
		close(events.gate)
		wg.Wait()
		for i, err := range failed {
			if (err != nil) != (i == 42) {
				t.Errorf("caller %d: got %v", i, err)
			}
		}
		// One for the first, one for all others, and one for each of them after that had failed.
		if events.stored != 100 || events.calls != 102 {
			t.Errorf("got %d events in %d transactions, want 100 in 102", events.stored, events.calls)
		}
	})
}

func TestAFollowerThatDoesNotReadStopsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.repo.commit(t, map[string]string{"dev/a": "0"})
	// Each answer names the denied paths, so that a few of them fill everything between the two.
	paths := []string{"dev"}
	for i := range 200 {
		paths = append(paths, fmt.Sprintf("x%03d%s", i, strings.Repeat("x", 400)))
	}
	if _, err := w.client.Follow(t.Context(), &relayv1.FollowRequest{
		Hello:   &relayv1.Hello{Cluster: "dev", Replica: "deaf", Epoch: 1, Protocol: Protocol},
		Sources: []*relayv1.FollowedSource{{Source: revision.SourceToProto(main), Paths: paths}},
	}); err != nil {
		t.Fatal(err)
	}
	stream := w.follow(t, 1, "dev")
	announcedCommit(t, next(t, stream))
	for i := range 30 {
		want := w.repo.commit(t, map[string]string{"dev/a": fmt.Sprint(i + 1)})
		w.server.Changed()
		if got := announcedCommit(t, next(t, stream)); got != want {
			t.Fatalf("announced: got %s, want %s", got, want)
		}
	}
}
