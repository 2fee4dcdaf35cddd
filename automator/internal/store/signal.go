package store

import "sync"

// Topic is a part of the store that somebody may wait for changes of.
type Topic string

// The topics.
const (
	// Events is the event log.
	Events Topic = "events"
	// Revocations are those that other stores on the database record: who revokes knows.
	Revocations Topic = "revocations"
)

// signals wakes whoever waits for a topic. The zero value has nobody to wake.
type signals struct {
	mu      sync.Mutex
	waiting map[chan struct{}]Topic
}

// notify wakes everybody who waits for a topic. It never blocks: who has not taken the last signal yet will look once, and
// see everything.
func (s *signals) notify(topic Topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch, waitsFor := range s.waiting {
		if waitsFor != topic {
			continue
		}
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Subscribe returns a channel that receives after a topic has changed, at least once after the last change, until cancel
// is called. It carries no data: read it, with EventsSince or Revocations. While Run runs, it receives after changes by
// other stores on the same database too, and now and then although nothing has changed.
func (s *Store) Subscribe(topic Topic) (changed <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	s.signals.mu.Lock()
	defer s.signals.mu.Unlock()
	if s.signals.waiting == nil {
		s.signals.waiting = make(map[chan struct{}]Topic)
	}
	s.signals.waiting[ch] = topic
	return ch, func() {
		s.signals.mu.Lock()
		defer s.signals.mu.Unlock()
		delete(s.signals.waiting, ch)
	}
}
