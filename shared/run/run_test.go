package run_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/shared/run"
)

var errBoom = errors.New("boom")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func blocks(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestGroup(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		task   func(context.Context) error
		want   error
	}{
		"Failure":     {reason: "A failure ends the group and is returned.", task: func(context.Context) error { return errBoom }, want: errBoom},
		"EarlyReturn": {reason: "A task that returns early is a failure.", task: func(context.Context) error { return nil }, want: run.ErrStopped},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := run.Group(t.Context(), run.Task{Name: "steady", Run: blocks}, run.Task{Name: "odd", Run: tc.task})
			if !errors.Is(err, tc.want) || !strings.HasPrefix(err.Error(), "odd: ") {
				t.Errorf("%s\nGroup(...): got %v, want %v of task odd", tc.reason, err, tc.want)
			}
		})
	}
}

func TestGroupTurnsPanicsIntoErrors(t *testing.T) {
	t.Parallel()
	err := run.Group(t.Context(), run.Task{Name: "odd", Run: func(context.Context) error { panic("lost") }})
	if err == nil || !strings.Contains(err.Error(), "panic: lost") {
		t.Errorf("Group(panics): got %v", err)
	}
}

func TestGroupEndsQuietlyWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run.Group(ctx, run.Task{Name: "steady", Run: blocks}); err != nil {
		t.Errorf("Group(cancelled): got %v, want nil", err)
	}
}
