package run_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/shared/run"
)

func TestAsideHandsOverTheResult(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	ended := run.Aside(func() error { <-gate; return errBoom })
	select {
	case err := <-ended:
		t.Fatalf("ended before: %v", err)
	default:
	}
	close(gate)
	if err := <-ended; !errors.Is(err, errBoom) {
		t.Errorf("got %v, want %v", err, errBoom)
	}
}

func TestAPanicAsideIsItsResult(t *testing.T) {
	t.Parallel()
	err := <-run.Aside(func() error { panic("lost") })
	if err == nil || !strings.HasPrefix(err.Error(), "panic: lost\n") || !strings.Contains(err.Error(), "aside_test.go") {
		t.Errorf("got %v, want lost and where it came from", err)
	}
}
