package autobench

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-cd/tandem/integration/env/profile"
)

// profileSpan is how long a profile looks: no longer than what is profiled takes at the defaults.
const profileSpan = 20 * time.Second

// profiled does something, and has the automator profiled meanwhile if profiles are asked for. They make what is measured a
// little slower, and it takes as long as a profile at least.
func (w *world) profiled(ctx context.Context, name string, what func(context.Context) error) error {
	if w.opts.Profiles == "" {
		return what(ctx)
	}
	if err := os.MkdirAll(w.opts.Profiles, folderMode); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return profile.Processor(ctx, http.DefaultClient, "http://"+w.debug, profileSpan, filepath.Join(w.opts.Profiles, name+".pprof"))
	})
	group.Go(func() error { return what(ctx) })
	return group.Wait()
}
