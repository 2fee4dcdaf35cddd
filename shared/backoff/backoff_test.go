package backoff_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/shared/backoff"
)

func TestDelayStaysInBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		low := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "min"))
		high := low + time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "extra"))
		attempt := rapid.IntRange(0, 1<<20).Draw(t, "attempt")
		if got := (backoff.Backoff{Min: low, Max: high}).Delay(attempt); got < 0 || got > high {
			t.Fatalf("Delay(%d) of %v..%v: got %v", attempt, low, high, got)
		}
	})
}

func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(nil)
		err := backoff.Backoff{Min: time.Hour, Max: time.Hour}.Wait(ctx, 3)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Wait(cancelled): got %v", err)
		}
	})
}
