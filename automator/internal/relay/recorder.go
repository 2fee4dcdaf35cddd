package relay

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

const (
	// maxUntold bounds the announcements that wait for a store that takes none, such as one whose disk is full. Beyond it
	// the oldest are forgotten.
	maxUntold = 50_000
	// recordAgain is when a store that took none is tried again.
	recordAgain = 5 * time.Second
	// recordTimeout bounds one storing, and how long the last ones may take when the process ends.
	recordTimeout = 5 * time.Second
)

// recorder holds the announcements that were made and are not stored yet. No announcement waits for its record.
type recorder struct {
	mu     sync.Mutex
	untold []made
	deaf   bool          // whether the store took nothing when it was asked last
	wake   chan struct{} // holds a token when there is something to look at
}

// made is an announcement.
type made struct {
	event *statusv1.Event
	tried func() // is called once, when the store has been asked to take it
}

func newRecorder() *recorder { return &recorder{wake: make(chan struct{}, 1)} }

// add has an announcement recorded. tried is called when that succeeded or failed for the first time; at once, while the
// store takes nothing.
func (r *recorder) add(event *statusv1.Event, tried func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deaf {
		tried()
		tried = func() {}
	}
	r.untold = append(r.untold, made{event: event, tried: tried})
	r.bound()
	r.look()
}

// bound forgets the oldest of too many.
func (r *recorder) bound() {
	for len(r.untold) > maxUntold {
		r.untold[0].tried()
		r.untold = r.untold[1:]
	}
}

// look has the recorder look again.
func (r *recorder) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take removes what may be stored together, oldest first.
func (r *recorder) take() []made {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.untold), maxJoined)
	taken := r.untold[:n:n]
	if r.untold = r.untold[n:]; len(r.untold) == 0 {
		r.untold = nil
	}
	return taken
}

// done says what became of those that were taken. When they were not stored, they come before the others again.
func (r *recorder) done(taken []made, stored bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range taken {
		taken[i].tried()
		taken[i].tried = func() {}
	}
	if r.deaf = !stored; !stored {
		r.untold = slices.Concat(taken, r.untold)
		r.bound()
	}
}

// Run records announcements until the context is done, and then those of the streams that end.
func (s *Server) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.recorder.wake:
			s.hub.settled(ctx)
			if !s.record(ctx) {
				s.recorder.rest(ctx)
			}
		}
	}
	last := time.NewTimer(recordTimeout)
	defer last.Stop()
	for s.record(context.WithoutCancel(ctx)) && !s.hub.empty() {
		select {
		case <-last.C:
			return ctx.Err()
		case <-s.recorder.wake:
		}
	}
	return ctx.Err()
}

// rest lets a store that took nothing alone for a while.
func (r *recorder) rest(ctx context.Context) {
	timer := time.NewTimer(recordAgain)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
		r.look()
	}
}

// record stores the announcements that were made so far. When it returns false, some were not taken and wait.
func (s *Server) record(ctx context.Context) bool {
	for {
		taken := s.recorder.take()
		if len(taken) == 0 {
			return true
		}
		err := s.store(ctx, taken)
		s.recorder.done(taken, err == nil)
		if err != nil {
			s.deps.Log.Error("announcements not recorded", zap.Int("count", len(taken)), zap.Error(err))
			return false
		}
	}
}

func (s *Server) store(ctx context.Context, taken []made) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	events := make([]*statusv1.Event, 0, len(taken))
	for _, m := range taken {
		events = append(events, m.event)
	}
	return s.events.append(ctx, events)
}
