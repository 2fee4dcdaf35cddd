// Package synchronizer receives Git state, verifies it, converges the objects of a cluster on it, and reports back.
//
// What arrives goes from left to right, one package a step:
//
//	relay ─▶ objects ─▶ trust ─▶ render ─▶ plan ─▶ apply
//	                                         ▲        │
//	             report ◀── converge ◀── live (watches)
//
// The loop in converge is the only one that knows them all. The synchronizer dials out; nobody dials it but people with
// a token of this cluster who ask for status.
package synchronizer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/run"
	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/shared/telemetry/admin"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/compare"
	"github.com/tandem-cd/tandem/synchronizer/internal/converge"
	"github.com/tandem-cd/tandem/synchronizer/internal/enroll"
	"github.com/tandem-cd/tandem/synchronizer/internal/evidence"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/lease"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
	"github.com/tandem-cd/tandem/synchronizer/internal/preview"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
	"github.com/tandem-cd/tandem/synchronizer/internal/serve"
	"github.com/tandem-cd/tandem/synchronizer/internal/shards"
	"github.com/tandem-cd/tandem/synchronizer/internal/syncs"
	"github.com/tandem-cd/tandem/synchronizer/internal/trust"
)

// Version is the synchronizer's version; the linker sets it for releases.
var Version = "dev" //nolint:gochecknoglobals // the linker can only set a variable

const (
	// recentEvents is how many events StatusService can list; the automator has them all.
	recentEvents = 1000
	// collectEvery is how often objects that nobody needs are removed from disk.
	collectEvery = time.Hour
)

// Synchronizer is the process.
type Synchronizer struct {
	cfg      Config
	log      *zap.Logger
	store    *objects.Store
	keeper   *enroll.Keeper // nil when the identity is in files
	link     *relay.Link
	relay    *relay.Client
	syncs    *syncs.Client
	events   *syncs.Recorder
	live     *live.Store
	sight    *live.Store
	reporter *report.Reporter
	loop     *converge.Loop
	evidence *evidence.Checker // nil when no image must be signed
	fleet    *fleet.State
	recent   *fleet.Recent
	answers  *serve.Answers
	serve    *serve.Server
	status   *rpc.Server
	metrics  *prometheus.Registry
	holder   *lease.Holder               // nil for the only replica
	fence    lease.Fence                 // around what is written while holder has the lease
	shard    atomic.Pointer[shard.Shard] // nil before holder has a lease
	onlook   onlooker
}

// New opens what the synchronizer works with. It talks to nobody yet.
func New(cfg Config, log *zap.Logger) (*Synchronizer, error) {
	s := &Synchronizer{cfg: cfg, log: log, fleet: fleet.New(), recent: fleet.NewRecent(recentEvents), metrics: telemetry.NewMetrics("tandem_synchronizer", Version)}
	restConfig, err := connect(cfg.Kubeconfig)
	if err != nil {
		return nil, err
	}
	restConfig.Wrap(newAPIMetrics(s.metrics).wrap)
	if s.store, err = objects.Open(filepath.Join(cfg.StateDir, "objects")); err != nil {
		return nil, err
	}
	s.measure()
	if err := s.openLease(restConfig); err != nil {
		return nil, err
	}
	if err := s.openRelay(restConfig); err != nil {
		return nil, err
	}
	if err := s.openLoop(restConfig); err != nil {
		return nil, err
	}
	return s, s.openStatus(restConfig)
}

// connect returns how to reach the API server. Its fairness governs how fast we may be; no limit is set here.
func connect(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS = -1
	config.DisableCompression = true // costs both sides more than a cluster's network
	config.UserAgent = "tandem-synchronizer/" + Version
	return config, nil
}

func (s *Synchronizer) openRelay(config *rest.Config) (err error) {
	if err := s.openIdentity(config); err != nil {
		return err
	}
	s.reporter, err = report.New(report.Config{Hello: s.hello(), Dir: filepath.Join(s.cfg.StateDir, "events"), Metrics: s.metrics}, s.link, s.fleet, s.log)
	return err
}

func (s *Synchronizer) openLoop(config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	writingConfig, writing, err := s.writing(config)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	policy, err := trust.NewPolicy(s.cfg.Trust)
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	judge, err := health.NewJudge(s.cfg.Health.Rules)
	if err != nil {
		return fmt.Errorf("health.rules: %w", err)
	}
	mapper := live.NewMapper(discoverer)
	changed := func(label string) { s.loop.ObjectChanged(label) }
	s.live = live.New(live.Config{
		Namespaces: s.cfg.Namespaces, Changed: changed, ImagesChanged: changed, Health: judge.Of, Metrics: s.metrics,
	}, client, mapper)
	s.sight = live.New(live.Config{
		Namespaces: s.cfg.Namespaces, Changed: changed, Health: judge.Of, Looking: true, Digest: compare.Digest,
	}, client, mapper)
	s.syncs = syncs.New(client, writing, s.cfg.Namespaces, s.log)
	s.events = syncs.NewRecorder(s.syncs, func() bool { return s.loop.Crowded() }, s.metrics)
	applier, err := apply.New(apply.Config{}, writingConfig, apply.Deps{
		Kinds: mapper, Established: s.live.Established,
		SyncExists: func(label string) bool { return s.loop.Exists(label) },
	})
	if err != nil {
		return err
	}
	signatures, err := s.signatures()
	if err != nil {
		return err
	}
	follow, rules := &follower{}, s.cfg.tenancy()
	unverified, reporting := policy.Mode() == trust.Relay, facts{reporter: s.reporter, recent: s.recent, fleet: s.fleet, cluster: s.cfg.Cluster}
	s.onlook = onlooker{facts: reporting, unverified: unverified, log: s.log}
	trees, tried := renderer{store: s.store, mapper: mapper, rules: rules}, trier{Applier: applier, signatures: signatures}
	previewer := preview.New(preview.Deps{
		Live: s.live, Applier: tried, Load: trees.Load, Seen: s.sight.Observe, Exists: func(label string) bool { return s.loop.Exists(label) },
	})
	s.loop = converge.New(converge.Deps{
		Namespaces: s.cfg.Namespaces, Owns: s.owns, Shared: func() bool { return !s.part().All() }, Permit: rules.Permit, DependOn: rules.DependOn, Unverified: unverified, Workers: s.cfg.Workers, Health: judge, Signatures: signatures,
		Relay: follow, Trees: s.store, Verifier: newVerifier(policy, s.store), Renderer: trees,
		Live: s.live, Sight: s.sight, Inventory: shards.New(writing, s.log), Applier: applier, Previewer: previewer,
		Syncs: s.syncs, Events: s.events, Reporter: reporting, Log: s.log, Metrics: s.metrics,
	})
	diffs := &differ{policy: policy, trees: trees, deps: preview.Deps{Live: s.live, Applier: tried, Exists: func(label string) bool { return s.loop.Exists(label) }}}
	s.openQuestions(client, judge, diffs)
	s.relay = relay.New(relay.Config{
		Cluster: s.cfg.Cluster, Replica: s.cfg.Replica, Version: Version, QueriesWaiting: s.serve.Waiting, Metrics: s.metrics,
	}, s.link, s.store, s.loop, s.log)
	follow.client, diffs.relay = s.relay, s.relay
	return nil
}

