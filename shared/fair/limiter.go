package fair

import (
	"context"
	"slices"
	"sync"
)

// Limiter shares slots between flows. Who has to wait for one waits for at most one slot of every other flow.
type Limiter struct {
	slots, share, reserve int

	mu    sync.Mutex
	taken int
	held  map[string]int
	ring  []*line // flows that wait; the next one in turn first
}

// line are the waiting of one flow, in the order in which they came.
type line struct {
	flow    string
	waiting []chan struct{}
}

// NewLimiter returns a limiter of slots, of which a flow has at most share. The last ones, reserve, are for flows that have
// none: however long those that were handed out are kept, many newcomers get one at once.
func NewLimiter(slots, share, reserve int) *Limiter {
	return &Limiter{slots: slots, share: share, reserve: reserve, held: map[string]int{}}
}

// Acquire waits for a slot, which Release gives back. It fails when ctx ends before there was one.
func (l *Limiter) Acquire(ctx context.Context, flow string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	granted := l.enter(flow)
	select {
	case <-granted:
		return nil
	case <-ctx.Done():
		return l.abandon(ctx, flow, granted)
	}
}

// enter returns a channel that is closed when the slot is there.
func (l *Limiter) enter(flow string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	granted := make(chan struct{})
	at := slices.IndexFunc(l.ring, func(w *line) bool { return w.flow == flow })
	switch {
	case at >= 0:
		l.ring[at].waiting = append(l.ring[at].waiting, granted)
	case l.free(flow): // whoever waits may not have it
		l.take(flow)
		close(granted)
	default:
		l.ring = append(l.ring, &line{flow: flow, waiting: []chan struct{}{granted}})
	}
	return granted
}

// abandon stops to wait. A slot that came at the same time goes back.
func (l *Limiter) abandon(ctx context.Context, flow string, granted chan struct{}) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.ring {
		at := slices.Index(w.waiting, granted)
		if at < 0 {
			continue
		}
		if w.waiting = slices.Delete(w.waiting, at, at+1); len(w.waiting) == 0 {
			l.ring = slices.Delete(l.ring, i, i+1)
		}
		return ctx.Err()
	}
	l.giveBack(flow)
	return ctx.Err()
}

// Release gives a slot of a flow back.
func (l *Limiter) Release(flow string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.giveBack(flow)
}

func (l *Limiter) giveBack(flow string) {
	l.taken--
	if l.held[flow]--; l.held[flow] == 0 {
		delete(l.held, flow)
	}
	for l.grant() {
	}
}

// grant gives a slot to the next flow in turn that may have one.
func (l *Limiter) grant() bool {
	at := slices.IndexFunc(l.ring, func(w *line) bool { return l.free(w.flow) })
	if at < 0 {
		return false
	}
	next := l.ring[at]
	l.ring = slices.Delete(l.ring, at, at+1)
	l.take(next.flow)
	close(next.waiting[0])
	if next.waiting = next.waiting[1:]; len(next.waiting) > 0 {
		l.ring = append(l.ring, next)
	}
	return true
}

// free reports whether there is a slot that a flow may have.
func (l *Limiter) free(flow string) bool {
	held := l.held[flow]
	if held == 0 {
		return l.taken < l.slots
	}
	return held < l.share && l.taken < l.slots-l.reserve
}

func (l *Limiter) take(flow string) {
	l.taken++
	l.held[flow]++
}
