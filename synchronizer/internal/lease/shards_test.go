package lease

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

// crew are replicas that may divide the work differently, on a slow API server.
type crew struct {
	t       *testing.T
	leases  *memory
	mu      sync.Mutex
	running map[string]*member
	works   map[string]shard.Shard // who may write at this moment, as what
	wrong   []string
}

type member struct {
	stop context.CancelFunc
	done chan struct{}
}

func newCrew(t *testing.T) *crew {
	return &crew{
		t: t, leases: &memory{cut: map[string]bool{}, slow: DefaultDuration / 50},
		running: map[string]*member{}, works: map[string]shard.Shard{},
	}
}

// start runs a replica.
func (c *crew) start(name string, shards int) {
	if c.running[name] != nil {
		return
	}
	log, _ := logtest.New(c.t)
	fence := &Fence{}
	holder := New(Config{Identity: name, Duration: DefaultDuration, Shards: shards}, c.leases.of(name), fence, log)
	ctx, stop := context.WithCancel(c.t.Context())
	m := &member{stop: stop, done: make(chan struct{})}
	c.running[name] = m
	go func() {
		defer close(m.done)
		_ = holder.Run(ctx, func(ctx context.Context, turn Turn) error { // lost, or stopped: both are to be expected
			for ctx.Err() == nil {
				c.write(name, turn.Shard, fence)
				time.Sleep(DefaultDuration / 200) //nolint:forbidigo // the bubble's clock
			}
			c.write(name, shard.Shard{}, nil)
			return ctx.Err()
		})
		c.write(name, shard.Shard{}, nil)
	}()
}

// write is a write of a replica, as far as its fence lets it; without one it takes note that the replica writes no more.
func (c *crew) write(name string, of shard.Shard, fence *Fence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.works, name)
	if fence == nil || !fence.Open() {
		return
	}
	for other, theirs := range c.works {
		if theirs.Count != of.Count || theirs.Index == of.Index {
			c.wrong = append(c.wrong, fmt.Sprintf("%s works for %s while %s works for %s", name, of, other, theirs))
		}
	}
	c.works[name] = of
}

// stop ends a replica in good order.
func (c *crew) stop(name string) {
	if m := c.running[name]; m != nil {
		m.stop()
		<-m.done
		delete(c.running, name)
	}
}

// crash ends a replica that then gives up nothing.
func (c *crew) crash(name string) {
	if m := c.running[name]; m != nil {
		c.leases.cutOff(name, true)
		m.stop()
		<-m.done
		delete(c.running, name)
		c.leases.cutOff(name, false)
	}
}

// end ends all replicas.
func (c *crew) end() {
	for name := range c.running {
		c.leases.cutOff(name, false)
		c.stop(name)
	}
}

// shares are the shards that are worked for, sorted.
func (c *crew) shares() (shares []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range c.works {
		shares = append(shares, of.String())
	}
	slices.Sort(shares)
	return shares
}

// agrees checks that nobody ever worked beside another who divides the work otherwise, or for the same shard.
func (c *crew) agrees() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) > 0 {
		c.t.Errorf("%d times, first: %s", len(c.wrong), c.wrong[0])
	}
}

func (c *crew) pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
}

// workFor checks who works in the end.
func (c *crew) workFor(want ...string) {
	c.t.Helper()
	if got := c.shares(); !slices.Equal(got, want) {
		c.t.Errorf("shards that are worked for: got %v, want %v", got, want)
	}
}

func crewStory(t *testing.T, tell func(c *crew)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t)
		defer c.end()
		tell(c)
		c.agrees()
	})
}

func TestEachShardIsWorkedForByOneReplica(t *testing.T) {
	crewStory(t, func(c *crew) {
		for _, name := range []string{"a", "b", "c", "d"} {
			c.start(name, 3)
		}
		c.pass(time.Minute)
		c.workFor("0 of 3", "1 of 3", "2 of 3")
	})
}

func TestWhoStandsByTakesTheShardOfWhoCrashed(t *testing.T) {
	crewStory(t, func(c *crew) {
		for _, name := range []string{"a", "b", "c"} {
			c.start(name, 2)
		}
		c.pass(time.Minute)
		c.workFor("0 of 2", "1 of 2")
		c.mu.Lock()
		var worker string
		for name := range c.works {
			worker = name
		}
		c.mu.Unlock()
		c.crash(worker)
		c.workFor(c.shares()[0])
		c.pass(2 * DefaultDuration)
		c.workFor("0 of 2", "1 of 2")
	})
}

// TestANewNumberIsWorkedByWhenTheLastOfTheOldHasEnded rolls from two shards to three, one replica after the other.
func TestANewNumberIsWorkedByWhenTheLastOfTheOldHasEnded(t *testing.T) {
	crewStory(t, func(c *crew) {
		for _, name := range []string{"a", "b", "c"} {
			c.start(name, 2)
		}
		c.pass(time.Minute)
		for _, name := range []string{"a", "b", "c"} {
			c.start("new-"+name, 3)
			c.pass(time.Minute)
			if shares := c.shares(); slices.ContainsFunc(shares, func(s string) bool { return strings.HasSuffix(s, "of 3") }) {
				c.t.Errorf("three shards while %s works: %v", name, shares)
			}
			c.stop(name)
		}
		c.pass(time.Minute)
		c.workFor("0 of 3", "1 of 3", "2 of 3")
	})
}

