package automator

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// tidyEvery is how often memory is given back.
	tidyEvery = 15 * time.Second
	// tidyAbove is how many bytes must have been allocated since: a process that does nothing is left alone. It is also the
	// most that lies about in one that is quiet.
	tidyAbove = 4 << 20
)

// tidy gives back to the system what a storm of connections left behind: afterwards next to nothing is allocated, so that
// Go would neither collect nor return it for minutes.
func tidy(ctx context.Context) error {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var last uint64
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if metrics.Read(allocated); allocated[0].Value.Uint64()-last < tidyAbove {
			continue
		}
		runtime.GC() // what pools hold survives one collection, and not the second
		debug.FreeOSMemory()
		metrics.Read(allocated)
		last = allocated[0].Value.Uint64()
	}
}
