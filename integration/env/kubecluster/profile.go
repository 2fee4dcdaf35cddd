package kubecluster

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/integration/env/profile"
)

// Profile writes how the API server spends its processor in a span of time to a file, for go tool pprof. The cluster was
// started with Options.Profiles.
func (c *Cluster) Profile(ctx context.Context, span time.Duration, file string) error {
	if c.attached != nil {
		return ErrAttached
	}
	if err := profile.Processor(ctx, c.admin, c.URL(), span, file); err != nil {
		return fmt.Errorf("%s: %w", apiserverName, err)
	}
	return nil
}

// Processes are the numbers of the components' processes, by name; none of an attached cluster.
func (c *Cluster) Processes() map[string]int {
	ids := map[string]int{}
	for name, p := range map[string]*process.Process{etcdName: c.etcd, apiserverName: c.apiserver, controllersName: c.controllers} {
		if p != nil {
			ids[name] = p.ID()
		}
	}
	return ids
}
