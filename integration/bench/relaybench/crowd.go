package relaybench

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
)

// patience bounds a wait for all synchronizers; it is far above every target, so that a figure is printed when one is
// missed.
const patience = 5 * time.Minute

// look is how often the crowd is looked at while it is waited for.
const look = 10 * time.Millisecond

// digits differ between failures that are the same.
var digits = regexp.MustCompile(`[0-9]+`)

// crowd is the fake synchronizers, and what they saw.
type crowd struct {
	fakes  []*fake
	fetch  bool
	cancel context.CancelFunc
	group  *errgroup.Group
	ready  atomic.Int64 // sources that were said to be the newest

	mu       sync.Mutex
	rounds   map[string]*round // by commit, in hex
	byEvent  map[string]*round
	failures map[string]int
	lost     int
}

// round is one announcement to all.
type round struct {
	first    time.Time // when the automator announced it to the first
	arrivals []time.Time
	acks     []time.Time
}

func newCrowd(fetch bool) *crowd {
	return &crowd{fetch: fetch, rounds: map[string]*round{}, byEvent: map[string]*round{}, failures: map[string]int{}}
}

// start lets the crowd loose. Members come together, as after an outage of the network.
func (c *crowd) start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.group, ctx = errgroup.WithContext(ctx)
	for _, f := range c.fakes {
		c.group.Go(func() error { return f.run(ctx) })
	}
}

// stop ends it and waits for that.
func (c *crowd) stop() error {
	if c.cancel == nil {
		return nil
	}
	c.cancel()
	if err := c.group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// cut breaks every connection and returns when.
func (c *crowd) cut() time.Time {
	at := time.Now()
	for _, f := range c.fakes {
		f.link.cut()
	}
	return at
}

func (c *crowd) failed(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	text := digits.ReplaceAllString(err.Error(), "N")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost++
	if len(c.failures) < 1000 {
		c.failures[text[:min(len(text), 160)]]++
	}
}

// complaints are the most frequent failures since the last time, for a person.
func (c *crowd) complaints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for text, count := range c.failures {
		if count > len(c.fakes)/100 || len(c.failures) < 4 {
			out = append(out, fmt.Sprintf("%d × %s", count, text))
		}
	}
	clear(c.failures)
	return out
}

// losses is how many streams were lost since the last time.
func (c *crowd) losses() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := c.lost
	c.lost = 0
	return lost
}

func (c *crowd) readied() { c.ready.Add(1) }

func (c *crowd) at(commit string) *round {
	r := c.rounds[commit]
	if r == nil {
		r = &round{}
		c.rounds[commit] = r
	}
	return r
}

func commitOf(a *relayv1.Announcement) string {
	return hex.EncodeToString(a.GetRevision().GetCommit().GetValue())
}

// arrived notes an announcement. The automator's clock is this machine's.
func (c *crowd) arrived(a *relayv1.Announcement, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.at(commitOf(a))
	if said := a.GetTime().AsTime(); r.first.IsZero() || said.Before(r.first) {
		r.first = said
	}
	r.arrivals = append(r.arrivals, at)
}

func (c *crowd) told(id []byte, a *relayv1.Announcement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byEvent[string(id)] = c.at(commitOf(a))
}

func (c *crowd) acknowledged(ack *relayv1.EventAck, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ack.GetIds() {
		if r := c.byEvent[string(id)]; r != nil {
			r.acks = append(r.acks, at)
			delete(c.byEvent, string(id))
		}
	}
}

// result returns how long an announcement took to arrive and to be acknowledged, and since it was pushed.
func (c *crowd) result(commit string, pushed time.Time) (announced, acked, sincePush []time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.at(commit)
	for _, at := range r.arrivals {
		announced = append(announced, at.Sub(r.first))
		sincePush = append(sincePush, at.Sub(pushed))
	}
	for _, at := range r.acks {
		acked = append(acked, at.Sub(r.first))
	}
	delete(c.rounds, commit)
	return announced, acked, sincePush
}

// waitRound waits until an announcement arrived everywhere and every acknowledgement came back.
func (c *crowd) waitRound(ctx context.Context, commit string) error {
	return c.wait(ctx, func() (int, string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		r := c.at(commit)
		return min(len(r.arrivals), len(r.acks)), fmt.Sprintf("announcement of %.12s: %d arrived, %d acknowledged", commit, len(r.arrivals), len(r.acks))
	})
}

// waitBack waits until everybody follows and reports since a moment, and returns how long that took for the last.
func (c *crowd) waitBack(ctx context.Context, since time.Time) (time.Duration, error) {
	var last int64
	err := c.wait(ctx, func() (int, string) {
		back := 0
		last = 0
		for _, f := range c.fakes {
			following, reporting := f.following.Load(), f.reporting.Load()
			if min(following, reporting) > since.UnixNano() {
				back++
				last = max(last, following, reporting)
			}
		}
		return back, "reconnect"
	})
	return time.Unix(0, last).Sub(since), err
}

// wait looks until all are counted.
func wait(ctx context.Context, all int, count func() (int, string)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done, what := count()
		if done >= all {
			return nil
		}
		if err := pause(ctx, look); err != nil {
			return fmt.Errorf("%s: %d of %d after %s: %w", what, done, all, patience, err)
		}
	}
}

// wait names the failures of the fakes when it was in vain.
func (c *crowd) wait(ctx context.Context, count func() (int, string)) error {
	err := wait(ctx, len(c.fakes), count)
	if err != nil {
		return fmt.Errorf("%w; %v", err, c.complaints())
	}
	return nil
}
