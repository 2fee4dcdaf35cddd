// Package backoff is jittered exponential backoff as a value.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before an attempt. The zero value waits between 0 and 1 s at first, and up to 60 s.
type Backoff struct {
	// Min bounds the first wait; 0 means 1 s.
	Min time.Duration
	// Max bounds every wait; 0 means 60 s.
	Max time.Duration
}

// Delay returns the wait before an attempt, from 0: a random part of Min·2^attempt, at most Max ("full jitter"), so that
// a crowd which failed together does not return together.
func (b Backoff) Delay(attempt int) time.Duration {
	bound := b.bound(attempt)
	return rand.N(bound + 1)
}

func (b Backoff) bound(attempt int) time.Duration {
	low, high := b.Min, b.Max
	if low <= 0 {
		low = time.Second
	}
	if high <= 0 {
		high = time.Minute
	}
	for ; attempt > 0 && low < high; attempt-- {
		low *= 2
	}
	return min(low, high)
}

// Wait sleeps for Delay(attempt), or until the context is done and then returns its error.
func (b Backoff) Wait(ctx context.Context, attempt int) error {
	timer := time.NewTimer(b.Delay(attempt))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
