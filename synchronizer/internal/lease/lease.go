package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/shard"
)

const (
	// DefaultDuration is how long a replica that does not say any more that it lives is waited for.
	DefaultDuration = 15 * time.Second
	// MinDuration leaves a slow API server time for an answer.
	MinDuration = 3 * time.Second
	// MaxDuration bounds how long nobody works after a crash.
	MaxDuration = 5 * time.Minute
)

// Record is what a Lease says. Its zero value is that of one that does not exist yet.
type Record struct {
	// Holder is the replica that works; empty when it gave the Lease up.
	Holder string
	// Term counts how often the Lease was taken.
	Term int64
	// Duration is how long others wait for the holder.
	Duration time.Duration
	// Shards is by how many parts the holder, or the last one, divides the work. One that says nothing has one part.
	Shards int
	// Acquired and Renewed are the holder's clock, for people.
	Acquired, Renewed time.Time
	// Version tells one state of the Lease from the next; empty when it does not exist.
	Version string
}

// Store keeps one Lease.
type Store interface {
	// Get returns it.
	Get(ctx context.Context) (Record, error)
	// Put replaces it and returns it with its new version; a Conflict fault when its version is not the present one.
	Put(ctx context.Context, record Record) (Record, error)
}

// Config says who takes the Lease.
type Config struct {
	// Identity is the replica's name. No two that run at the same time may have the same: one that begins takes over at
	// once what was held under its name, as a container does that was restarted in its Pod.
	Identity string
	// Duration is how long a replica that does not say any more that it lives is waited for.
	Duration time.Duration
	// Shards is by how many parts the work is divided, up to shard.Max; 0 is 1. A replica works for one of them.
	Shards int
}

// Holder takes the Lease of one shard and keeps it. Run it once.
type Holder struct {
	cfg    Config
	leases []Store // by shard, of every number of shards that there may be
	fence  *Fence
	log    *zap.Logger
	leads  atomic.Bool
	// trouble is why the Leases cannot be looked at now; nil when they can.
	trouble atomic.Pointer[trouble]
}

// trouble is a question that has no answer, and since when.
type trouble struct {
	since time.Time
	cause error
}

// New returns a holder, whose fence is open while it works. leases are those of all shards that there may be, shard.Max.
func New(cfg Config, leases []Store, fence *Fence, log *zap.Logger) *Holder {
	cfg.Shards = max(cfg.Shards, 1)
	return &Holder{cfg: cfg, leases: leases, fence: fence, log: log}
}

// Leads reports whether this replica works.
func (h *Holder) Leads() bool { return h.leads.Load() }

// Hindered returns why no Lease could be looked at, or taken, for longer than one lasts: this replica cannot take over from
// another. It is nil while it could.
func (h *Holder) Hindered() error {
	t := h.trouble.Load()
	if t == nil || time.Since(t.since) <= h.cfg.Duration {
		return nil
	}
	return fmt.Errorf("no lease can be taken since %s: %w", t.since.UTC().Format(time.RFC3339), t.cause)
}

// note remembers what came of a try.
func (h *Holder) note(err error) {
	if err == nil {
		h.trouble.Store(nil)
		return
	}
	now := &trouble{since: time.Now(), cause: err}
	if before := h.trouble.Load(); before != nil {
		now.since = before.since
	}
	h.trouble.Store(now)
}

// every is how often the Lease is looked at, or renewed.
func (h *Holder) every() time.Duration { return h.cfg.Duration / 10 }

// deadline is how long after its last sign of life a replica stops.
func (h *Holder) deadline() time.Duration { return h.cfg.Duration * 2 / 3 }

// patience bounds one question to the API server, so that there is time for another.
func (h *Holder) patience() time.Duration { return h.deadline() / 3 }

// Turn is what a replica works for.
type Turn struct {
	// Shard is its part of the work. No two replicas work for one, and none works while another divides the work otherwise.
	Shard shard.Shard
	// Term is higher than that of every replica before that worked for a shard of this index.
	Term int64
}

// Run waits until the Lease of a shard can be had, and then works with a context that ends with it. It returns ErrLost when
// the Lease was lost, once the work has ended; work's error otherwise.
func (h *Holder) Run(ctx context.Context, work func(ctx context.Context, turn Turn) error) error {
	t, err := h.acquire(ctx)
	if err != nil {
		return err
	}
	h.fence.extend(t.until)
	h.leads.Store(true)
	defer h.leads.Store(false)
	turn := Turn{Shard: t.shard, Term: t.held.Term}
	h.log.Info("lease taken: this replica works now", zap.Stringer("shard", turn.Shard), zap.Int64("term", turn.Term))
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	ended := make(chan struct{})
	var failure error
	running.Go(func() {
		defer close(ended)
		failure = work(working, turn)
	})
	err = h.keep(ctx, t, ended)
	h.fence.shut()
	stop(err)
	running.Wait()
	if err != nil {
		h.log.Error("lease lost: this replica has stopped", zap.Error(err))
		return err
	}
	h.release(ctx, t)
	return failure
}

// tenure is a Lease that is held.
type tenure struct {
	lease Store
	shard shard.Shard
	held  Record
	until time.Time // how long that counts
}

// keep renews the Lease until ended is closed, which is no error, or it is lost.
func (h *Holder) keep(ctx context.Context, t *tenure, ended <-chan struct{}) error {
	ctx = context.WithoutCancel(ctx) // the Lease is kept while the work is ending
	for {
		timer := time.NewTimer(min(h.every(), time.Until(t.until)))
		select {
		case <-ended:
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if !h.fence.Open() {
			return fmt.Errorf("%w: no answer of the API server for %s", ErrLost, h.deadline())
		}
		asked := time.Now()
		renewed, err := h.renew(ctx, t)
		switch {
		case errors.Is(err, ErrLost):
			return err
		case err != nil:
			h.log.Warn("lease not renewed", zap.Error(err), zap.Duration("left", time.Until(t.until)))
		default:
			t.held, t.until = renewed, asked.Add(h.deadline())
			h.fence.extend(t.until)
		}
	}
}

// renew says that this replica lives. When the Lease was changed by another hand it looks whose it is now.
func (h *Holder) renew(ctx context.Context, t *tenure) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, h.patience())
	defer cancel()
	next := t.held
	next.Renewed = time.Now()
	renewed, err := t.lease.Put(ctx, next)
	if !fault.Is(err, fault.Conflict) {
		return renewed, err
	}
	now, err := t.lease.Get(ctx)
	if err != nil {
		return now, err
	}
	if now.Holder != t.held.Holder || now.Term != t.held.Term {
		return now, fmt.Errorf("%w: %q has taken it", ErrLost, now.Holder)
	}
	next.Version = now.Version
	return t.lease.Put(ctx, next)
}

// release gives the Lease up, so that another need not wait. If that fails it has to.
func (h *Holder) release(ctx context.Context, t *tenure) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.patience())
	defer cancel()
	free := t.held
	free.Holder = ""
	free.Renewed = time.Now()
	if _, err := t.lease.Put(ctx, free); err != nil {
		h.log.Warn("lease not given up", zap.Error(err))
	}
}
