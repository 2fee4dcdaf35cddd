package lease

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/shard"
)

// search is a replica's way to a Lease.
type search struct {
	*Holder

	seen    []sight // by shard
	divided bool    // whether somebody was seen who divides the work otherwise
}

// sight is what was seen of a Lease, and when that was new here.
type sight struct {
	Record

	since time.Time
}

// acquire waits until the Lease of a shard can be had, and takes it.
func (h *Holder) acquire(ctx context.Context) (*tenure, error) {
	s := &search{Holder: h, seen: make([]sight, len(h.leases))}
	for {
		t, err := s.try(ctx)
		if fault.Is(err, fault.Conflict) {
			err = nil // another was faster
		}
		h.note(err)
		switch {
		case t != nil:
			return t, nil
		case err != nil && ctx.Err() == nil:
			h.log.Warn("lease not looked at", zap.Error(err))
		}
		if err := sleep(ctx, h.every()); err != nil {
			return nil, err
		}
	}
}

// try takes a Lease that can be had; nil when there is none.
//
// It takes, and then looks at all others again. Of two replicas that divide the work differently the one that took its Lease
// later sees that of the other when it looks, whatever either saw before, and gives its own up. So both may be without one for
// a moment, and never do both work. What is seen before the taking only saves vain tries.
//
// The second look has the time of a question of its own: taking and looking leave a third of the deadline at least.
func (s *search) try(ctx context.Context) (*tenure, error) {
	t, err := s.take(ctx)
	if t == nil {
		return nil, err
	}
	looking, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	if err := s.look(looking, s.others(t.shard.Index)); err != nil || s.disagrees() {
		s.release(ctx, t)
		return nil, err
	}
	return t, nil
}

// take looks for a Lease that can be had and takes it; nil when there is none.
func (s *search) take(ctx context.Context) (*tenure, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	if err := s.look(ctx, s.watched()); err != nil {
		return nil, err
	}
	index := s.choose()
	if s.disagrees() || index < 0 {
		return nil, nil //nolint:nilnil // there is none to be had
	}
	asked := time.Now()
	taken, err := s.leases[index].Put(ctx, s.claim(s.seen[index].Record))
	if err != nil {
		return nil, err
	}
	s.seen[index] = sight{taken, asked}
	of := shard.Shard{Index: index, Count: s.cfg.Shards}
	return &tenure{lease: s.leases[index], shard: of, held: taken, until: asked.Add(s.deadline())}, nil
}

// watched are the Leases that matter to who stands by: those that it may take, and others that somebody holds, as seen, or that
// it has never seen. So whoever may not read all of them takes none.
func (s *search) watched() (indices []int) {
	for index, seen := range s.seen {
		if index < s.cfg.Shards || seen.since.IsZero() || !s.free(index) {
			indices = append(indices, index)
		}
	}
	return indices
}

// others are all Leases but one.
func (s *search) others(but int) (indices []int) {
	for index := range s.leases {
		if index != but {
			indices = append(indices, index)
		}
	}
	return indices
}

// look reads Leases, all at once.
func (s *search) look(ctx context.Context, indices []int) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, index := range indices {
		group.Go(func() error {
			now, err := s.leases[index].Get(ctx)
			if err != nil {
				return err
			}
			if seen := s.seen[index]; seen.since.IsZero() || now.Version != seen.Version {
				if now.Holder != "" && now.Holder != s.cfg.Identity && now.Holder != seen.Holder {
					s.log.Info("another replica works", zap.Int("shard", index), zap.Int("shards", now.Shards), zap.String("holder", now.Holder))
				}
				s.seen[index] = sight{now, time.Now()}
			}
			return nil
		})
	}
	return group.Wait()
}

// free reports whether a Lease may be taken, and nobody works who held it.
func (s *search) free(index int) bool {
	seen := s.seen[index]
	return seen.Holder == "" || seen.Holder == s.cfg.Identity || time.Since(seen.since) > max(seen.Duration, MinDuration)
}

// disagrees reports whether somebody holds a Lease who divides the work otherwise.
func (s *search) disagrees() bool {
	before := s.divided
	s.divided = false
	for index, seen := range s.seen {
		if s.free(index) || seen.Shards == s.cfg.Shards {
			continue
		}
		if s.divided = true; !before {
			s.log.Info("replicas that divide the Syncs otherwise work; this one stands by until they have ended",
				zap.Int("shards", s.cfg.Shards), zap.Int("theirs", seen.Shards), zap.String("holder", seen.Holder))
		}
		break
	}
	return s.divided
}

// choose returns the shard whose Lease is to be taken; negative for none. What was held under the own name comes first: others
// would wait for it. Of the rest each replica begins with another, so that they do not all want the same.
func (s *search) choose() int {
	for index := range s.cfg.Shards {
		if s.seen[index].Holder == s.cfg.Identity {
			return index
		}
	}
	name := fnv.New32a()
	_, _ = name.Write([]byte(s.cfg.Identity)) // never fails
	first := int(name.Sum32() % uint32(s.cfg.Shards))
	for i := range s.cfg.Shards {
		if index := (first + i) % s.cfg.Shards; s.free(index) {
			return index
		}
	}
	return -1
}

func (s *search) claim(from Record) Record {
	now := time.Now()
	return Record{
		Holder: s.cfg.Identity, Term: from.Term + 1, Duration: s.cfg.Duration, Shards: s.cfg.Shards,
		Acquired: now, Renewed: now, Version: from.Version,
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
