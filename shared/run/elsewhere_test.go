package run_test

import (
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/shared/run"
)

func TestElsewhereReturnsWhenItIsDone(t *testing.T) {
	t.Parallel()
	done := false
	run.Elsewhere(func() { done = true })
	if !done {
		t.Error("it returned before")
	}
}

func TestAPanicElsewhereIsTheCallers(t *testing.T) {
	t.Parallel()
	defer func() {
		err, ok := recover().(error)
		if !ok || !strings.HasPrefix(err.Error(), "boom\n") || !strings.Contains(err.Error(), "elsewhere_test.go") {
			t.Errorf("recovered %v, want boom and where it came from", err)
		}
	}()
	run.Elsewhere(func() { panic("boom") })
}
