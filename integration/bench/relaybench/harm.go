package relaybench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

const (
	// neighbours are the well-behaved synchronizers beside an attacker.
	neighbours = 100
	// attacker is the attacker's cluster.
	attacker = "mallory"
	// attackRounds is how many commits are announced during an attack.
	attackRounds = 5
	// attackWarm is how long an attack goes on before it is measured.
	attackWarm = 2 * time.Second
	// longHistory is how many commits a chain has that is asked for in a loop.
	longHistory = 10_000
)

// Harm is what an attacker does to well-behaved neighbours.
type Harm struct {
	// Attack names it; "none" is the same measurement without.
	Attack string `json:"attack"`
	// Announce is what the neighbours saw meanwhile, and Acked when their events were stored.
	Announce measure.Spread `json:"announce_ms"`
	Acked    measure.Spread `json:"acked_ms"`
	// CPU is the automator's, in processors.
	CPU float64 `json:"cpu"`
	// Memory is the automator's resident memory in the end of it, in MiB.
	Memory float64 `json:"rss_mib"`
	// Lost is how many neighbours lost a stream.
	Lost int `json:"lost"`
	// Did is what the attacker achieved, in his own words.
	Did string `json:"did"`
}

// RunHostile measures every attack in turn on the same automator, each beside a quiet time before all.
func RunHostile(ctx context.Context, opts Options) (report Report, err error) {
	opts.Clients = neighbours
	r, err := prepareHostile(ctx, opts)
	if err != nil {
		return report, err
	}
	defer func() { err = joined(err, r.close()) }()
	for _, a := range append([]attack{{name: "none", run: quiet}}, attacks()...) {
		harm, err := r.suffer(ctx, a)
		if err != nil {
			return r.report, fmt.Errorf("%s: %w", a.name, err)
		}
		r.report.Hostile = append(r.report.Hostile, harm)
		opts.Say("  %-34s announced p99 %6.1f ms, acknowledged p99 %6.1f ms, %.2f processors, %.0f MiB, %d lost; %s",
			harm.Attack, harm.Announce.P99, harm.Acked.P99, harm.CPU, harm.Memory, harm.Lost, harm.Did)
	}
	return r.report, nil
}

func prepareHostile(ctx context.Context, opts Options) (*run, error) {
	opts.Say("Preparing %d neighbours, an attacker and a history of %d commits.", neighbours, longHistory)
	w, err := newWorld(ctx, opts, neighbours, attacker)
	if err != nil {
		return nil, err
	}
	r := &run{opts: opts, world: w, report: Report{Clients: neighbours}}
	if err := w.history(ctx, longHistory); err != nil {
		return nil, joined(err, r.close())
	}
	if err := w.start(ctx); err != nil {
		return nil, joined(err, r.close())
	}
	if r.crowd, err = w.crowd(w.names[:neighbours]); err != nil {
		return nil, joined(err, r.close())
	}
	began := time.Now()
	r.crowd.start(ctx)
	if _, err := r.crowd.waitBack(ctx, began); err != nil {
		return nil, joined(err, r.close())
	}
	tip, err := w.git.Tip(ctx, repository, "refs/heads/main")
	if err != nil {
		return nil, joined(err, r.close())
	}
	if err := r.crowd.waitRound(ctx, tip); err != nil {
		return nil, joined(err, r.close())
	}
	return r, nil
}

// suffer has an attack go on while commits are announced to the neighbours.
func (r *run) suffer(ctx context.Context, a attack) (harm Harm, err error) {
	harm.Attack = a.name
	mallory, err := newMallory(r.world)
	if err != nil {
		return harm, err
	}
	attackCtx, stop := context.WithCancel(ctx)
	group := new(errgroup.Group)
	group.Go(func() error { harm.Did = a.run(attackCtx, mallory); return nil })
	defer func() { stop(); err = joined(err, group.Wait()); mallory.close() }()
	if err := pause(ctx, attackWarm); err != nil {
		return harm, err
	}
	began := time.Now()
	before, err := processor(r.world.automator.ID())
	if err != nil {
		return harm, err
	}
	var announced, acked []time.Duration
	for range attackRounds {
		commit, pushed, err := r.world.commit(ctx)
		if err != nil {
			return harm, err
		}
		if err := r.crowd.waitRound(ctx, commit); err != nil {
			return harm, err
		}
		here, stored, _ := r.crowd.result(commit, pushed)
		announced, acked = append(announced, here...), append(acked, stored...)
	}
	after, err := processor(r.world.automator.ID())
	if err != nil {
		return harm, err
	}
	harm.Announce, harm.Acked = measure.Of(announced), measure.Of(acked)
	harm.CPU = measure.Seconds(time.Duration(float64(after-before) / time.Since(began).Seconds()))
	harm.Lost = r.crowd.losses()
	harm.Memory, err = measure.Resident(r.world.automator.ID())
	return harm, err
}
