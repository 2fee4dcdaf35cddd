package bench

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// profileSpan is how long a profile looks: no longer than what is profiled takes at the defaults.
const profileSpan = 10 * time.Second

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
		group.Go(func() error {
			return b.bench.site.Synchronizer.Profile(ctx, profileSpan, filepath.Join(b.opts.Profiles, name+".pprof"))
		})
		group.Go(func() error { return step(ctx, report) })
		return group.Wait()
	}
}
