package registry

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
)

func TestAMirrorRestsAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &host{name: "mirror.example.com"}
		h.noteAnswer(fault.New(fault.NotFound, "no such tag"))
		if err := h.rests(); err != nil {
			t.Errorf("after an answer: %v", err)
		}
		h.noteAnswer(errors.New("boom"))
		if err := h.rests(); err == nil || !strings.Contains(err.Error(), "mirror.example.com is not asked for 30s after it failed: boom") {
			t.Errorf("after a failure: %v", err)
		}
		time.Sleep(mirrorRest) //nolint:forbidigo // the bubble's clock
		if err := h.rests(); err != nil {
			t.Errorf("after the rest: %v", err)
		}
		h.noteAnswer(errors.New("boom"))
		h.noteAnswer(nil)
		if err := h.rests(); err != nil {
			t.Errorf("after an answer in between: %v", err)
		}
	})
}
