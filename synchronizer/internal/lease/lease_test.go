package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"), // idle connections outlive the test that made them
	)
}

var errBoom = errors.New("boom")

// memory is the Leases in memory, as the API server keeps them. Replicas whose names are cut off get no answer.
type memory struct {
	mu      sync.Mutex
	records [shard.Max]Record
	cut     map[string]bool
	// way is how long a request and its answer take, each, and slow how much longer they may take.
	way, slow time.Duration
	// loses says whether the answer to a write that came to pass gets lost; nil when none does. It is called with mu held.
	loses func() bool
	// fails says why a Lease cannot be read; nil when all can. It is called with mu held.
	fails func(index int) error
}

// of are the Leases as a replica reaches them.
func (m *memory) of(replica string) []Store {
	leases := make([]Store, len(m.records))
	for index := range leases {
		leases[index] = reach{m, replica, index}
	}
	return leases
}

type reach struct {
	*memory

	replica string
	index   int
}

// travel is the way of a request, or of its answer. Neither arrives when the replica is cut off.
func (r reach) travel(ctx context.Context) error {
	way := r.way
	if r.slow > 0 {
		way += rand.N(r.slow)
	}
	if sleepFor(ctx, way) != nil {
		return ctx.Err()
	}
	r.mu.Lock()
	cut := r.cut[r.replica]
	r.mu.Unlock()
	if cut {
		<-ctx.Done()
	}
	return ctx.Err()
}

func sleepFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (r reach) Get(ctx context.Context) (Record, error) {
	if err := r.travel(ctx); err != nil {
		return Record{}, err
	}
	record, err := r.read()
	if err != nil {
		return Record{}, err
	}
	return record, r.travel(ctx)
}

func (r reach) read() (Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails != nil {
		if err := r.fails(r.index); err != nil {
			return Record{}, err
		}
	}
	return r.records[r.index], nil
}

// Put may come to pass without the replica hearing of it.
func (r reach) Put(ctx context.Context, next Record) (Record, error) {
	if err := r.travel(ctx); err != nil {
		return Record{}, err
	}
	put, lost, err := r.replace(next)
	if err != nil {
		return Record{}, err
	}
	if lost {
		<-ctx.Done()
	}
	return put, r.travel(ctx)
}

func (r reach) replace(next Record) (put Record, lost bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if next.Version != r.records[r.index].Version {
		return Record{}, false, fault.New(fault.Conflict, "changed")
	}
	version, _ := strconv.Atoi(next.Version)
	next.Version = strconv.Itoa(version + 1)
	r.records[r.index] = next
	return next, r.loses != nil && r.loses(), nil
}

func (m *memory) cutOff(replica string, cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut[replica] = cut
}

// stage is where replicas run; each writes once a second while its context lets it, and looks at its fence as a connection
// does.
type stage struct {
	t     *testing.T
	lease *memory
	mu    sync.Mutex
	wrote []string // who, in order
	terms []int64
	last  map[string]time.Time
	first map[string]time.Time
}

func newStage(t *testing.T) *stage {
	return &stage{t: t, lease: &memory{cut: map[string]bool{}}, last: map[string]time.Time{}, first: map[string]time.Time{}}
}

// replica is one that runs.
type replica struct {
	holder *Holder
	stop   context.CancelFunc
	done   chan struct{}
	err    error
}

// start runs a replica. A deaf one does not hear that its context has ended for a while, as a write that is on its way.
func (s *stage) start(name string, deaf time.Duration) *replica {
	log, _ := logtest.New(s.t)
	fence := &Fence{}
	ctx, stop := context.WithCancel(s.t.Context())
	r := &replica{
		holder: New(Config{Identity: name, Duration: DefaultDuration}, s.lease.of(name), fence, log),
		stop:   stop, done: make(chan struct{}),
	}
	var running sync.WaitGroup
	running.Go(func() {
		defer close(r.done)
		r.err = r.holder.Run(ctx, func(ctx context.Context, turn Turn) error {
			s.mu.Lock()
			s.terms = append(s.terms, turn.Term)
			s.mu.Unlock()
			return s.write(ctx, name, fence, deaf)
		})
	})
	s.t.Cleanup(func() { stop(); running.Wait() })
	return r
}

