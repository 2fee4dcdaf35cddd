package automator

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-cd/tandem/automator/internal/store"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

func TestUnstored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var u unstored
		says := func(want ...string) {
			t.Helper()
			problems := u.Problems()
			if (len(problems) > 0) != (len(want) > 0) {
				t.Fatalf("Problems: %q, want %q", problems, want)
			}
			for _, part := range want {
				if !strings.Contains(problems[0], part) {
					t.Errorf("Problems: %q, want %q", problems, part)
				}
			}
		}
		u.note(fault.New(fault.Invalid, "an event without an id"))
		u.note(context.Canceled)
		says()
		since := time.Now().UTC().Format(time.RFC3339)
		u.note(errors.New("the disk is full"))
		<-time.After(time.Minute)
		u.note(errors.New("the database\n\x1b[31mis locked"))
		u.note(fault.New(fault.Invalid, "an event without an id"))
		says("since "+since, "the database [31mis locked")
		u.note(errors.New(strings.Repeat("ä", maxReason)))
		if problem := u.Problems()[0]; len(problem) > 1024 || strings.ContainsRune(problem, '\ufffd') {
			t.Errorf("%d bytes: %s", len(problem), problem)
		}
		u.note(nil)
		says()
	})
}

// What the real store says reaches who asks, and goes when it takes events again.
func TestEventLogSaysWhyNothingIsStored(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), store.FileName)
	open := func() *store.Store {
		s, err := store.Open(t.Context(), store.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	l := &eventLog{store: open()}
	event := []*statusv1.Event{{Id: make([]byte, 32), Time: timestamppb.Now(), Cluster: "dev", State: statusv1.EventState_EVENT_STATE_APPLIED}}
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.AppendEvents(t.Context(), event); err == nil {
		t.Fatal("a store that is closed takes events")
	}
	if err := l.AppendEvents(t.Context(), nil); err != nil || len(l.Problems()) != 1 || !strings.Contains(l.Problems()[0], "append 1 events") {
		t.Errorf("Problems: %q, %v", l.Problems(), err)
	}
	l.store = open()
	t.Cleanup(func() { _ = l.store.Close() })
	if err := l.AppendEvents(t.Context(), event); err != nil || len(l.Problems()) > 0 {
		t.Errorf("Problems: %q, %v", l.Problems(), err)
	}
}
