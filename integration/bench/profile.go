package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-cd/tandem/integration/env"
)

// profileSpan is how long one profile looks.
const profileSpan = 5 * time.Second

// profiler writes a profile.
type profiler func(ctx context.Context, span time.Duration, file string) error

// profilers are those that run and can be profiled, by name.
func (b *syncBench) profilers() map[string]profiler {
	all := map[string]profiler{"api-server": b.ground.Kube.Profile}
	for name, agent := range map[string]*env.Agent{"automator": b.bench.world.Automator, "synchronizer": b.bench.site.Synchronizer} {
		if agent.Runs() {
			all[name] = agent.Profile
		}
	}
	return all
}

// profiled has a step profiled, if profiles are asked for. They make what is measured a little slower.
func (b *syncBench) profiled(name string, step func(context.Context, *SyncReport) error) func(context.Context, *SyncReport) error {
	if b.opts.Profiles == "" {
		return step
	}
	return func(ctx context.Context, report *SyncReport) error {
		if err := os.MkdirAll(b.opts.Profiles, 0o700); err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		done := make(chan struct{})
		for who, profile := range b.profilers() {
			group.Go(func() error {
				return profileUntil(ctx, done, profile, filepath.Join(b.opts.Profiles, name+"-"+who))
			})
		}
		group.Go(func() error {
			defer close(done)
			return step(ctx, report)
		})
		return group.Wait()
	}
}

// profileUntil writes one profile after the other, which go tool pprof reads together, until something is done. The last
// one looks a little longer.
func profileUntil(ctx context.Context, done <-chan struct{}, write profiler, prefix string) error {
	for i := 0; ; i++ {
		if err := write(ctx, profileSpan, fmt.Sprintf("%s-%02d.pprof", prefix, i)); err != nil {
			return err
		}
		select {
		case <-done:
			return nil
		default:
		}
	}
}

// heap writes what the synchronizer holds in memory, if profiles are asked for.
func (b *syncBench) heap(ctx context.Context, name string) error {
	if b.opts.Profiles == "" {
		return nil
	}
	return b.bench.site.Synchronizer.Memory(ctx, filepath.Join(b.opts.Profiles, name+"-heap.pprof"))
}
