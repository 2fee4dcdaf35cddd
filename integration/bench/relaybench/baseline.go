package relaybench

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tandem-cd/tandem/integration/bench/measure"
	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/shared/backoff"
)

// HealthCommand is the first argument that makes Options.Self the baseline's server. The addresses and the files of the
// certificate follow.
const HealthCommand = "health-server"

// watcher is a client of the baseline: one health watch on a connection of its own, with the buffers and the patience of
// a fake synchronizer.
type watcher struct {
	link     link
	watching atomic.Int64 // since when, in Unix nanoseconds; 0 while it does not
	arrived  atomic.Int64 // when it was told last
}

func (w *watcher) run(ctx context.Context) error {
	defer w.link.close()
	for attempt := 0; ctx.Err() == nil; attempt++ {
		started := time.Now()
		_ = w.watch(ctx) // it lost its stream, and opens another
		attempt = backoff.After(attempt, w.watching.Swap(0) != 0, time.Since(started))
		_ = backoff.Backoff{}.Wait(ctx, attempt)
	}
	return nil
}

func (w *watcher) watch(ctx context.Context) (err error) {
	conn, err := w.link.get()
	if err != nil {
		return err
	}
	stream, err := healthv1.NewHealthClient(conn).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		now := time.Now().UnixNano()
		w.arrived.Store(now)
		w.watching.CompareAndSwap(0, now)
	}
}

// baseline is the bare health watch with its clients.
type baseline struct {
	server   *process.Process
	control  string
	watchers []*watcher
}

// measureBaseline measures the bare health watch with as many clients.
func measureBaseline(ctx context.Context, w *world) (report *Baseline, err error) {
	b, err := w.startBaseline(ctx)
	if err != nil {
		return nil, err
	}
	defer b.server.Kill()
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	defer func() { cancel(); _ = group.Wait() }()
	empty, err := measure.Resident(b.server.ID())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for _, one := range b.watchers {
		group.Go(func() error { return one.run(ctx) })
	}
	if _, err := b.waitBack(ctx, began); err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	full, err := measure.Resident(b.server.ID())
	if err != nil {
		return nil, err
	}
	report = &Baseline{Memory: tenth((full - empty) / float64(len(b.watchers)) * 1000)}
	if report.Announce, err = b.announce(ctx, w.opts.Announcements); err != nil {
		return nil, err
	}
	return report, b.reconnect(ctx, report)
}

func (w *world) startBaseline(ctx context.Context) (*baseline, error) {
	ports, err := process.FreePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	address, control := net.JoinHostPort(loopback, ports[0]), net.JoinHostPort(loopback, ports[1])
	b := &baseline{control: "http://" + control}
	for _, name := range w.names {
		config, err := w.identity(name)
		if err != nil {
			return nil, err
		}
		one := &watcher{}
		one.link.address, one.link.tls = address, config
		b.watchers = append(b.watchers, one)
	}
	b.server, err = process.Start(process.Config{
		Name: "health server", Log: w.file("health.log"),
		Command: []string{w.opts.Self, HealthCommand, address, control, w.server.Cert, w.server.Key, w.server.CA},
	})
	if err != nil {
		return nil, err
	}
	return b, b.server.Ready(ctx, func(ctx context.Context) error { return get(ctx, b.control) })
}

func (b *baseline) waitBack(ctx context.Context, since time.Time) (time.Duration, error) {
	var last int64
	err := wait(ctx, len(b.watchers), func() (int, string) {
		back := 0
		last = 0
		for _, one := range b.watchers {
			if at := one.watching.Load(); at > since.UnixNano() {
				back++
				last = max(last, at)
			}
		}
		return back, "baseline: reconnect"
	})
	return time.Unix(0, last).Sub(since), err
}

// announce turns the status over and over.
func (b *baseline) announce(ctx context.Context, times int) (measure.Spread, error) {
	var samples []time.Duration
	for range times {
		at := time.Now()
		if err := get(ctx, b.control); err != nil {
			return measure.Spread{}, err
		}
		err := wait(ctx, len(b.watchers), func() (int, string) {
			told := 0
			for _, one := range b.watchers {
				if one.arrived.Load() > at.UnixNano() {
					told++
				}
			}
			return told, "baseline: announcement"
		})
		if err != nil {
			return measure.Spread{}, err
		}
		for _, one := range b.watchers {
			samples = append(samples, time.Unix(0, one.arrived.Load()).Sub(at))
		}
	}
	return measure.Of(samples), nil
}

func (b *baseline) reconnect(ctx context.Context, report *Baseline) error {
	before, err := processor(b.server.ID())
	if err != nil {
		return err
	}
	at := time.Now()
	for _, one := range b.watchers {
		one.link.cut()
	}
	took, err := b.waitBack(ctx, at)
	if err != nil {
		return fmt.Errorf("after the cut: %w", err)
	}
	after, err := processor(b.server.ID())
	report.ReconnectCut, report.CPUReconnect = measure.Seconds(took), measure.Seconds(after-before)
	return err
}
