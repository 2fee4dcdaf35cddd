package fair_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/shared/fair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// traffic is what flows ask of a limiter in a bubble: each request takes a second of its clock.
type traffic struct {
	limiter *fair.Limiter
	mu      sync.Mutex
	served  []string // in the order in which they were let in
	running sync.WaitGroup
}

// ask has a flow ask for so many slots at once.
func (tr *traffic) ask(ctx context.Context, flow string, requests int) {
	for range requests {
		tr.running.Go(func() {
			if tr.limiter.Acquire(ctx, flow) != nil {
				return
			}
			defer tr.limiter.Release(flow)
			tr.mu.Lock()
			tr.served = append(tr.served, flow)
			tr.mu.Unlock()
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		})
	}
	synctest.Wait()
}

// TestASmallFlowWaitsForOneRoundAtMost lets a thousand requests of each of several flows wait for the only slot.
func TestASmallFlowWaitsForOneRoundAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const huge = 8
		tr := &traffic{limiter: fair.NewLimiter(1, 1, 0)}
		for i := range huge {
			tr.ask(t.Context(), fmt.Sprintf("huge-%d", i), 1000)
		}
		before := len(tr.served)
		tr.ask(t.Context(), "small", 1)
		tr.running.Wait()
		at := slices.Index(tr.served, "small")
		if others := at - before; others > huge {
			t.Errorf("the small flow was served after %d others, want at most %d", others, huge)
		}
		if len(tr.served) != huge*1000+1 {
			t.Errorf("served %d requests, want all %d", len(tr.served), huge*1000+1)
		}
	})
}

func TestNewcomersNeedNotWaitForThoseThatNeverEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slots, share, reserve = 8, 4, 2
		tr := &traffic{limiter: fair.NewLimiter(slots, share, reserve)}
		for _, stuck := range []string{"a", "b", "c"} {
			for range share {
				tr.running.Go(func() {
					if tr.limiter.Acquire(t.Context(), stuck) == nil {
						time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock
						tr.limiter.Release(stuck)
					}
				})
			}
			synctest.Wait()
		}
		began := time.Now()
		tr.ask(t.Context(), "new", 1)
		if len(tr.served) != 1 {
			t.Error("the newcomer waits")
		}
		tr.running.Wait()
		if took := time.Since(began); took > 2*time.Hour {
			t.Errorf("it took %s until all were served", took)
		}
	})
}

func TestWhoGivesUpLosesNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := &traffic{limiter: fair.NewLimiter(1, 1, 0)}
		tr.ask(t.Context(), "a", 1)
		ctx, giveUp := context.WithCancel(t.Context())
		tr.ask(ctx, "b", 3)
		tr.ask(t.Context(), "c", 1)
		giveUp()
		tr.running.Wait()
		if !slices.Equal(tr.served, []string{"a", "c"}) {
			t.Errorf("served %v, want a and c", tr.served)
		}
		if err := tr.limiter.Acquire(ctx, "b"); !errors.Is(err, context.Canceled) {
			t.Errorf("Acquire(done): got %v", err)
		}
		tr.ask(t.Context(), "d", 1)
		tr.running.Wait()
		if len(tr.served) != 3 {
			t.Error("a slot was lost")
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 6).Draw(t, "slots")
		share, reserve := rapid.IntRange(1, slots).Draw(t, "share"), rapid.IntRange(0, slots-1).Draw(t, "reserve")
		limiter := fair.NewLimiter(slots, share, reserve)
		held, all := map[string]int{}, 0
		ended, end := context.WithCancel(context.Background())
		end()
		for range rapid.IntRange(0, 40).Draw(t, "moves") {
			flow := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "flow")
			if held[flow] > 0 && rapid.Bool().Draw(t, "release") {
				limiter.Release(flow)
				held[flow]--
				all--
				continue
			}
			if limiter.Acquire(ended, flow) == nil {
				t.Fatal("a slot for a context that has ended")
			}
			may := held[flow] == 0 && all < slots || held[flow] > 0 && held[flow] < share && all < slots-reserve
			patience := time.Millisecond // nothing comes, however long it is waited for
			if may {
				patience = time.Minute // it is there at once
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			err := limiter.Acquire(ctx, flow)
			cancel()
			if (err == nil) != may {
				t.Fatalf("Acquire(%s) with %v of %d, share %d, reserve %d: got %v", flow, held, slots, share, reserve, err)
			}
			if may {
				held[flow]++
				all++
			}
		}
	})
}

func TestLanes(t *testing.T) {
	t.Parallel()
	lanes := fair.NewLanes[string](8)
	enter := func(want bool, flow string, large bool, keys ...string) {
		t.Helper()
		for _, key := range keys {
			if got := lanes.Enter(key, flow, large); got != want {
				t.Errorf("Enter(%s): got %v, want %v", key, got, want)
			}
		}
	}
	enter(true, "shop", true, "1", "2") // a quarter of the lanes
	enter(false, "shop", true, "3", "4")
	enter(true, "shop", false, "5", "6") // half of them
	enter(false, "shop", false, "7")
	enter(true, "shop", false, "5") // it is in
	enter(true, "blog", true, "8", "9")
	enter(false, "infra", true, "10") // half of the lanes are taken by large ones
	enter(true, "infra", false, "11", "12")
	enter(false, "more", false, "13") // all are taken
	if got := lanes.Waiting(); got != 5 {
		t.Errorf("Waiting(): got %d, want 5", got)
	}
	leave := func(key string, want ...string) {
		t.Helper()
		if got := lanes.Leave(key); !slices.Equal(got, want) {
			t.Errorf("Leave(%s): got %v, want %v", key, got, want)
		}
	}
	leave("13")      // it is not in, and still waits
	leave("8", "10") // the first for which there is room: shop has its half
	leave("10", "13")
	leave("1", "3")
	enter(true, "shop", true, "3")
	leave("5", "7")
	leave("2", "4")
}

func TestOrderTakesFlowsInTurn(t *testing.T) {
	t.Parallel()
	order := fair.NewOrder(func(item string) string { return item[:1] })
	for _, item := range []string{"a1", "a2", "a3", "b1", "c1", "c2"} {
		order.Push(item)
	}
	var got []string
	for order.Len() > 3 {
		got = append(got, order.Pop())
	}
	order.Push("d1")
	for order.Len() > 0 {
		got = append(got, order.Pop())
	}
	if want := []string{"a1", "b1", "c1", "a2", "c2", "d1", "a3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
