package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/process"
)

const (
	// serverProcessor has the API server, etcd and the controllers, clientProcessor the clients under test.
	serverProcessor, clientProcessor = 0, 1
	// syncStepTimeout bounds one step of one measurement.
	syncStepTimeout = 15 * time.Minute
)

// SyncOptions choose how much of the synchronizer is measured. The zero value is no choice; see SyncDefaults.
type SyncOptions struct {
	// Objects is the size of the Sync, Pairs how often its first apply is compared with the bare client.
	Objects, Pairs int
	// Samples is how many one-object commits are made, and objects changed or deleted by somebody else.
	Samples int
	// Restores is how often all objects are deleted.
	Restores int
	// Noop is how long the audit log is watched while nothing changes.
	Noop time.Duration
	// Grown is how many objects there are in the end, to see what one more costs.
	Grown int
	// Syncs is how many small Syncs one commit changes.
	Syncs int
	// Profiles is a folder for profiles of the API server and both agents while something changes, and of the synchronizer's
	// memory; empty makes none.
	Profiles string
	// Say tells what goes on.
	Say func(format string, args ...any)
}

// SyncDefaults are what docs/benchmarks.md was measured with.
func SyncDefaults() SyncOptions {
	return SyncOptions{Objects: 5000, Pairs: 5, Samples: 30, Restores: 3, Noop: 2 * time.Minute, Grown: 20000, Syncs: 1000}
}

// SyncReport is what was measured.
type SyncReport struct {
	Objects int `json:"objects"`
	// Raw is a bare client's server-side apply of the same objects, FirstApply the synchronizer's, from the making of the
	// Sync to the end of its apply; medians.
	Raw        float64 `json:"raw_s"`
	FirstApply float64 `json:"first_apply_s"`
	Ratio      float64 `json:"ratio"`
	Requests   float64 `json:"requests_per_object"`
	// Noop is what is asked while nothing changes, leases and watches apart.
	Noop          int `json:"noop_requests"`
	RestartWrites int `json:"restart_writes"`
	RestartReads  int `json:"restart_reads"`
	// OneChange is from a commit's announcement to the end of its apply.
	OneChange measure.Spread `json:"one_change_ms"`
	// DriftHeal is from the API server's answer to somebody's change or deletion until a watch shows it undone.
	DriftHeal measure.Spread `json:"drift_heal_ms"`
	// Restore compares the apply of everything after its deletion with Raw.
	Restore float64 `json:"restore_ratio"`
	// Resident is the synchronizer's memory when nothing goes on, Peak the most it ever was, with Objects.
	Resident float64 `json:"rss_mib"`
	Peak     float64 `json:"peak_mib"`
	// PerObject is what each object beyond Objects adds.
	PerObject float64   `json:"per_object_kib"`
	Many      ManySyncs `json:"syncs_1000"`
	// Pinned says whether the API server and the client had a processor each.
	Pinned bool `json:"pinned"`
}

// ManySyncs compares one commit for many Syncs of four objects, until all are healthy, with the bare client, until the
// controllers have rolled out all.
type ManySyncs struct {
	Seconds float64 `json:"s"`
	Ratio   float64 `json:"ratio"`
	// Requests are what each Sync cost the API server until all were healthy.
	Requests float64 `json:"requests_per_sync"`
	// Processor is what each process took of its processor meanwhile, in seconds; BareProcessor the same while the bare client
	// worked, which is the benchmark itself.
	Processor     map[string]float64 `json:"processor_s"`
	BareProcessor map[string]float64 `json:"bare_processor_s"`
}

// JSON is the report on one line.
func (r SyncReport) JSON() ([]byte, error) { return json.Marshal(r) }

// syncBench is one run.
type syncBench struct {
	opts   SyncOptions
	ground *env.Ground
	bench  *bench
	raw    time.Duration
}

// RunSync measures the synchronizer on a control plane and a Git server of its own.
func RunSync(ctx context.Context, opts SyncOptions) (report SyncReport, err error) {
	opts.Say("Starting a control plane.")
	ground, err := env.StartGround(ctx, env.GroundOptions{Audit: true, Profiles: opts.Profiles != "", Progress: func(line string) { opts.Say("%s", line) }})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, ground.Stop()) }()
	report.Objects = opts.Objects
	if report.Pinned, err = pin(ground); err != nil {
		return report, err
	}
	b := &syncBench{opts: opts, ground: ground}
	if err := b.one(ctx, &report); err != nil {
		return report, err
	}
	return report, b.many(ctx, &report)
}

// pin gives the control plane a processor, and this process another, with the agents that it is going to start.
func pin(ground *env.Ground) (bool, error) {
	if runtime.NumCPU() < 2 {
		return false, nil
	}
	if err := ground.Kube.Pin(serverProcessor); err != nil {
		return false, err
	}
	return true, process.Pin(os.Getpid(), clientProcessor)
}

