package relaybench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

// settle is how long everything is left alone before memory is looked at: longer than the automator takes to give back
// what a storm of connections left.
const settle = 35 * time.Second

// run is one measurement.
type run struct {
	opts   Options
	world  *world
	crowd  *crowd
	report Report
}

// Run measures the baseline first, then Tandem: nothing of the one runs while the other is measured.
func Run(ctx context.Context, opts Options) (report Report, err error) {
	opts.Say("Preparing %d clusters, a Git server and certificates.", opts.Clients)
	w, err := newWorld(ctx, opts, opts.Clients)
	if err != nil {
		return report, err
	}
	r := &run{opts: opts, world: w, report: Report{Clients: opts.Clients, Outage: measure.Seconds(opts.Outage)}}
	defer func() { err = errors.Join(err, r.close()) }()
	steps := []step{
		{"Baseline: a bare gRPC health watch", opts.Baseline, r.baseline},
		{"All synchronizers connect", true, r.connect},
		{fmt.Sprintf("%d commits are announced to all", opts.Announcements), true, r.announce},
		{"Every connection is cut", true, r.cut},
		{fmt.Sprintf("The automator is gone for %s", opts.Outage), opts.Outage > 0, r.outage},
		{fmt.Sprintf("Soak for %s", opts.Soak), opts.Soak > 0, r.soak},
		{"Memory in the end", true, r.end},
	}
	for _, s := range steps {
		if !s.wanted {
			continue
		}
		opts.Say("%s.", s.what)
		if err := s.run(ctx); err != nil {
			return r.report, fmt.Errorf("%s: %w", s.what, err)
		}
		r.grumble()
	}
	return r.report, nil
}

// step is a part of a measurement.
type step struct {
	what   string
	wanted bool
	run    func(context.Context) error
}

// grumble says what failed meanwhile: a loss that was meant to be is among it.
func (r *run) grumble() {
	if r.crowd == nil {
		return
	}
	for _, complaint := range r.crowd.complaints() {
		r.opts.Say("  seen: %s", complaint)
	}
}

func (r *run) close() error {
	var err error
	if r.crowd != nil {
		err = r.crowd.stop()
	}
	return errors.Join(err, r.world.close())
}

func (r *run) baseline(ctx context.Context) (err error) {
	r.report.Baseline, err = measureBaseline(ctx, r.world)
	if err == nil {
		b := r.report.Baseline
		r.opts.Say("  back in %.2f s, told in %.1f ms (p99), %.1f MiB per 1,000", b.ReconnectCut, b.Announce.P99, b.Memory)
	}
	return err
}

// connect has everybody come at once and measures what that costs in memory.
func (r *run) connect(ctx context.Context) (err error) {
	if err := r.world.start(ctx); err != nil {
		return err
	}
	if r.crowd, err = r.world.crowd(r.world.names); err != nil {
		return err
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	if r.report.MemoryEmpty, err = measure.Resident(r.world.automator.ID()); err != nil {
		return err
	}
	idle, err := gauges(ctx, r.world.admin, goroutines)
	if err != nil {
		return err
	}
	began := time.Now()
	r.crowd.start(ctx)
	took, err := r.crowd.waitBack(ctx, began)
	if err != nil {
		return err
	}
	first, err := r.world.git.Tip(ctx, repository, "refs/heads/main")
	if err != nil {
		return err
	}
	if err := r.crowd.waitRound(ctx, first); err != nil {
		return err
	}
	r.opts.Say("  all there in %.2f s", took.Seconds())
	if err := pause(ctx, settle); err != nil {
		return err
	}
	return r.full(ctx, idle[goroutines])
}

func (r *run) full(ctx context.Context, idle float64) (err error) {
	if r.report.MemoryFull, err = measure.Resident(r.world.automator.ID()); err != nil {
		return err
	}
	busy, err := gauges(ctx, r.world.admin, goroutines)
	if err != nil {
		return err
	}
	clients := float64(r.opts.Clients)
	r.report.Memory = tenth((r.report.MemoryFull - r.report.MemoryEmpty) / clients * 1000)
	r.report.Goroutines = tenth((busy[goroutines] - idle) / clients)
	r.opts.Say("  %.1f MiB per 1,000 (%.1f MiB empty, %.1f full), %.1f goroutines for each",
		r.report.Memory, r.report.MemoryEmpty, r.report.MemoryFull, r.report.Goroutines)
	return nil
}

// announce commits again and again to the folder that all share.
func (r *run) announce(ctx context.Context) error {
	var announced, acked, sincePush []time.Duration
	before, err := processor(r.world.automator.ID())
	if err != nil {
		return err
	}
	for range r.opts.Announcements {
		commit, pushed, err := r.world.commit(ctx)
		if err != nil {
			return err
		}
		if err := r.crowd.waitRound(ctx, commit); err != nil {
			return err
		}
		a, k, p := r.crowd.result(commit, pushed)
		announced, acked, sincePush = append(announced, a...), append(acked, k...), append(sincePush, p...)
	}
	after, err := processor(r.world.automator.ID())
	if err != nil {
		return err
	}
	r.report.Announce, r.report.Acked, r.report.Pushed = measure.Of(announced), measure.Of(acked), measure.Of(sincePush)
	r.report.CPUAnnounce = float64((after-before).Milliseconds()/int64(max(r.opts.Announcements, 1))) / 1000
	r.opts.Say("  p50 %.1f ms, p99 %.1f ms; acknowledged p99 %.1f ms; since the push p99 %.1f ms; %.3f s of processor each",
		r.report.Announce.P50, r.report.Announce.P99, r.report.Acked.P99, r.report.Pushed.P99, r.report.CPUAnnounce)
	return nil
}

// cut breaks every connection at once.
func (r *run) cut(ctx context.Context) error {
	before, err := processor(r.world.automator.ID())
	if err != nil {
		return err
	}
	took, err := r.crowd.waitBack(ctx, r.crowd.cut())
	if err != nil {
		return err
	}
	after, err := processor(r.world.automator.ID())
	r.report.ReconnectCut, r.report.CPUReconnect = measure.Seconds(took), measure.Seconds(after-before)
	r.opts.Say("  all back in %.2f s, %.2f s of processor", took.Seconds(), (after - before).Seconds())
	return err
}

// outage has the automator gone for so long that everybody waits as long as anybody ever does.
func (r *run) outage(ctx context.Context) error {
	r.world.kill()
	if err := pause(ctx, r.opts.Outage); err != nil {
		return err
	}
	began := time.Now()
	if err := r.world.start(ctx); err != nil {
		return err
	}
	took, err := r.crowd.waitBack(ctx, began)
	r.report.ReconnectDown = measure.Seconds(took)
	r.opts.Say("  all back in %.2f s", took.Seconds())
	return err
}

func (r *run) end(ctx context.Context) (err error) {
	if err := pause(ctx, settle); err != nil {
		return err
	}
	r.report.MemoryEnd, err = measure.Resident(r.world.automator.ID())
	return err
}

func joined(errs ...error) error { return errors.Join(errs...) }