func (s *stage) write(ctx context.Context, name string, fence *Fence, deaf time.Duration) error {
	var over time.Time
	for {
		if ctx.Err() != nil && over.IsZero() {
			over = time.Now().Add(deaf)
		}
		if !over.IsZero() && !time.Now().Before(over) {
			return ctx.Err()
		}
		if fence.Open() {
			s.mu.Lock()
			if len(s.wrote) == 0 || s.wrote[len(s.wrote)-1] != name {
				s.wrote = append(s.wrote, name)
				s.first[name] = time.Now()
			}
			s.last[name] = time.Now()
			s.mu.Unlock()
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // the bubble's clock
	}
}

// pass lets time pass.
func (s *stage) pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
}

// began and ended are when a replica wrote first and last; taken are the terms in which somebody worked.
func (s *stage) began(name string) time.Time {
	return locked(s, func() time.Time { return s.first[name] })
}

func (s *stage) ended(name string) time.Time {
	return locked(s, func() time.Time { return s.last[name] })
}

func (s *stage) taken() []int64 { return locked(s, func() []int64 { return slices.Clone(s.terms) }) }

func locked[T any](s *stage, read func() T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return read()
}

// lost waits until a replica ends because it lost the lease.
func (s *stage) lost(r *replica) {
	s.t.Helper()
	select {
	case <-r.done:
		if !errors.Is(r.err, ErrLost) {
			s.t.Errorf("it ended with %v, want ErrLost", r.err)
		}
	case <-time.After(time.Hour):
		s.t.Fatal("it goes on")
	}
}

func (s *stage) writers(want ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.wrote, want) {
		s.t.Errorf("writers in order: got %v, want %v", s.wrote, want)
	}
}

func story(t *testing.T, tell func(t *testing.T, s *stage)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { tell(t, newStage(t)) })
}

func TestOneWorksAndTheOtherStandsBy(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		a := s.start("a", 0)
		s.pass(time.Second)
		b := s.start("b", 0)
		s.pass(time.Hour)
		s.writers("a")
		if !a.holder.Leads() || b.holder.Leads() {
			t.Errorf("a leads: %v, b leads: %v", a.holder.Leads(), b.holder.Leads())
		}
	})
}

func TestAStopGivesTheLeaseUpOnceTheWorkHasEnded(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		const ending = 20 * time.Second // longer than the Lease
		a := s.start("a", ending)
		s.pass(time.Second)
		s.start("b", 0)
		s.pass(time.Minute)
		stopped := time.Now()
		a.stop()
		s.pass(ending + time.Second)
		s.pass(2 * a.holder.every())
		s.writers("a", "b")
		if gap := s.began("b").Sub(s.ended("a")); gap < 0 || gap > 3*a.holder.every() {
			t.Errorf("b began %s after a ended", gap)
		}
		if s.ended("a").Sub(stopped) < ending-time.Second {
			t.Error("a did not have the time to end its work")
		}
		if !slices.Equal(s.taken(), []int64{1, 2}) {
			t.Errorf("terms: got %v, want 1 and 2", s.taken())
		}
	})
}

func TestWhoGetsNoAnswerStopsBeforeAnotherBegins(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		a := s.start("a", time.Minute) // it does not hear in time that it has lost the Lease: its fence holds
		s.pass(time.Second)
		s.start("b", 0)
		s.pass(time.Minute)
		s.lease.cutOff("a", true)
		s.pass(2 * DefaultDuration)
		s.writers("a", "b")
		if gap := s.began("b").Sub(s.ended("a")); gap < DefaultDuration/4 {
			t.Errorf("b began %s after the last write of a, want a quarter of the lease at least", gap)
		}
		s.lease.cutOff("a", false)
		s.lost(a)
		s.pass(time.Minute)
		s.writers("a", "b")
	})
}

