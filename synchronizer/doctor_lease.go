package synchronizer

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/synchronizer/internal/lease"
)

// leases checks that a replica works for each shard. One that has gone is waited for as long as the other replicas do.
func (v *visit) leases(ctx context.Context, client dynamic.Interface) {
	to := v.cfg.Lease
	if to == (LeaseConfig{}) {
		return // the only replica needs none
	}
	stores := lease.Kubes(client, to.Namespace, to.Name)[:max(to.Shards, 1)]
	looks := make([]look, len(stores))
	var looking sync.WaitGroup
	for index, store := range stores {
		looking.Go(func() { looks[index].Record, looks[index].lives, looks[index].err = lease.Look(ctx, store) })
	}
	looking.Wait()
	for index, found := range looks {
		v.lease(fmt.Sprintf("%s/%s", to.Namespace, lease.Name(to.Name, index)), found)
	}
}

// look is what was seen of a Lease.
type look struct {
	lease.Record

	lives bool
	err   error
}

func (v *visit) lease(name string, found look) {
	const check, next = "leader", "look into the logs of the synchronizer's Pods: a replica that could take it says why it does not"
	switch {
	case found.err != nil:
		v.report.Fail(check, "grant what the chart's role for Leases does (deploy/rbac/synchronizer.yaml)", "the lease %s cannot be looked at: %v", name, found.err)
	case found.lives:
		v.report.Ok(check, "%s holds the lease %s and lives", found.Holder, name)
	case found.Holder == "":
		v.report.Fail(check, next, "nobody holds the lease %s: nothing of its Syncs is applied or healed", name)
	default:
		v.report.Fail(check, next, "%s holds the lease %s and has not said for %s that it lives: nothing of its Syncs is applied or healed", found.Holder, name, found.Duration)
	}
}