// follower breaks the circle between the loop, which says what to follow, and the relay, which hands over what arrives.
type follower struct{ client *relay.Client }

// Follow replaces what is followed.
func (f *follower) Follow(subs []relay.Subscription) { f.client.Follow(subs) }

// Run works until the context is done.
func (s *Synchronizer) Run(ctx context.Context) error {
	tasks := []run.Task{
		{Name: "status", Run: s.serveStatus},
		{Name: "debug", Run: func(ctx context.Context) error { return admin.ServeDebug(ctx, s.cfg.Debug) }},
		{Name: "admin", Run: func(ctx context.Context) error {
			return admin.Serve(ctx, admin.Config{Address: s.cfg.Admin, Ready: s.ready, Metrics: s.metrics})
		}},
	}
	if s.keeper != nil {
		tasks = append(tasks, run.Task{Name: "identity", Run: s.keeper.Run})
	}
	tasks = append(tasks, s.lead(s.work())...)
	s.log.Info("started", zap.String("version", Version), zap.String("cluster", s.cfg.Cluster), zap.String("trust", string(s.cfg.Trust.Mode)))
	return errors.Join(run.Group(ctx, tasks...), s.link.Close())
}

// work is what one replica does at a time.
func (s *Synchronizer) work() []run.Task {
	return append([]run.Task{
		{Name: "live", Run: s.live.Run},
		{Name: "sight", Run: s.sight.Run},
		{Name: "converge", Run: s.converge},
		{Name: "events", Run: s.events.Run},
		{Name: "relay", Run: s.whenListed(s.whenEnrolled(s.relay.Run))},
		{Name: "report", Run: s.whenListed(s.whenEnrolled(s.reporter.Run))},
		{Name: "serve", Run: s.whenListed(s.whenEnrolled(s.serve.Run))},
		{Name: "collect", Run: s.whenListed(s.collect)},
	}, s.watches()...)
}

// flushTimeout bounds what is still written when the process ends.
const flushTimeout = 5 * time.Second

// converge runs the loop, and in the end writes what the loop had put off.
func (s *Synchronizer) converge(ctx context.Context) error {
	err := s.loop.Run(ctx)
	if s.evidence != nil {
		s.evidence.Stop()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	s.loop.Flush(ctx)
	return err
}

// watches follows the Syncs of every configured namespace. The loop hears of the end of the first lists once all are done.
func (s *Synchronizer) watches() []run.Task {
	namespaces := s.syncs.Namespaces()
	lists := make(chan struct{}, len(namespaces))
	tasks := []run.Task{{Name: "lists", Run: func(ctx context.Context) error {
		for range namespaces {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-lists:
			}
		}
		s.loop.SyncsListed()
		s.forgetGone()
		<-ctx.Done()
		return ctx.Err()
	}}}
	for _, namespace := range namespaces {
		tasks = append(tasks, run.Task{Name: "syncs " + namespace, Run: func(ctx context.Context) error {
			return s.syncs.Watch(ctx, namespace, s.loop, func() { lists <- struct{}{} })
		}})
	}
	return tasks
}

// whenListed lets a task begin when every Sync is known: before, it would speak of a cluster without any.
func (s *Synchronizer) whenListed(task func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.loop.Listed():
			return task(ctx)
		}
	}
}

// collect removes objects that no Sync needs any more, now and then.
func (s *Synchronizer) collect(ctx context.Context) error {
	ticker := time.NewTicker(collectEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		err := s.relay.Quiet(func() error {
			removed, err := s.store.Collect(ctx, s.loop.Roots())
			s.log.Debug("objects collected", zap.Int("removed", removed))
			return err
		})
		if err != nil {
			s.log.Warn("objects not collected", zap.Error(err))
		}
	}
}

// ready reports why the synchronizer cannot do its work yet.
func (s *Synchronizer) ready() error {
	if !s.leads() {
		return errors.Join(s.holder.Hindered(), s.known())
	}
	select {
	case <-s.loop.Listed():
		return s.known()
	default:
		return errors.New("no list of Syncs yet; is the CustomResourceDefinition syncs.tandem.dev installed, and may this account list it?")
	}
}
