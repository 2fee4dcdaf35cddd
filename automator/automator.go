// Package automator watches container registries, commits image updates to Git, promotes releases between environments,
// and relays Git state to clusters.
//
// What happens to an image, from left to right:
//
//	webhook ─▶ scan ─▶ update ─▶ gitrepo (commit, push) ─▶ relay ─▶ clusters
//	                     ▲                                    │
//	                     └──────────── evidence ◀─────────────┘ reports
//
// Nothing on that way waits for a clock: each part wakes the next. Every part also looks again by itself now and then, so
// that a lost wake-up costs time and nothing else.
package automator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/api"
	"github.com/tandem-cd/tandem/automator/internal/authority"
	"github.com/tandem-cd/tandem/automator/internal/enroll"
	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/relay"
	"github.com/tandem-cd/tandem/automator/internal/scan"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/traces"
	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/automator/internal/verify"
	"github.com/tandem-cd/tandem/automator/internal/webhook"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/run"
	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/shared/telemetry/admin"
)

// Version is the automator's version; the linker sets it for releases.
var Version = "dev" //nolint:gochecknoglobals // the linker can only set a variable

// Automator is the process.
type Automator struct {
	cfg      Config
	log      *zap.Logger
	store    *store.Store
	events   *eventLog
	traces   *traces.Sender
	fleet    *fleet.State
	vault    *vault.Client
	registry *registry.Client
	scanner  *scan.Scanner
	checker  *verify.Checker
	evidence *verify.Evidence
	repos    repositories
	relay    *relay.Server
	hooks    *webhook.Hooks
	calls    *rpc.Calls
	tls      *tls.Config
	enroll   *enroll.Service
	server   *rpc.Server
	proxied  *rpc.Server // for a proxy that ends TLS; nil without one
	metrics  *prometheus.Registry
	measured *rpc.Metrics // of both servers
}

// New opens what the automator works with: the event log, the mirrors, the keys. It talks to nobody yet.
func New(ctx context.Context, cfg Config, log *zap.Logger) (*Automator, error) {
	a := &Automator{cfg: cfg, log: log, fleet: fleet.New(), calls: rpc.NewCalls(), metrics: telemetry.NewMetrics("tandem_automator", Version)}
	a.measure()
	for _, open := range []func(context.Context) error{a.openStore, a.openVault, a.openScanner, a.openChecker, a.openRepositories, a.openRelay, a.openWebhooks, a.openEnrollment, a.openServer} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	return a, nil
}

