package relaybench

import (
	"context"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

// The soak.
const (
	// soakCommit is how often all are told something new, and soakCut how often one in soakShare is cut off.
	soakCommit = 5 * time.Second
	soakCut    = time.Second
	soakShare  = 100
	// soakSample is how often memory is looked at, and soakSay how many looks there are for a word about it.
	soakSample = 5 * time.Second
	soakSay    = 12

	goroutines = "go_goroutines"
	heap       = "go_memstats_heap_inuse_bytes"
)

// Soak is memory over time, while commits are announced, reports come in and connections are cut.
type Soak struct {
	Seconds float64 `json:"seconds"`
	Commits int     `json:"commits"`
	Cuts    int     `json:"cuts"`
	Start   Sample  `json:"start"`
	End     Sample  `json:"end"`
	// Slope is a line through the samples of the second half, when everything that fills up once is full: of the
	// resident memory and the heap in MiB an hour, and of goroutines an hour.
	Slope Sample `json:"slope_per_hour"`
}

// Sample is a look at the automator.
type Sample struct {
	Resident   float64 `json:"rss_mib"`
	Heap       float64 `json:"heap_mib"`
	Goroutines float64 `json:"goroutines"`

	at time.Duration
}

func (r *run) sample(ctx context.Context, at time.Duration) (s Sample, err error) {
	s.at = at
	if s.Resident, err = measure.Resident(r.world.automator.ID()); err != nil {
		return s, err
	}
	values, err := gauges(ctx, r.world.admin, goroutines, heap)
	s.Goroutines, s.Heap = values[goroutines], tenth(values[heap]/(1<<20))
	return s, err
}

// soak keeps everybody busy and watches what grows.
func (r *run) soak(ctx context.Context) error {
	soak := &Soak{Seconds: r.opts.Soak.Seconds()}
	r.report.Soak = soak
	commit, cut, look := time.NewTicker(soakCommit), time.NewTicker(soakCut), time.NewTicker(soakSample)
	defer commit.Stop()
	defer cut.Stop()
	defer look.Stop()
	began := time.Now()
	first, err := r.sample(ctx, 0)
	if err != nil {
		return err
	}
	samples := []Sample{first}
	for time.Since(began) < r.opts.Soak {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-commit.C:
			if _, _, err := r.world.commit(ctx); err != nil {
				return err
			}
			soak.Commits++
		case <-cut.C:
			for i := soak.Cuts % soakShare; i < len(r.crowd.fakes); i += soakShare {
				r.crowd.fakes[i].link.cut()
			}
			soak.Cuts++
		case <-look.C:
			s, err := r.sample(ctx, time.Since(began))
			if err != nil {
				return err
			}
			samples = append(samples, s)
			r.crowd.forget()
			if len(samples)%soakSay == 0 {
				r.opts.Say("  after %.0f s: %.1f MiB, heap %.1f MiB, %.0f goroutines, %d commits", s.at.Seconds(), s.Resident, s.Heap, s.Goroutines, soak.Commits)
			}
		}
	}
	soak.Start, soak.End, soak.Slope = samples[0], samples[len(samples)-1], slope(samples[len(samples)/2:])
	soak.Cuts *= len(r.crowd.fakes) / soakShare
	r.opts.Say("  from %.1f to %.1f MiB, %+.1f MiB an hour; heap %+.1f MiB an hour; goroutines %.0f to %.0f",
		soak.Start.Resident, soak.End.Resident, soak.Slope.Resident, soak.Slope.Heap, soak.Start.Goroutines, soak.End.Goroutines)
	return nil
}

// slope is the least-squares line through samples, an hour.
func slope(samples []Sample) Sample {
	one := func(value func(Sample) float64) float64 {
		var n, sx, sy, sxx, sxy float64
		for _, s := range samples {
			x, y := s.at.Hours(), value(s)
			n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
		}
		if d := n*sxx - sx*sx; d != 0 {
			return float64(int((n*sxy-sx*sy)/d*10)) / 10
		}
		return 0
	}
	return Sample{
		Resident:   one(func(s Sample) float64 { return s.Resident }),
		Heap:       one(func(s Sample) float64 { return s.Heap }),
		Goroutines: one(func(s Sample) float64 { return s.Goroutines }),
	}
}

// forget drops what was seen of announcements: nobody asks for it during a soak.
func (c *crowd) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.rounds)
	clear(c.byEvent)
}
