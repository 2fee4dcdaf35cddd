package automator

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

// heap is a mirror that is always to be tidied up, which takes a minute.
type heap struct {
	tidy   atomic.Bool
	fails  bool
	busy   *atomic.Int32 // of all mirrors
	most   *atomic.Int32
	turned atomic.Int32
}

func (h *heap) MaintenanceDue() bool { return !h.tidy.Load() }

func (h *heap) Maintain(ctx context.Context) error {
	h.turned.Add(1)
	h.most.Store(max(h.most.Load(), h.busy.Add(1)))
	defer h.busy.Add(-1)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
	}
	if h.fails {
		return errors.New("the disk is full")
	}
	h.tidy.Store(true)
	return nil
}

// Mirrors are tidied up one after another, when a fetch left something behind, and one that cannot be is left alone for a while.
func TestMirrorsAreTidiedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var busy, most atomic.Int32
		log, _ := logtest.New(t)
		ctx, cancel := context.WithCancel(t.Context())
		turn := make(chan struct{}, 1)
		one, other := &heap{busy: &busy, most: &most}, &heap{busy: &busy, most: &most, fails: true}
		var wg sync.WaitGroup
		fetch := func() {}
		for _, mirror := range []*heap{one, other} {
			fetched, before := make(chan struct{}, 1), fetch
			fetch = func() { before(); signal(fetched) }
			wg.Go(func() { _ = tidier{mirror: mirror, fetched: fetched, turn: turn, log: log}.run(ctx) })
		}
		turned := func(when string, want, wantOther int32) {
			t.Helper()
			if got, gotOther := one.turned.Load(), other.turned.Load(); got != want || gotOther != wantOther {
				t.Errorf("%s: tidied up %d and %d times, want %d and %d", when, got, gotOther, want, wantOther)
			}
		}
		synctest.Wait()
		turned("before a fetch", 0, 0)
		fetch()
		<-time.After(3 * time.Minute)
		turned("after a fetch", 1, 1)
		for range 5 {
			fetch()
			<-time.After(time.Minute)
		}
		turned("within the rest", 1, 1)
		<-time.After(tidyRest)
		turned("after the rest", 1, 2)
		cancel()
		wg.Wait()
		if most.Load() != 1 {
			t.Errorf("%d mirrors were tidied up at the same time", most.Load())
		}
	})
}
