package relay

import (
	"context"
	"slices"
	"sync"
	"time"
)

// unrecorded are the announcements that were made and are being recorded, by cluster. A transfer waits for those of its
// cluster: an automator that is killed in between announces the content again to a cluster that does not have it yet,
// and never again to one that does.
type unrecorded struct {
	mu   sync.Mutex
	open map[string][]chan struct{}
}

// begin notes an announcement that is about to be made, until its record has ended in one way or another.
func (u *unrecorded) begin(cluster string) (end func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open == nil {
		u.open = map[string][]chan struct{}{}
	}
	done := make(chan struct{})
	u.open[cluster] = append(u.open[cluster], done)
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		close(done)
		u.open[cluster] = slices.DeleteFunc(u.open[cluster], func(c chan struct{}) bool { return c == done })
		if len(u.open[cluster]) == 0 {
			delete(u.open, cluster)
		}
	}
}

// wait returns when what was announced to a cluster so far is recorded, or after recordTimeout: a store that hangs holds
// no delivery up. It fails only with its context.
func (u *unrecorded) wait(ctx context.Context, cluster string) error {
	u.mu.Lock()
	open := slices.Clone(u.open[cluster])
	u.mu.Unlock()
	if len(open) == 0 {
		return nil
	}
	enough := time.NewTimer(recordTimeout)
	defer enough.Stop()
	for _, done := range open {
		select {
		case <-done:
		case <-enough.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
