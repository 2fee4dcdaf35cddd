package relay

import (
	"context"
	"sync"
	"time"
)

// waveTimeout is how long work that may wait gives way to announcements: a follower whose client does not read must not
// hold it up.
const waveTimeout = 250 * time.Millisecond

// hub wakes followers. A wake-up is a flag, not a queue.
//
// Followers that are woken together are a wave. Those who were told ask for a transfer and report at once, so that the
// last would be told after the work of all others: such work waits until the wave is over, see settled.
type hub struct {
	mu    sync.Mutex
	seats map[*seat]struct{}
	wave  uint64        // the number of the newest wave
	left  int           // followers of it that have not looked yet
	over  chan struct{} // closed when there are none; nil while there is no wave
}

// seat is a follower's place.
type seat struct {
	wake   chan struct{}
	wave   uint64 // the wave that counts on it; 0 when none does
	serves bool   // its client opens Serve when it is called
	called bool   // its client is to be told that questions wait
}

// join takes a seat; serves says whether its client can be called.
func (h *hub) join(serves bool) *seat {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seats == nil {
		h.seats = map[*seat]struct{}{}
	}
	s := &seat{wake: make(chan struct{}, 1), serves: serves}
	h.seats[s] = struct{}{}
	return s
}

func (h *hub) leave(s *seat) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.seats, s)
	h.done(s)
}

// empty reports whether nobody follows.
func (h *hub) empty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.seats) == 0
}

// looked says that a follower has told its client what it was woken for.
func (h *hub) looked(s *seat) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(s.wake) == 0 { // it was not woken anew meanwhile
		h.done(s)
	}
}

func (h *hub) done(s *seat) {
	if s.wave != h.wave || s.wave == 0 {
		return
	}
	s.wave = 0
	if h.left--; h.left == 0 {
		h.end()
	}
}

func (h *hub) end() {
	if h.over != nil {
		close(h.over)
		h.over = nil
	}
}

// call has a follower tell its client that questions wait.
func (h *hub) call(s *seat) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.called = true
	signal(s.wake)
}

// isCalled reports whether a follower is to tell its client that questions wait, once.
func (h *hub) isCalled(s *seat) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	called := s.called
	s.called = false
	return called
}

// wakeAll begins a wave. A follower that has not even taken its last wake-up does not count: its client does not read.
func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end()
	h.wave++
	h.left = 0
	for s := range h.seats {
		select {
		case s.wake <- struct{}{}:
			s.wave = h.wave
			h.left++
		default:
		}
	}
	if h.left > 0 {
		h.over = make(chan struct{})
	}
}

// settled returns when every follower has looked, after waveTimeout at the latest, or when the context is done.
func (h *hub) settled(ctx context.Context) {
	h.mu.Lock()
	over := h.over
	h.mu.Unlock()
	if over == nil {
		return
	}
	timer := time.NewTimer(waveTimeout)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	case <-ctx.Done():
	}
}
