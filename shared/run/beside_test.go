package run_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/shared/run"
)

func TestBesideCallsAll(t *testing.T) {
	t.Parallel()
	squares := make([]int, 5)
	if err := run.Beside(t.Context(), len(squares), func(_ context.Context, i int) error { squares[i] = i * i; return nil }); err != nil {
		t.Fatal(err)
	}
	if squares[4] != 16 || squares[1] != 1 {
		t.Errorf("got %v", squares)
	}
}

func TestTheFirstErrorBesideEndsTheOthers(t *testing.T) {
	t.Parallel()
	err := run.Beside(t.Context(), 3, func(ctx context.Context, i int) error {
		if i == 1 {
			return errBoom
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, errBoom) {
		t.Errorf("got %v, want %v", err, errBoom)
	}
}

func TestAPanicBesideIsTheCallers(t *testing.T) {
	t.Parallel()
	ended := false
	defer func() {
		err, ok := recover().(error)
		if !ok || !strings.HasPrefix(err.Error(), "lost\n") || !strings.Contains(err.Error(), "beside_test.go") || !ended {
			t.Errorf("recovered %v, the other ended %v; want lost, where it came from, and that nothing runs any more", err, ended)
		}
	}()
	_ = run.Beside(t.Context(), 2, func(ctx context.Context, i int) error {
		if i == 0 {
			panic("lost")
		}
		<-ctx.Done()
		ended = true
		return ctx.Err()
	})
}
