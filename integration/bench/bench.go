// Package bench measures the way of a release through Tandem beside what the parts below it need for the same work.
//
// Every figure has a baseline that is measured in the same run, interleaved with it: seconds move with the machine,
// differences and ratios do not.
package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/integration/env"
)

// site is the cluster of the benchmark.
const site = "dev"

// Options choose how much is measured. The zero value is no choice; see Defaults.
type Options struct {
	// Pushes is how many images are pushed, Changes how many one-object commits are made.
	Pushes, Changes int
	// Objects is the size of a first apply, Pairs how often it is compared with the bare client.
	Objects, Pairs int
	// Noop is how long the audit log is watched while nothing changes.
	Noop time.Duration
	// Say tells what goes on.
	Say func(format string, args ...any)
}

// Defaults are what docs/benchmarks.md was measured with.
func Defaults() Options {
	return Options{Pushes: 30, Changes: 30, Objects: 1000, Pairs: 3, Noop: 2 * time.Minute}
}

// Report is what was measured.
type Report struct {
	PushToCommit Push     `json:"push_to_commit_ms"`
	Change       Change   `json:"announced_to_applied_ms"`
	FirstApply   Apply    `json:"first_apply"`
	Noop         Noop     `json:"noop"`
	Memory       Resident `json:"rss_mib"`
}

// Resident is the memory of both agents in the end, in MiB.
type Resident struct {
	Automator    float64 `json:"automator"`
	Synchronizer float64 `json:"synchronizer"`
}

// bench is one run.
type bench struct {
	opts  Options
	world *env.World
	site  *env.Site
}

// Run measures everything on a control plane, a registry and a Git server of its own.
func Run(ctx context.Context, opts Options) (report Report, err error) {
	opts.Say("Starting a control plane, a registry, a Git server and both agents.")
	ground, err := env.StartGround(ctx, env.GroundOptions{Audit: true, Progress: func(line string) { opts.Say("%s", line) }})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, ground.Stop()) }()
	world, err := env.New(ctx, ground, env.Options{Name: "bench", Sites: []string{site}, LogLevel: "warn"})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	b := &bench{opts: opts, world: world, site: world.Sites[site]}
	if err := b.prepare(ctx); err != nil {
		return report, err
	}
	for _, step := range []struct {
		what string
		run  func(context.Context, *Report) error
	}{
		{fmt.Sprintf("%d image pushes, each beside a bare git push", opts.Pushes), b.push},
		{fmt.Sprintf("First apply of %d objects, %d times, each beside a bare client", opts.Objects, opts.Pairs), b.firstApply},
		{fmt.Sprintf("%d one-object commits in a Sync of %d objects", opts.Changes, opts.Objects), b.changes},
		{fmt.Sprintf("%s without a change, then a restart of the synchronizer", opts.Noop), b.noop},
		{"Memory", b.memory},
	} {
		opts.Say("%s.", step.what)
		if err := step.run(ctx, &report); err != nil {
			return report, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return report, nil
}
