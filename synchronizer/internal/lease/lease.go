package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/shared/fault"
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
	// Acquired and Renewed are the holder's clock, for people.
	Acquired, Renewed time.Time
	// Version tells one state of the Lease from the next; empty when it does not exist.
	Version string
}

// Store keeps the Lease.
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
}

// Holder takes the Lease and keeps it. Run it once.
type Holder struct {
	cfg   Config
	store Store
	fence *Fence
	log   *zap.Logger
	leads atomic.Bool
}

// New returns a holder, whose fence is open while the Lease is held.
func New(cfg Config, store Store, fence *Fence, log *zap.Logger) *Holder {
	return &Holder{cfg: cfg, store: store, fence: fence, log: log}
}

// Leads reports whether this replica works.
func (h *Holder) Leads() bool { return h.leads.Load() }

// every is how often the Lease is looked at, or renewed.
func (h *Holder) every() time.Duration { return h.cfg.Duration / 10 }

// deadline is how long after its last sign of life a replica stops.
func (h *Holder) deadline() time.Duration { return h.cfg.Duration * 2 / 3 }

// patience bounds one question to the API server, so that there is time for another.
func (h *Holder) patience() time.Duration { return h.deadline() / 3 }

// Run waits until the Lease can be had, and then works with a context that ends with it; term is higher than that of every
// replica before. It returns ErrLost when the Lease was lost, once the work has ended; work's error otherwise.
func (h *Holder) Run(ctx context.Context, work func(ctx context.Context, term int64) error) error {
	held, until, err := h.acquire(ctx)
	if err != nil {
		return err
	}
	h.fence.extend(until)
	h.leads.Store(true)
	defer h.leads.Store(false)
	h.log.Info("lease taken: this replica works now", zap.Int64("term", held.Term))
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	ended := make(chan struct{})
	var failure error
	running.Go(func() {
		defer close(ended)
		failure = work(working, held.Term)
	})
	held, err = h.keep(ctx, held, until, ended)
	h.fence.shut()
	stop(err)
	running.Wait()
	if err != nil {
		h.log.Error("lease lost: this replica has stopped", zap.Error(err))
		return err
	}
	h.release(ctx, held)
	return failure
}

// acquire waits until the Lease can be had, and takes it. It returns until when it counts.
func (h *Holder) acquire(ctx context.Context) (held Record, until time.Time, err error) {
	watch := &sight{}
	for {
		held, until, err = h.try(ctx, watch)
		switch {
		case err == nil && held.Term > 0:
			return held, until, nil
		case err != nil && !fault.Is(err, fault.Conflict) && ctx.Err() == nil:
			h.log.Warn("lease not looked at", zap.Error(err))
		}
		if err := sleep(ctx, h.every()); err != nil {
			return Record{}, time.Time{}, err
		}
	}
}

// sight is what was seen of a Lease, and when that was new here.
type sight struct {
	Record

	since time.Time
}

// try looks at the Lease, and takes it if it can be had; otherwise it returns the zero Record.
func (h *Holder) try(ctx context.Context, seen *sight) (Record, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, h.patience())
	defer cancel()
	now, err := h.store.Get(ctx)
	if err != nil {
		return Record{}, time.Time{}, err
	}
	if seen.since.IsZero() || now.Version != seen.Version {
		if now.Holder != "" && now.Holder != h.cfg.Identity && now.Holder != seen.Holder {
			h.log.Info("another replica works; this one stands by", zap.String("holder", now.Holder))
		}
		*seen = sight{now, time.Now()}
	}
	if !h.free(*seen) {
		return Record{}, time.Time{}, nil
	}
	asked := time.Now()
	taken, err := h.store.Put(ctx, h.take(now))
	return taken, asked.Add(h.deadline()), err
}

// free reports whether a Lease may be taken.
func (h *Holder) free(seen sight) bool {
	return seen.Holder == "" || seen.Holder == h.cfg.Identity || time.Since(seen.since) > max(seen.Duration, MinDuration)
}

func (h *Holder) take(from Record) Record {
	now := time.Now()
	return Record{Holder: h.cfg.Identity, Term: from.Term + 1, Duration: h.cfg.Duration, Acquired: now, Renewed: now, Version: from.Version}
}

// keep renews the Lease until ended is closed, which is no error, or it is lost.
func (h *Holder) keep(ctx context.Context, held Record, until time.Time, ended <-chan struct{}) (Record, error) {
	ctx = context.WithoutCancel(ctx) // the Lease is kept while the work is ending
	for {
		timer := time.NewTimer(min(h.every(), time.Until(until)))
		select {
		case <-ended:
			timer.Stop()
			return held, nil
		case <-timer.C:
		}
		if !h.fence.Open() {
			return held, fmt.Errorf("%w: no answer of the API server for %s", ErrLost, h.deadline())
		}
		asked := time.Now()
		renewed, err := h.renew(ctx, held)
		switch {
		case errors.Is(err, ErrLost):
			return held, err
		case err != nil:
			h.log.Warn("lease not renewed", zap.Error(err), zap.Duration("left", time.Until(until)))
		default:
			held, until = renewed, asked.Add(h.deadline())
			h.fence.extend(until)
		}
	}
}

// renew says that this replica lives. When the Lease was changed by another hand it looks whose it is now.
func (h *Holder) renew(ctx context.Context, held Record) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, h.patience())
	defer cancel()
	next := held
	next.Renewed = time.Now()
	renewed, err := h.store.Put(ctx, next)
	if !fault.Is(err, fault.Conflict) {
		return renewed, err
	}
	now, err := h.store.Get(ctx)
	if err != nil {
		return now, err
	}
	if now.Holder != held.Holder || now.Term != held.Term {
		return now, fmt.Errorf("%w: %q has taken it", ErrLost, now.Holder)
	}
	next.Version = now.Version
	return h.store.Put(ctx, next)
}

// release gives the Lease up, so that another need not wait. If that fails it has to.
func (h *Holder) release(ctx context.Context, held Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.patience())
	defer cancel()
	held.Holder = ""
	held.Renewed = time.Now()
	if _, err := h.store.Put(ctx, held); err != nil {
		h.log.Warn("lease not given up", zap.Error(err))
	}
}

// sleep waits for a time, give or take a fifth of it, so that replicas do not ask in step.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d - d/5 + rand.N(2*d/5+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
