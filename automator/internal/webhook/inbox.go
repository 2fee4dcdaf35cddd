package webhook

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How fast hints for one repository are passed on. What comes faster waits and becomes fewer.
const (
	// hintBurst is how many hints go at once: a push of a few tags is one thing to whoever waits for it.
	hintBurst = 20
	// hintRate is how many go in a second after that.
	hintRate = 2
	// maxWaiting bounds the tags that wait for one repository. Beyond it they become "anything may have changed".
	maxWaiting = 100
	// idle is the longest sleep.
	idle = time.Hour
)

// key is a repository that hints are about.
type key struct {
	repository string
	git        bool
	referrer   bool // something without a tag
}

// inbox has the hints that were not passed on yet.
type inbox struct {
	wake chan struct{}

	mu    sync.Mutex
	slots map[key]*slot
}

// slot has the hints for one repository.
type slot struct {
	limiter *rate.Limiter
	waiting []string // tags, in the order in which they came
}

func newInbox() *inbox {
	return &inbox{wake: make(chan struct{}, 1), slots: make(map[key]*slot)}
}

// put adds a hint. A hint that waits already is not added again.
func (b *inbox) put(k key, tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.slots[k]
	if s == nil {
		s = &slot{limiter: rate.NewLimiter(hintRate, hintBurst)}
		b.slots[k] = s
	}
	for _, waiting := range s.waiting {
		if waiting == tag || waiting == "" {
			return
		}
	}
	if len(s.waiting) == maxWaiting {
		s.waiting = s.waiting[:0]
		tag = ""
	}
	s.waiting = append(s.waiting, tag)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run passes hints on until the context is done.
func (b *inbox) run(ctx context.Context, pass func(k key, tag string)) error {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		hints, wait := b.take(time.Now())
		for _, h := range hints {
			pass(h.key, h.tag)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.wake:
		case <-timer.C:
		}
	}
}

// hint is a hint to pass on.
type hint struct {
	key key
	tag string
}

// take returns the hints that may go now, and how long none of the others may.
func (b *inbox) take(now time.Time) (hints []hint, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait = idle
	for k, s := range b.slots {
		for len(s.waiting) > 0 && s.limiter.AllowN(now, 1) {
			hints = append(hints, hint{key: k, tag: s.waiting[0]})
			s.waiting = s.waiting[1:]
		}
		switch {
		case len(s.waiting) > 0:
			next := s.limiter.ReserveN(now, 1)
			wait = min(wait, next.DelayFrom(now))
			next.CancelAt(now)
		case s.limiter.TokensAt(now) >= hintBurst:
			delete(b.slots, k) // as good as new
		}
	}
	return hints, wait
}
