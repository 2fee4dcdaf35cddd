package synchronizer

import (
	"context"
	"fmt"
	"strconv"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/run"
	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/lease"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
)

const (
	// leading is what the replica that works for the first shard calls itself to the automator: all by the same name, with an
	// epoch that rises from one to the next, so that a session of one that has lost the lease can neither replace nor outlive a
	// newer one. Those of further shards have the index behind it.
	leading = "leader"
	// sessionBits are the bits of an epoch that count the sessions of a term.
	sessionBits = 32
)

// openLease prepares for taking turns with other replicas, if there may be some.
func (s *Synchronizer) openLease(config *rest.Config) error {
	m := meter.New(s.metrics)
	m.Read("tandem_synchronizer_leader", "1 while this replica works, else 0.", func() float64 {
		if s.leads() {
			return 1
		}
		return 0
	})
	m.Read("tandem_synchronizer_leaders_wanted", "How many replicas are to work at a time: one for each shard.", func() float64 {
		return float64(max(s.cfg.Lease.Shards, 1))
	})
	m.Collect("tandem_synchronizer_shard", "Always 1, while this replica works; the labels say for which shard of how many.", []string{"shard", "shards"},
		func(set func(float64, ...string)) {
			if of := s.part(); s.leads() {
				set(1, strconv.Itoa(of.Index), strconv.Itoa(max(of.Count, 1)))
			}
		})
	to := s.cfg.Lease
	if to == (LeaseConfig{}) {
		return nil
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	cfg := lease.Config{Identity: s.cfg.Replica, Duration: to.Duration.Or(lease.DefaultDuration), Shards: to.Shards}
	s.holder = lease.New(cfg, lease.Kubes(client, to.Namespace, to.Name), &s.fence, s.log)
	return nil
}

// leads reports whether this replica works.
func (s *Synchronizer) leads() bool { return s.holder == nil || s.holder.Leads() }

// part is what this replica works for; all Syncs before it has a shard.
func (s *Synchronizer) part() shard.Shard {
	if of := s.shard.Load(); of != nil {
		return *of
	}
	return shard.Shard{}
}

// owns reports whether this replica works for a Sync.
func (s *Synchronizer) owns(namespace, name string) bool { return s.part().Owns(namespace, name) }

// hello is how this process introduces itself to the automator before it has a turn, and for good without a Lease.
func (s *Synchronizer) hello() *relayv1.Hello {
	return &relayv1.Hello{Cluster: s.cfg.Cluster, Replica: s.cfg.Replica, Protocol: relay.Protocol, Version: Version}
}

// begin takes a turn: it says to all who speak with the automator who this replica is now.
func (s *Synchronizer) begin(turn lease.Turn) {
	s.shard.Store(&turn.Shard)
	hello := s.hello()
	if hello.Replica = leading; turn.Shard.Index > 0 {
		hello.Replica = fmt.Sprintf("%s-%d", leading, turn.Shard.Index)
	}
	hello.Shard, hello.Shards, hello.Epoch = int32(turn.Shard.Index), int32(turn.Shard.Count), turn.Term<<sessionBits
	s.relay.Begin(hello)
	s.reporter.Begin(hello)
	s.serve.Begin(hello)
}

// writing is how the API server is written to: on connections that take nothing when the lease is lost.
func (s *Synchronizer) writing(config *rest.Config) (*rest.Config, dynamic.Interface, error) {
	config = rest.CopyConfig(config)
	if s.holder != nil {
		config.Dial = s.fence.Dial
	}
	client, err := dynamic.NewForConfig(config)
	return config, client, err
}

// lead returns tasks that do the work while this replica has the lease, and stand by until then. When it is lost the process
// ends: what it knows of the cluster is no longer true, and Kubernetes starts it again.
func (s *Synchronizer) lead(work []run.Task) []run.Task {
	if s.holder == nil {
		return work
	}
	taken := make(chan struct{})
	return []run.Task{
		{Name: "standby", Run: func(ctx context.Context) error { return s.standBy(ctx, taken) }},
		{Name: "work", Run: func(ctx context.Context) error {
			return s.holder.Run(ctx, func(ctx context.Context, turn lease.Turn) error {
				s.begin(turn)
				close(taken)
				return run.Group(ctx, work...)
			})
		}},
	}
}

// standBy shows the Syncs to those who ask for their status, until this replica works.
func (s *Synchronizer) standBy(ctx context.Context, taken <-chan struct{}) error {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	var tasks []run.Task
	for _, namespace := range s.syncs.Namespaces() {
		tasks = append(tasks, run.Task{Name: "syncs " + namespace, Run: func(ctx context.Context) error {
			return s.syncs.Watch(ctx, namespace, s.onlook, func() {})
		}})
	}
	tasks = append(tasks, run.Task{Name: "turn", Run: func(ctx context.Context) error {
		select {
		case <-taken:
			stop()
		case <-ctx.Done():
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	if err := run.Group(looking, tasks...); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// forgetGone forgets the Syncs that were seen while standing by and are no more.
func (s *Synchronizer) forgetGone() {
	for _, sync := range s.fleet.Syncs(nil) {
		if !s.loop.Exists(v1alpha1.Label(sync.GetNamespace(), sync.GetName())) {
			s.fleet.Remove(fleet.KeyOf(sync))
		}
	}
}

// onlooker shows Syncs as the replica that works has written them.
type onlooker struct {
	facts

	unverified bool
	log        *zap.Logger
}

// SyncChanged shows a Sync.
func (o onlooker) SyncChanged(sync *v1alpha1.Sync) {
	if err := o.Status(sync, o.unverified, nil); err != nil {
		o.log.Error("status not shown", zap.Error(err))
	}
}

// SyncGone forgets a Sync.
func (o onlooker) SyncGone(key types.NamespacedName) { o.Removed(key.Namespace, key.Name) }

// SyncsListed does nothing: who stands by has nothing to begin.
func (onlooker) SyncsListed() {}
