package store

import "sync"

// signals wakes whoever waits for events. The zero value has nobody to wake.
type signals struct {
	mu      sync.Mutex
	waiting map[chan struct{}]struct{}
}

// notify wakes everybody. It never blocks: who has not taken the last signal yet will look once, and see everything.
func (s *signals) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.waiting {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Subscribe returns a channel that receives after events were appended in this process, at least once after the last of
// them, until cancel is called. It carries no events: read them with EventsSince.
func (s *Store) Subscribe() (appended <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	s.signals.mu.Lock()
	defer s.signals.mu.Unlock()
	if s.signals.waiting == nil {
		s.signals.waiting = make(map[chan struct{}]struct{})
	}
	s.signals.waiting[ch] = struct{}{}
	return ch, func() {
		s.signals.mu.Lock()
		defer s.signals.mu.Unlock()
		delete(s.signals.waiting, ch)
	}
}
