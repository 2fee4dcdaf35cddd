package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

// slowKeeper stores a batch whenever the test lets it.
type slowKeeper struct {
	open   chan struct{}
	most   int    // how many the budget allows at once; 0 is any number
	refuse string // the message of an event that is wrong
	fails  error

	mu      sync.Mutex
	batches [][]string
	broke   []error
}

func (k *slowKeeper) allow(ctx context.Context, events int) (int, error) {
	if k.most > 0 {
		events = min(events, k.most)
	}
	return events, context.Cause(ctx)
}

func (k *slowKeeper) store(ctx context.Context, events []*statusv1.Event) error {
	select {
	case <-k.open:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if k.fails != nil {
		return k.fails
	}
	var batch []string
	for _, event := range events {
		if event.GetMessage() == k.refuse && k.refuse != "" {
			return fault.New(fault.Invalid, "wrong")
		}
		batch = append(batch, event.GetMessage())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.batches = append(k.batches, batch)
	return nil
}

func (k *slowKeeper) broken(err error) { k.broke = append(k.broke, err) }

func (k *slowKeeper) all() []string { return slices.Concat(k.batches...) }

func numbered(i int) *statusv1.Event { return &statusv1.Event{Message: fmt.Sprint(i)} }

func TestWhatArrivesWhileEventsAreStoredIsStoredTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keeper := &slowKeeper{open: make(chan struct{})}
		in := newIntake(keeper)
		const many = 100
		for i := range many {
			if err := in.take(t.Context(), numbered(i)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		close(keeper.open)
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		if len(keeper.batches) != 2 || len(keeper.batches[0]) != 1 || len(keeper.all()) != many {
			t.Errorf("%d events were stored in %d batches, want %d in 2: the first alone, and all that came meanwhile", len(keeper.all()), len(keeper.batches), many)
		}
		if !slices.Equal(keeper.all()[:3], []string{"0", "1", "2"}) {
			t.Errorf("stored in the order %v...", keeper.all()[:3])
		}
		if err := in.take(t.Context(), numbered(many)); err != nil || in.end() != nil || len(keeper.all()) != many+1 {
			t.Errorf("one later: %v, %d are stored", err, len(keeper.all()))
		}
	})
}

func TestAnIntakeHoldsNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		event  *statusv1.Event
		want   int
	}{
		"Number": {reason: "So many events, and the one that is being stored.", event: numbered(1), want: maxIntake + 1},
		"Bytes": {
			reason: "Few events that are large.", event: &statusv1.Event{Message: string(make([]byte, MaxEvent-16))},
			want: maxIntakeBytes/MaxEvent + 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				keeper := &slowKeeper{open: make(chan struct{})}
				in := newIntake(keeper)
				ctx, cancel := context.WithCancelCause(t.Context())
				if err := in.take(ctx, tc.event); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // it is being stored
				taken := 1
				var sender sync.WaitGroup
				sender.Go(func() {
					for in.take(ctx, tc.event) == nil {
						taken++
					}
				})
				synctest.Wait()
				if taken != tc.want {
					t.Errorf("%s\n%d were taken, want %d", tc.reason, taken, tc.want)
				}
				keeper.open <- struct{}{}
				synctest.Wait()
				if taken <= tc.want {
					t.Error("none is taken after room was made")
				}
				cancel(errBoom)
				sender.Wait()
				_ = in.end()
			})
		})
	}
}

func TestOneWrongEventDoesNotKeepThoseBeforeIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keeper := &slowKeeper{open: make(chan struct{}), refuse: "3"}
		in := newIntake(keeper)
		for i := range 6 {
			if err := in.take(t.Context(), numbered(i)); err != nil {
				t.Fatal(err)
			}
		}
		close(keeper.open)
		if err := in.end(); !fault.Is(err, fault.Invalid) {
			t.Errorf("end: got %v, want Invalid", err)
		}
		if !slices.Equal(keeper.all(), []string{"0", "1", "2"}) || len(keeper.broke) != 1 || !fault.Is(keeper.broke[0], fault.Invalid) {
			t.Errorf("stored %v, told %v; want what came before the wrong one, and once why", keeper.all(), keeper.broke)
		}
		if err := in.take(t.Context(), numbered(7)); !fault.Is(err, fault.Invalid) {
			t.Errorf("one more: got %v, want what was wrong before", err)
		}
	})
}

func TestNoMoreIsStoredThanTheBudgetAllows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keeper := &slowKeeper{open: make(chan struct{}), most: 10}
		in := newIntake(keeper)
		for i := range 25 {
			if err := in.take(t.Context(), numbered(i)); err != nil {
				t.Fatal(err)
			}
		}
		close(keeper.open)
		if err := in.end(); err != nil || len(keeper.all()) != 25 {
			t.Fatalf("end: %v, %d are stored", err, len(keeper.all()))
		}
		for _, batch := range keeper.batches {
			if len(batch) > keeper.most {
				t.Errorf("%d were stored at once, want %d at most", len(batch), keeper.most)
			}
		}
	})
}

func TestAStoreThatFailsEndsTheIntake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keeper := &slowKeeper{open: make(chan struct{}), fails: errBoom}
		in := newIntake(keeper)
		var last error
		var sender sync.WaitGroup
		sender.Go(func() { // more than there is room for
			for i := 0; last == nil; i++ {
				last = in.take(t.Context(), numbered(i))
			}
		})
		synctest.Wait()
		close(keeper.open)
		sender.Wait()
		if err := in.end(); !errors.Is(err, errBoom) || !errors.Is(last, errBoom) {
			t.Errorf("take: %v, end: %v; want %v", last, err, errBoom)
		}
	})
}
