package relay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// settles returns how long work has to wait for announcements.
func settles(ctx context.Context, h *hub) time.Duration {
	began := time.Now()
	h.settled(ctx)
	return time.Since(began)
}

func TestWorkWaitsUntilAllWereTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h hub
		first, second := h.join(false), h.join(false)
		if waited := settles(t.Context(), &h); waited != 0 {
			t.Errorf("without news: waited %s", waited)
		}
		h.wakeAll()
		<-first.wake
		<-second.wake
		h.looked(first)
		time.AfterFunc(time.Millisecond, func() { h.looked(second) })
		if waited := settles(t.Context(), &h); waited != time.Millisecond {
			t.Errorf("waited %s, want until the second was told", waited)
		}
		h.wakeAll()
		<-first.wake
		h.looked(first)
		time.AfterFunc(time.Millisecond, func() { h.leave(second) })
		if waited := settles(t.Context(), &h); waited != time.Millisecond {
			t.Errorf("waited %s, want until the second was gone", waited)
		}
	})
}

// A follower that is woken again while it looks has not told its client the newest.
func TestALookBeforeTheWakeDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h hub
		s := h.join(false)
		h.wakeAll()
		h.looked(s) // it looked for another reason, before it was woken
		time.AfterFunc(time.Millisecond, func() { <-s.wake; h.looked(s) })
		if waited := settles(t.Context(), &h); waited != time.Millisecond {
			t.Errorf("waited %s, want until it looked", waited)
		}
	})
}

// A client that does not read keeps its follower from looking: others wait for it once and not for long.
func TestWhoDoesNotReadIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h hub
		h.join(false)
		h.wakeAll()
		if waited := settles(t.Context(), &h); waited != waveTimeout {
			t.Errorf("waited %s, want %s", waited, waveTimeout)
		}
		h.wakeAll()
		if waited := settles(t.Context(), &h); waited != 0 {
			t.Errorf("the second time: waited %s", waited)
		}
	})
}

func TestWorkWaitsNoLongerThanItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h hub
		h.join(false)
		h.wakeAll()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if waited := settles(ctx, &h); waited != time.Millisecond {
			t.Errorf("waited %s, want until the context was done", waited)
		}
	})
}
