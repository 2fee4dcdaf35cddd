// Package run owns the lifetime of a process's tasks.
//
// It is the only package with `go` statements that outlive their function.
package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// Task is a named part of a process. Run blocks until its context is done or it cannot go on.
type Task struct {
	// Name says which task it was, in errors.
	Name string
	// Run does the work.
	Run func(ctx context.Context) error
}

// ErrStopped is the cause when a task returned without an error although nobody asked it to.
var ErrStopped = errors.New("stopped early")

// Group runs tasks until the context is done or the first of them fails, panics or returns early; then it cancels the
// others with that as the cause and waits for all. It returns the first failure with its task's name; the end of the
// context is not a failure.
func Group(ctx context.Context, tasks ...Task) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, task := range tasks {
		wg.Go(func() {
			err := protect(ctx, task)
			if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
				return
			}
			if err == nil {
				err = ErrStopped
			}
			cancel(fmt.Errorf("%s: %w", task.Name, err))
		})
	}
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// protect runs a task and turns its panic into an error with the stack.
func protect(ctx context.Context, task Task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return task.Run(ctx)
}
