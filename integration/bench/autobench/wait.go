package autobench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// askEvery is how often until asks.
const askEvery = 20 * time.Millisecond

var errNotInTime = errors.New("did not happen in time")

// pause waits, unless the context ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// until asks again and again whether something is so, at most for a time.
func until(ctx context.Context, patience time.Duration, what string, ask func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errNotInTime)
	defer cancel()
	for {
		ok, err := ask(ctx)
		if err != nil || ok {
			return err
		}
		if err := pause(ctx, askEvery); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// receive takes what comes within a time.
func receive[T any](ctx context.Context, from <-chan T, patience time.Duration, what string) (value T, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errNotInTime)
	defer cancel()
	select {
	case value = <-from:
		return value, nil
	case <-ctx.Done():
		return value, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
}