func (a *Automator) openStore(ctx context.Context) (err error) {
	if err := os.MkdirAll(a.cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	storeConfig := a.cfg.Store
	storeConfig.Metrics = a.metrics
	if a.store, err = store.Open(ctx, storeConfig); err != nil {
		return err
	}
	a.events = &eventLog{store: a.store}
	a.traces = traces.New(a.cfg.Traces, a.events, Version, a.log, a.metrics)
	return nil
}

func (a *Automator) openVault(context.Context) (err error) {
	if a.vault, err = vault.New(a.cfg.Vault, vault.Deps{Log: a.log, Metrics: a.metrics}); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return nil
}

func (a *Automator) openScanner(context.Context) (err error) {
	registries := a.cfg.Registries
	registries.Metrics, registries.Cloud, registries.Vault = a.metrics, fromCloud, a.fromVault
	if a.registry, err = registry.New(registries); err != nil {
		return fmt.Errorf("registries: %w", err)
	}
	scanConfig := scan.Config{Interval: a.cfg.ScanInterval}
	if err := scanConfig.Validate(); err != nil {
		return fmt.Errorf("scanInterval: %w", err)
	}
	a.scanner, err = scan.New(scanConfig, scan.Deps{
		Registry: a.registry, Cache: a.store, Log: a.log, Metrics: a.metrics, Changed: a.imageChanged,
	})
	return err
}

func (a *Automator) openChecker(context.Context) error {
	a.evidence = verify.NewEvidence(verify.Sources{Registry: a.registry, Keeper: a.store, Named: a.isNamed, Log: a.log})
	a.checker = verify.New(a.cfg.Verification, verify.Deps{
		Registry: signatures{a.scanner, a.evidence}, Store: a.store, Log: a.log, Metrics: a.metrics, Changed: a.wakeWriters,
	})
	return nil
}

func (a *Automator) openRepositories(ctx context.Context) error {
	signer, err := a.cfg.Signing.signer(time.Now())
	if err != nil {
		return err
	}
	a.repos, err = openRepositories(ctx, a, signer)
	return err
}

func (a *Automator) openRelay(context.Context) error {
	a.relay = relay.New(relay.Config{Version: Version}, relay.Deps{
		Repository: a.repos.forRelay, Grants: a.repos.grants, Traceparent: traces.Parent, Signatures: a.signaturesFor, Events: a.events, Fleet: a.fleet, Log: a.log, Metrics: a.metrics,
	})
	return nil
}

func (a *Automator) openWebhooks(context.Context) error {
	if a.cfg.Webhook.Listen == "" {
		return nil
	}
	callers, err := a.cfg.Webhook.callers()
	if err != nil {
		return err
	}
	a.hooks, err = webhook.New(webhook.Config{Callers: callers, Reread: a.cfg.Webhook.callers, GoogleKeys: a.cfg.Webhook.GoogleKeys, Hosts: a.cfg.Webhook.Hosts}, webhook.Deps{
		FollowsImage: a.scanner.Follows,
		HintImage:    func(repository, tag string) { a.scanner.Hint(repository, tag) },
		HintReferrer: a.checker.Recheck,
		FollowsGit:   func(name string) bool { return a.repos[name] != nil },
		HintGit:      func(name string) { a.repos[name].hint() },
		Accepted:     a.acceptedHook,
		Refused:      a.refusedHooks(),
		Failed:       a.failedHooks,
		Metrics:      a.metrics,
	})
	return err
}

// openEnrollment opens the authority, if there is one, and what knows who calls.
func (a *Automator) openEnrollment(ctx context.Context) (err error) {
	var signer *authority.Authority
	if a.cfg.Authority.Given() {
		if signer, err = authority.Open(a.cfg.Authority); err != nil {
			return err
		}
		a.tls = signer.ServerTLS()
	} else if a.tls, err = a.cfg.TLS.Server(); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	a.enroll, err = enroll.New(ctx, enroll.Config{Audiences: a.cfg.Proxy.Names, Admins: a.cfg.Admins}, enroll.Deps{
		Authority: signer, Store: a.store, Calls: a.calls, Log: a.log,
		Granted: a.granted,
	})
	return err
}

func (a *Automator) openServer(context.Context) error {
	a.server = a.newServer(a.tls)
	if a.cfg.Proxy.Listen != "" {
		a.proxied = a.newServer(nil)
	}
	return nil
}

func (a *Automator) newServer(config *tls.Config) *rpc.Server {
	server := rpc.NewServer(rpc.ServerConfig{
		TLS: config, Identify: a.enroll.Identify, Authorize: a.authorize, Public: isPublic, Calls: a.calls, Log: a.log, Metrics: a.measured, Version: Version,
	})
	enrollmentv1.RegisterEnrollmentServiceServer(server.GRPC, a.enroll)
	enrollmentv1.RegisterEnrollmentAdminServiceServer(server.GRPC, enroll.NewAdmin(a.enroll))
	relayv1.RegisterRelayServiceServer(server.GRPC, a.relay)
	statusv1.RegisterStatusServiceServer(server.GRPC, &fleet.Service{
		State: a.fleet, Events: a.events, Contents: a.repos, Asker: api.NewQuestions(a.relay, a.fleet, a.repos),
	})
	pipelinev1.RegisterPipelineServiceServer(server.GRPC, api.New(a.repos, a.scanner, a.checker, a.vault, a.events))
	return server
}

// Run works until the context is done.
func (a *Automator) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("listen: %w", err), a.close())
	}
	tasks := []run.Task{
		{Name: "vault", Run: a.vault.Run},
		{Name: "scan", Run: a.scanner.Run},
		{Name: "signatures", Run: a.checker.Run},
		{Name: "store", Run: a.keepStore},
		{Name: "revocations", Run: a.enroll.Run},
		{Name: "evidence", Run: a.watchEvidence},
		{Name: "server", Run: func(ctx context.Context) error { return a.server.Serve(ctx, listener) }},
		{Name: "relay", Run: a.relay.Run},
		{Name: "drain", Run: a.drain},
		{Name: "memory", Run: tidy},
		{Name: "traces", Run: a.traces.Run},
		{Name: "debug", Run: func(ctx context.Context) error { return admin.ServeDebug(ctx, a.cfg.Debug) }},
		{Name: "admin", Run: func(ctx context.Context) error {
			return admin.Serve(ctx, admin.Config{Address: a.cfg.Admin, Ready: a.ready, Metrics: a.metrics})
		}},
	}
	if a.hooks != nil {
		tasks = append(tasks, run.Task{Name: "hints", Run: a.hooks.Run}, run.Task{Name: "webhooks", Run: a.serveWebhooks})
	}
	if a.proxied != nil {
		tasks = append(tasks, run.Task{Name: "proxied", Run: a.serveProxied})
	}
	for _, r := range a.repos {
		tasks = append(tasks, r.tasks()...)
	}
	a.log.Info("started", zap.String("version", Version), zap.Stringer("address", listener.Addr()), zap.Int("repositories", len(a.repos)))
	return errors.Join(run.Group(ctx, tasks...), a.close())
}

// serveProxied serves without TLS, for a proxy in front.
func (a *Automator) serveProxied(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.Proxy.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return a.proxied.Serve(ctx, listener)
}

// drain asks clusters to come back later when the process ends.
func (a *Automator) drain(ctx context.Context) error {
	<-ctx.Done()
	a.relay.Close()
	return nil
}

func (a *Automator) keepStore(ctx context.Context) error {
	return a.store.Run(ctx, func(err error) { a.log.Warn("store not kept up", zap.Error(err)) })
}

// ready reports why the automator cannot do its work yet.
func (a *Automator) ready() error {
	for _, r := range a.repos {
		if err := r.ready(); err != nil {
			return err
		}
	}
	return nil
}

func (a *Automator) close() error {
	var problems []error
	for _, r := range a.repos {
		problems = append(problems, r.mirror.Close())
	}
	if a.registry != nil {
		a.registry.Close()
	}
	if a.store != nil {
		problems = append(problems, a.store.Close())
	}
	return errors.Join(problems...)
}