// one measures one large Sync.
func (b *syncBench) one(ctx context.Context, report *SyncReport) (err error) {
	world, err := env.New(ctx, b.ground, env.Options{Name: "one", Sites: []string{site}, LogLevel: "warn", Profiles: b.opts.Profiles != ""})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	b.bench = &bench{
		opts:  Options{Objects: b.opts.Objects, Pairs: b.opts.Pairs, Changes: b.opts.Samples, Noop: b.opts.Noop, Say: b.opts.Say},
		world: world, site: world.Sites[site],
	}
	if err := start(ctx, world, "load", nil); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		run  func(context.Context, *SyncReport) error
	}{
		{fmt.Sprintf("First apply of %d objects, %d times, each beside a bare client", b.opts.Objects, b.opts.Pairs), b.apply},
		{fmt.Sprintf("%d one-object commits", b.opts.Samples), b.profiled("change", b.change)},
		{fmt.Sprintf("%d changes and deletions by somebody else", b.opts.Samples), b.profiled("heal", b.drift)},
		{fmt.Sprintf("Everything deleted, %d times", b.opts.Restores), b.restore},
		{fmt.Sprintf("%s without a change, then a restart", b.opts.Noop), b.noop},
		{fmt.Sprintf("Growing to %d objects", b.opts.Grown), b.grow},
	} {
		b.opts.Say("%s.", step.what)
		if err := within(ctx, step.run, report); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// within bounds a step.
func within(ctx context.Context, step func(context.Context, *SyncReport) error, report *SyncReport) error {
	ctx, cancel := context.WithTimeout(ctx, syncStepTimeout)
	defer cancel()
	return step(ctx, report)
}

// start grants a path to the site, puts files there, and starts both agents.
func start(ctx context.Context, world *env.World, path string, files map[string]string) error {
	all := map[string]string{
		".tandem/clusters.yaml": "version: 1\nclusters: [{name: " + site + ", grants: [{refs: [main], paths: [" + path + "]}]}]\n",
		path + "/README.md":     "What the benchmark applies.\n",
	}
	maps.Copy(all, files)
	if _, err := world.Commit(ctx, gitserver.Change{Files: all, Message: "Seed", Signer: world.Human}); err != nil {
		return err
	}
	return world.StartAll(ctx)
}

func (b *syncBench) apply(ctx context.Context, report *SyncReport) error {
	if err := measure.ResetPeak(b.bench.site.Synchronizer.ID()); err != nil {
		return err
	}
	var applied Report
	if err := b.bench.firstApply(ctx, &applied); err != nil {
		return err
	}
	first := applied.FirstApply
	b.raw = time.Duration(first.Bare * float64(time.Second))
	report.Raw, report.FirstApply, report.Ratio, report.Requests = first.Bare, first.Tandem, first.Ratio, first.Requests
	var err error
	report.Peak, err = measure.Peak(b.bench.site.Synchronizer.ID())
	return err
}

func (b *syncBench) change(ctx context.Context, report *SyncReport) error {
	var changed Report
	err := b.bench.changes(ctx, &changed)
	report.OneChange = changed.Change.Tandem
	return err
}

// noop watches a synchronizer without work, and what it occupies, then its restart.
func (b *syncBench) noop(ctx context.Context, report *SyncReport) (err error) {
	var quiet Report
	if err := b.bench.quiet(ctx, &quiet); err != nil {
		return err
	}
	if report.Resident, err = measure.Resident(b.bench.site.Synchronizer.ID()); err != nil {
		return err
	}
	if err := b.bench.restart(ctx, &quiet); err != nil {
		return err
	}
	report.Noop, report.RestartReads, report.RestartWrites = quiet.Noop.Requests, quiet.Noop.RestartReads, quiet.Noop.RestartWrites
	_, err = b.bench.world.WaitSync(ctx, site, loadSync(0), env.Healthy)
	return err
}

// grow makes more Syncs, each as large as the first but the last.
func (b *syncBench) grow(ctx context.Context, report *SyncReport) error {
	more := b.opts.Grown - b.opts.Objects
	if more <= 0 {
		return nil
	}
	before, err := b.occupied(ctx)
	if err != nil {
		return err
	}
	size := b.opts.Objects
	for i, left := b.opts.Pairs, more; left > 0; i, left = i+1, left-b.bench.opts.Objects {
		b.bench.opts.Objects = min(size, left)
		if _, err := b.bench.syncApply(ctx, i); err != nil {
			return err
		}
	}
	after, err := b.occupied(ctx)
	if err != nil {
		return err
	}
	report.PerObject = float64(int((after-before)*1024/float64(more)*100)) / 100
	return b.heap(ctx, "grown")
}

// occupied is the memory of the synchronizer once it has been at rest: the collector of a Go program looks at least every
// two minutes.
func (b *syncBench) occupied(ctx context.Context) (float64, error) {
	if err := sleep(ctx, b.opts.Noop); err != nil {
		return 0, err
	}
	return measure.Resident(b.bench.site.Synchronizer.ID())
}
