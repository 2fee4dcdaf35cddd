package bench

import (
	"context"
	"time"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/kubecluster"
)

const (
	// settle is how long the agents may take to finish what the last change began.
	settle = 10 * time.Second
	// restart is how long a restarted synchronizer is watched.
	restart = 20 * time.Second
)

// Noop is what a synchronizer asks of the API server when there is nothing to do; leases and watches apart.
type Noop struct {
	Seconds  float64 `json:"seconds"`
	Requests int     `json:"requests"`
	// Baseline is what everybody else asked in the same time: the audit log works.
	Baseline int `json:"requests_of_others"`
	// RestartReads and RestartWrites are what a restart costs.
	RestartReads  int `json:"restart_reads"`
	RestartWrites int `json:"restart_writes"`
	Syncs         int `json:"syncs"`
	Objects       int `json:"objects"`
}

// noop counts requests while nothing changes, and while the synchronizer restarts.
func (b *bench) noop(ctx context.Context, report *Report) error {
	if err := b.quiet(ctx, report); err != nil {
		return err
	}
	if err := b.restart(ctx, report); err != nil {
		return err
	}
	_, err := b.world.WaitSync(ctx, site, env.SampleSync, env.Healthy)
	return err
}

// quiet counts requests while nothing changes.
func (b *bench) quiet(ctx context.Context, report *Report) error {
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	from := time.Now()
	if err := sleep(ctx, b.opts.Noop); err != nil {
		return err
	}
	ours, others, err := b.requests(from, time.Now())
	if err != nil {
		return err
	}
	for _, r := range ours {
		b.opts.Say("  not expected: %s %s", r.Verb, r.URI)
	}
	report.Noop = Noop{
		Seconds: b.opts.Noop.Seconds(), Requests: len(ours), Baseline: others, Syncs: b.opts.Pairs + 1, Objects: b.opts.Objects*b.opts.Pairs + 3,
	}
	return nil
}

// restart counts what a restart costs when nothing has changed.
func (b *bench) restart(ctx context.Context, report *Report) error {
	from := time.Now()
	if err := b.site.Synchronizer.Stop(ctx); err != nil {
		return err
	}
	if err := b.site.Synchronizer.Start(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, restart); err != nil {
		return err
	}
	ours, _, err := b.requests(from, time.Now())
	if err != nil {
		return err
	}
	for _, r := range ours {
		switch r.Verb {
		case "get", "list":
			report.Noop.RestartReads++
		default:
			b.opts.Say("  not expected: %s %s", r.Verb, r.URI)
			report.Noop.RestartWrites++
		}
	}
	return nil
}

// requests returns what the synchronizer asked in a span of time, itself and as anybody else, and how often others did.
func (b *bench) requests(from, to time.Time) (ours []kubecluster.Request, others int, err error) {
	all, err := b.world.Kube.Requests("")
	if err != nil {
		return nil, 0, err
	}
	for _, r := range all {
		switch {
		case r.At.Before(from) || r.At.After(to):
		case r.User == env.SynchronizerUser:
			ours = append(ours, r)
		default:
			others++
		}
	}
	return ours, others, nil
}

// sleep lets time pass: that nothing happens in it is what is measured.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