// TestFewerShards leaves the Lease of a shard that there is no more behind, held by who crashed.
func TestFewerShards(t *testing.T) {
	crewStory(t, func(c *crew) {
		c.leases.records[5] = Record{Holder: "crashed", Term: 3, Duration: DefaultDuration, Shards: 6, Version: "1"}
		c.start("a", 1)
		c.pass(DefaultDuration)
		c.workFor()
		c.pass(DefaultDuration)
		c.workFor("0 of 1")
	})
}

// TestALeaseOfAnOlderVersionCountsAsOneShard has the holder of a Lease without a number.
func TestALeaseOfAnOlderVersionCountsAsOneShard(t *testing.T) {
	crewStory(t, func(c *crew) {
		c.leases.records[0] = Record{Holder: "old", Term: 3, Duration: DefaultDuration, Shards: 1, Version: "1"}
		c.start("a", 2)
		c.start("b", 2)
		c.pass(DefaultDuration * 9 / 10)
		c.workFor()
		c.pass(DefaultDuration)
		c.workFor("0 of 2", "1 of 2")
	})
}

// TestALookThatFailsAfterTheTakingGivesTheLeaseUp has a replica that can look only while it holds nothing.
func TestALookThatFailsAfterTheTakingGivesTheLeaseUp(t *testing.T) {
	crewStory(t, func(c *crew) {
		c.leases.fails = func(int) error {
			if c.leases.records[0].Holder == "a" {
				return errBoom
			}
			return nil
		}
		c.start("a", 1)
		for range 60 {
			c.pass(time.Second)
			c.workFor()
		}
		c.leases.mu.Lock()
		if c.leases.records[0].Term < 2 {
			c.t.Errorf("the lease was taken %d times, want again and again", c.leases.records[0].Term)
		}
		c.leases.fails = nil
		c.leases.mu.Unlock()
		c.pass(DefaultDuration)
		c.workFor("0 of 1")
	})
}

// TestATakingWhoseAnswerIsLostIsFoundAgain has a replica hold a Lease without knowing it: nobody works, and the same replica takes
// it without waiting for itself.
func TestATakingWhoseAnswerIsLostIsFoundAgain(t *testing.T) {
	crewStory(t, func(c *crew) {
		var lost atomic.Bool
		c.leases.loses = func() bool { return !lost.Swap(true) }
		c.start("a", 2)
		c.pass(DefaultDuration / 5)
		if !lost.Load() {
			c.t.Fatal("nothing was taken")
		}
		c.workFor()
		c.pass(DefaultDuration / 2)
		if got := c.shares(); len(got) != 1 {
			c.t.Errorf("works for %v, want one shard", got)
		}
		c.leases.mu.Lock()
		defer c.leases.mu.Unlock()
		held := 0
		for _, r := range c.leases.records {
			if r.Holder == "a" {
				held++
			}
		}
		if held != 1 {
			c.t.Errorf("it holds %d leases, want the one that it had taken", held)
		}
	})
}

// deed is what becomes of a replica.
type deed struct {
	what  string
	who   string
	after time.Duration
}

// TestNoTwoOwnersWhateverHappens lets replicas that divide the work into one, two and three parts begin, end, crash and be cut
// off in any order, on an API server whose answers come late, out of order or not at all: no two that divide it differently ever work
// together, and none works beside another for the same part. When those of one number alone are left, all of its parts are
// worked for.
func TestNoTwoOwnersWhateverHappens(t *testing.T) {
	t.Parallel()
	names := []string{"a1", "b1", "a2", "b2", "c2", "a3", "b3", "c3"}
	shardsOf := func(name string) int { return int(name[len(name)-1] - '0') }
	rapid.Check(t, func(rt *rapid.T) {
		deeds := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) deed {
			return deed{
				what:  rapid.SampledFrom([]string{"start", "start", "stop", "crash", "cut", "mend"}).Draw(rt, "what"),
				who:   rapid.SampledFrom(names).Draw(rt, "who"),
				after: time.Duration(rapid.Int64Range(0, int64(DefaultDuration)).Draw(rt, "after")),
			}
		}), 10, 40).Draw(rt, "deeds")
		losing := rapid.IntRange(0, 5).Draw(rt, "losing")
		left := rapid.SampledFrom([]int{1, 2, 3}).Draw(rt, "left")
		synctest.Test(t, func(t *testing.T) {
			c := newCrew(t)
			defer c.end()
			puts := 0
			c.leases.loses = func() bool { puts++; return losing > 0 && puts%(losing+1) == 0 }
			for _, d := range deeds {
				c.pass(d.after)
				switch d.what {
				case "start":
					c.start(d.who, shardsOf(d.who))
				case "stop":
					c.stop(d.who)
				case "crash":
					c.crash(d.who)
				case "cut", "mend":
					c.leases.cutOff(d.who, d.what == "cut")
				}
				c.reap()
			}
			c.leases.mu.Lock()
			c.leases.loses = nil
			c.leases.mu.Unlock()
			for _, name := range names {
				c.leases.cutOff(name, false)
				c.stop(name)
			}
			var want []string
			for i := range left {
				c.start(fmt.Sprintf("last-%d", i), left)
				want = append(want, shard.Shard{Index: i, Count: left}.String())
			}
			c.pass(4 * DefaultDuration)
			c.workFor(want...)
			c.agrees()
		})
		if t.Failed() {
			rt.Fatalf("with %+v, an answer lost after %d, and %d left", deeds, losing, left)
		}
	})
}

// reap forgets replicas that have ended.
func (c *crew) reap() {
	for name, m := range c.running {
		select {
		case <-m.done:
			delete(c.running, name)
		default:
		}
	}
}
