package run

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Beside calls fn with each number below n, side by side, and returns once all have ended: with the first error, which also
// ends the context of the others. A panic of fn is the caller's.
func Beside(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var failed, panicked sync.Once
	var first error
	var lost any
	for i := range n {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panicked.Do(func() { lost = fmt.Errorf("%v\n%s", p, debug.Stack()) })
					cancel()
				}
			}()
			if err := fn(ctx, i); err != nil {
				failed.Do(func() { first = err })
				cancel()
			}
		})
	}
	wg.Wait()
	if lost != nil {
		panic(lost)
	}
	return first
}