func TestAShortTroubleLosesNothing(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		a := s.start("a", 0)
		s.pass(time.Minute)
		s.start("b", 0)
		for range 5 {
			s.lease.cutOff("a", true)
			s.pass(a.holder.deadline() / 2)
			s.lease.cutOff("a", false)
			s.pass(time.Minute)
		}
		s.writers("a")
	})
}

func TestWhoCrashedIsWaitedFor(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		s.lease.records[0] = Record{Holder: "crashed", Term: 7, Duration: DefaultDuration, Version: "1"}
		began := time.Now()
		s.start("b", 0)
		s.pass(2 * DefaultDuration)
		s.writers("b")
		if waited := s.began("b").Sub(began); waited < DefaultDuration || waited > DefaultDuration*5/4 {
			t.Errorf("b waited for %s, want the lease's %s", waited, DefaultDuration)
		}
		if !slices.Equal(s.taken(), []int64{8}) {
			t.Errorf("terms: got %v, want 8", s.taken())
		}
	})
}

func TestWhoIsStartedAgainNeedNotWaitForItself(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		s.lease.records[0] = Record{Holder: "a", Term: 7, Duration: DefaultDuration, Version: "1"}
		began := time.Now()
		s.start("a", 0)
		s.pass(time.Second)
		if s.began("a").Sub(began) != 0 {
			t.Error("it waited")
		}
	})
}

func TestTwoOfOneNameDoNotBothGoOn(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		old := s.start("a", 0)
		s.pass(time.Minute)
		s.start("a", 0)
		s.lost(old)
	})
}

func TestALeaseThatWasRemovedIsLost(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		a := s.start("a", 0)
		s.pass(time.Minute)
		s.lease.mu.Lock()
		s.lease.records[0] = Record{}
		s.lease.mu.Unlock()
		s.lost(a)
	})
}

func TestWorkThatFailsGivesTheLeaseUp(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		log, _ := logtest.New(t)
		holder := New(Config{Identity: "a", Duration: DefaultDuration}, s.lease.of("a"), &Fence{}, log)
		err := holder.Run(t.Context(), func(context.Context, Turn) error { return errBoom })
		if !errors.Is(err, errBoom) || s.lease.records[0].Holder != "" {
			t.Errorf("Run(...): got %v, and the lease is held by %q", err, s.lease.records[0].Holder)
		}
	})
}

// TestASlowServerIsNoReasonToGiveUp has three questions take longer than one may, and each of them less.
func TestASlowServerIsNoReasonToGiveUp(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		s.lease.way = DefaultDuration / 20
		a := s.start("a", 0)
		s.pass(time.Minute)
		s.writers("a")
		if !a.holder.Leads() || !slices.Equal(s.taken(), []int64{1}) {
			t.Errorf("it leads: %v; terms: got %v, want 1", a.holder.Leads(), s.taken())
		}
	})
}

// TestARoleThatNamesOneLeaseTakesNone has a replica that may read the first Lease alone, as an older role lets it.
func TestARoleThatNamesOneLeaseTakesNone(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		s.lease.fails = func(index int) error {
			if index > 0 {
				return errBoom
			}
			return nil
		}
		a := s.start("a", 0)
		s.pass(DefaultDuration)
		if err := a.holder.Hindered(); err != nil {
			t.Errorf("after a short trouble: got %v", err)
		}
		s.pass(DefaultDuration)
		if err := a.holder.Hindered(); !errors.Is(err, errBoom) {
			t.Errorf("after a long trouble: got %v, want why", err)
		}
		s.lease.mu.Lock()
		if got := s.lease.records[0]; got != (Record{}) {
			t.Errorf("the lease was taken: %+v", got)
		}
		s.lease.fails = nil
		s.lease.mu.Unlock()
		s.pass(DefaultDuration)
		s.writers("a")
		if err := a.holder.Hindered(); err != nil {
			t.Errorf("in the end: got %v", err)
		}
	})
}
