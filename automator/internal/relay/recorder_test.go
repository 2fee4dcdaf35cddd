package relay

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

// shelf is a store that refuses while refuse is set.
type shelf struct {
	mu     sync.Mutex
	refuse error
	taken  []string
	turns  int
}

func (s *shelf) AppendEvents(_ context.Context, events []*statusv1.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turns++
	if s.refuse != nil {
		return s.refuse
	}
	for _, event := range events {
		s.taken = append(s.taken, event.GetMessage())
	}
	return nil
}

func (s *shelf) set(refuse error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

func (s *shelf) has() ([]string, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken, s.turns
}

// record starts a server's recorder; stop ends it and returns when it has.
func record(t *testing.T, events Events) (s *Server, stop func()) {
	t.Helper()
	log, _ := logtest.New(t)
	s = New(Config{}, Deps{Events: events, Fleet: fleet.New(), Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	return s, func() { cancel(); wg.Wait() }
}

func said(message string) *statusv1.Event { return &statusv1.Event{Message: message} }

// While the store takes nothing, such as on a full disk, announcements are made, and recorded afterwards.
func TestAnnouncementsWaitForTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &shelf{refuse: errBoom}
		s, stop := record(t, store)
		defer stop()
		for _, message := range []string{"first", "second", "third"} {
			tried := false
			s.recorder.add(said(message), func() { tried = true })
			synctest.Wait()
			if !tried {
				t.Errorf("the transfer of the %s waits for a store that takes nothing", message)
			}
		}
		if _, turns := store.has(); turns != 1 {
			t.Errorf("a store that takes nothing was asked %d times at once, want 1", turns)
		}
		store.set(nil)
		<-time.After(recordAgain)
		synctest.Wait()
		got, _ := store.has()
		if diff := cmp.Diff([]string{"first", "second", "third"}, got); diff != "" {
			t.Errorf("recorded: -want, +got:\n%s", diff)
		}
	})
}

// A stream may announce something while the process ends: it is recorded all the same.
func TestTheLastAnnouncementsAreRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &shelf{}
		s, stop := record(t, store)
		follower := s.hub.join(false)
		var wg sync.WaitGroup
		wg.Go(stop)
		synctest.Wait()
		s.recorder.add(said("late"), func() {})
		s.hub.leave(follower)
		s.recorder.look()
		wg.Wait()
		if got, _ := store.has(); len(got) != 1 {
			t.Errorf("recorded: got %v, want the late one", got)
		}
	})
}

func TestAFollowerThatStaysDoesNotKeepTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, stop := record(t, &shelf{})
		s.hub.join(false)
		began := time.Now()
		stop()
		if took := time.Since(began); took != recordTimeout {
			t.Errorf("ended after %s, want %s", took, recordTimeout)
		}
	})
}

func TestTheOldestAnnouncementsAreForgotten(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	tried := 0
	for range maxUntold {
		r.add(said("old"), func() { tried++ })
	}
	r.add(said("new"), func() { tried++ })
	if len(r.untold) != maxUntold || r.untold[maxUntold-1].event.GetMessage() != "new" || tried != 1 {
		t.Errorf("%d wait, %d were given up; want %d, and 1", len(r.untold), tried, maxUntold)
	}
	taken := r.take()
	r.add(said("newer"), func() { tried++ })
	r.done(taken, false)
	if len(r.untold) != maxUntold || tried != 1+len(taken) {
		t.Errorf("%d wait after some came back, %d were tried; want %d, and %d", len(r.untold), tried, maxUntold, 1+len(taken))
	}
}
