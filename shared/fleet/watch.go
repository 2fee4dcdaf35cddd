package fleet

import (
	"context"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// watcher remembers which Syncs changed since it last looked: a set, not a queue, so a slow watcher costs one entry for
// each Sync at most and misses no Sync.
type watcher struct {
	dirty map[Key]struct{}
	wake  chan struct{}
}

// touch marks a Sync as changed for every watcher. The caller holds mu.
func (s *State) touch(key Key) {
	for w := range s.watchers {
		w.dirty[key] = struct{}{}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Change is a Sync's newest state; Sync is nil when it is gone.
type Change struct {
	Key  Key
	Sync *statusv1.Sync
}

// Watch calls fn with a batch for every Sync there is, then with batches of changes, until the context is done or fn
// fails. The first batch may be empty.
func (s *State) Watch(ctx context.Context, fn func([]Change) error) error {
	w, first := s.subscribe()
	defer s.unsubscribe(w)
	if err := fn(first); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
		if err := fn(s.drain(w)); err != nil {
			return err
		}
	}
}

func (s *State) subscribe() (*watcher, []Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &watcher{dirty: map[Key]struct{}{}, wake: make(chan struct{}, 1)}
	s.watchers[w] = struct{}{}
	first := make([]Change, 0, len(s.syncs))
	for key, status := range s.syncs {
		first = append(first, Change{Key: key, Sync: status})
	}
	return w, first
}

func (s *State) unsubscribe(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, w)
}

func (s *State) drain(w *watcher) []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := make([]Change, 0, len(w.dirty))
	for key := range w.dirty {
		changes = append(changes, Change{Key: key, Sync: s.syncs[key]})
	}
	clear(w.dirty)
	return changes
}
