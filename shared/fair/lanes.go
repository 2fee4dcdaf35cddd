package fair

import (
	"slices"
	"sync"
)

// Lanes let a bounded number of works run side by side. A flow has at most half of them. Large works have at most half of
// what small ones have, so that there is always room for small ones.
type Lanes[K comparable] struct {
	lanes int

	mu      sync.Mutex
	running map[K]work
	waiting []claim[K] // who came first, first
}

type work struct {
	flow  string
	large bool
}

type claim[K comparable] struct {
	work

	key K
}

// NewLanes returns so many lanes; at least 4, so that there is one of each kind.
func NewLanes[K comparable](lanes int) *Lanes[K] {
	return &Lanes[K]{lanes: max(lanes, 4), running: map[K]work{}}
}

// Enter reports whether a work may run now; until Leave it has a lane. Who has to wait is told by what Leave returns.
func (l *Lanes[K]) Enter(key K, flow string, large bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, in := l.running[key]; in {
		return true
	}
	now := claim[K]{work{flow, large}, key}
	at := slices.IndexFunc(l.waiting, func(c claim[K]) bool { return c.key == key })
	switch {
	case at >= 0:
		l.waiting[at] = now // it keeps its place
		return false
	case !l.room(now.work): // nobody who waits has room either
		l.waiting = append(l.waiting, now)
		return false
	}
	l.running[key] = now.work
	return true
}

// Leave gives a lane back, if there is one, and returns who waited and has one now: each MUST leave in its turn, whether it
// enters or not.
func (l *Lanes[K]) Leave(key K) (next []K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, in := l.running[key]; !in {
		return nil // nobody has more room than before
	}
	delete(l.running, key)
	l.waiting = slices.DeleteFunc(l.waiting, func(c claim[K]) bool {
		if !l.room(c.work) {
			return false
		}
		l.running[c.key] = c.work
		next = append(next, c.key)
		return true
	})
	return next
}

// Waiting returns how many wait.
func (l *Lanes[K]) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

func (l *Lanes[K]) room(w work) bool {
	var all, large, flow, flowLarge int
	for _, r := range l.running {
		all++
		large += one(r.large)
		flow += one(r.flow == w.flow)
		flowLarge += one(r.flow == w.flow && r.large)
	}
	return all < l.lanes && flow < l.lanes/2 && (!w.large || large < l.lanes/2 && flowLarge < l.lanes/4)
}

func one(of bool) int {
	if of {
		return 1
	}
	return 0
}
