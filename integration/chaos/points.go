package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tandem-cd/tandem/integration/env/cut"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/integration/env/simnode"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// point is the moment between two steps of a release, made to last.
type point struct {
	// name says what has happened and what has not.
	name string
	// by is the process whose step is next, and whose death the short story tells.
	by string
	// reach pushes a version and returns when the release stands at the point. Then pass lets it go on.
	reach func(ctx context.Context, s *Scene) (pass func(), err error)
}

// points are all of them, in the order of a release.
func points() []point {
	return []point{
		{name: "seen, not asked for its digest", by: "automator", reach: seen},
		{name: "committed, not pushed", by: "automator", reach: committed},
		{name: "pushed, not told that it was", by: "automator", reach: pushed},
		{name: "announced, not heard", by: "synchronizer", reach: announced},
		{name: "half of the objects have arrived", by: "synchronizer", reach: fetching},
		{name: "verified, the Deployment not applied", by: "synchronizer", reach: admitted},
		{name: "applied, not told that it was", by: "synchronizer", reach: answered},
		{name: "applied, the pods not ready", by: "synchronizer", reach: rolling},
		{name: "healthy, not reported", by: "synchronizer", reach: reported},
		{name: "reported, not acknowledged", by: "automator", reach: acknowledged},
	}
}

// seen holds the automator's question to the registry.
func seen(ctx context.Context, s *Scene) (func(), error) {
	hold := make(chan struct{})
	fault := s.World.Registry.Inject(registry.Fault{
		Match: func(r *http.Request) bool { return asks(r) && strings.Contains(r.URL.Path, "/manifests/") }, Hold: hold,
	})
	pass := func() {
		fault.Remove()
		close(hold)
	}
	if err := s.Release(ctx); err != nil {
		return pass, err
	}
	return pass, s.Until(ctx, "the automator asks for the digest", func(context.Context) (bool, error) { return fault.Hits() > 0, nil })
}

// asks tells the automator's requests from those of the story.
func asks(r *http.Request) bool { return strings.Contains(r.UserAgent(), "tandem") }

func committed(ctx context.Context, s *Scene) (func(), error) {
	return s.atPush(ctx, s.World.Git.BeforePush)
}

func pushed(ctx context.Context, s *Scene) (func(), error) {
	return s.atPush(ctx, s.World.Git.AfterPush)
}

// atPush holds a push before git has it, or its answer.
func (s *Scene) atPush(ctx context.Context, put func(gitserver.Gate)) (func(), error) {
	hold, arrived := make(chan struct{}), make(chan struct{}, 1)
	put(func(ctx context.Context, _ string) error {
		select {
		case arrived <- struct{}{}:
		default:
		}
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return nil
	})
	pass := func() {
		put(nil)
		close(hold)
	}
	if err := s.Release(ctx); err != nil {
		return pass, err
	}
	return pass, wait(ctx, arrived, "the automator pushes")
}

// wait waits for a signal.
func wait(ctx context.Context, signal <-chan struct{}, what string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-signal:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waited %s in vain: %s", patience, what)
	}
}

// announced holds what the automator says to the cluster.
func announced(ctx context.Context, s *Scene) (func(), error) {
	s.Site.Relay.Hold(cut.Down)
	if err := s.Release(ctx); err != nil {
		return s.Site.Relay.Release, err
	}
	return s.Site.Relay.Release, s.told(ctx, statusv1.EventState_EVENT_STATE_ANNOUNCED)
}

// told waits until the automator has an event of what the branch's tip has for the cluster.
func (s *Scene) told(ctx context.Context, state statusv1.EventState) error {
	return s.Until(ctx, name(state)+" of the newest version", func(ctx context.Context) (bool, error) {
		var facts Facts
		if err := errors.Join(s.askGit(ctx, &facts), s.askEvents(ctx, &facts)); err != nil {
			return false, err
		}
		last := s.Want.Releases[len(s.Want.Releases)-1]
		for _, commit := range facts.Branch {
			for _, e := range facts.Events {
				if len(commit.Images) > 0 && strings.HasPrefix(commit.Images[0], last.Tag+"@") && e.State == name(state) && e.Tree == commit.Tree {
					return true, nil
				}
			}
		}
		return false, nil
	})
}

// fetchPart is how much of what a release sends to the cluster passes: the announcement, and less than all objects. A
// measured release sent 3 to 4 kB, of which the announcement is the first few hundred bytes.
const fetchPart = 1200

// fetching lets the announcement and the beginning of the objects through. TLS hides where exactly it stops.
func fetching(ctx context.Context, s *Scene) (func(), error) {
	s.Site.Relay.HoldAfter(cut.Down, fetchPart)
	if err := s.Release(ctx); err != nil {
		return s.Site.Relay.Release, err
	}
	if err := s.told(ctx, statusv1.EventState_EVENT_STATE_ANNOUNCED); err != nil {
		return s.Site.Relay.Release, err
	}
	return s.Site.Relay.Release, s.held(ctx, s.Site.Relay, cut.Down)
}

func (s *Scene) held(ctx context.Context, proxy *cut.Proxy, to cut.Direction) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return proxy.WaitHeld(ctx, to)
}

// admitted holds the request for the Deployment inside the API server.
func admitted(ctx context.Context, s *Scene) (func(), error) {
	hold, arrived := make(chan struct{}), make(chan struct{}, 1)
	remove, err := s.admit(ctx, func(ctx context.Context) {
		select {
		case arrived <- struct{}{}:
		default:
		}
		select {
		case <-hold:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return func() {}, err
	}
	pass := func() {
		close(hold)
		remove()
	}
	if err := s.Release(ctx); err != nil {
		return pass, err
	}
	return pass, wait(ctx, arrived, "the Deployment is applied")
}

// answered holds what the API server says from when it has the request for the Deployment.
func answered(ctx context.Context, s *Scene) (func(), error) {
	return s.whenApplied(ctx, func() { s.Site.API.Hold(cut.Down) }, s.Site.API.Release, s.deployed)
}

// rolling keeps the pods from becoming ready.
func rolling(ctx context.Context, s *Scene) (func(), error) {
	never := func() { s.World.Behave(s.Site.Namespace, simnode.NeverReady) }
	ready := func() { s.World.Behave(s.Site.Namespace, simnode.Default) }
	return s.whenApplied(ctx, never, ready, func(ctx context.Context) error {
		return s.told(ctx, statusv1.EventState_EVENT_STATE_APPLIED)
	})
}

// reported holds what the synchronizer says, from when it applies the Deployment.
func reported(ctx context.Context, s *Scene) (func(), error) {
	return s.whenApplied(ctx, func() { s.Site.Relay.Hold(cut.Up) }, s.Site.Relay.Release, s.rolledOut)
}

// acknowledged holds the answers to reports.
func acknowledged(ctx context.Context, s *Scene) (func(), error) {
	return s.whenApplied(ctx, func() { s.Site.Relay.Hold(cut.Down) }, s.Site.Relay.Release, func(ctx context.Context) error {
		return s.told(ctx, statusv1.EventState_EVENT_STATE_HEALTHY)
	})
}

// whenApplied pushes a version, does something at the moment when the API server gets the request for the Deployment, and
// waits for what the point needs.
func (s *Scene) whenApplied(ctx context.Context, begin, end func(), then func(context.Context) error) (func(), error) {
	arrived := make(chan struct{}, 1)
	remove, err := s.admit(ctx, func(context.Context) {
		begin()
		select {
		case arrived <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return func() {}, err
	}
	if err := s.Release(ctx); err != nil {
		remove()
		return end, err
	}
	err = wait(ctx, arrived, "the Deployment is applied")
	remove()
	if err != nil {
		return end, err
	}
	return end, then(ctx)
}

// deployed waits until the API server has the newest version.
func (s *Scene) deployed(ctx context.Context) error {
	want := s.Want.Releases[len(s.Want.Releases)-1].Digest
	return s.Until(ctx, "the API server has the Deployment", func(ctx context.Context) (bool, error) {
		live, err := s.deployment(ctx)
		if err != nil {
			return false, err
		}
		return strings.HasSuffix(live.Spec.Template.Spec.Containers[0].Image, want), nil
	})
}

// rolledOut waits until the newest version runs.
func (s *Scene) rolledOut(ctx context.Context) error {
	if err := s.deployed(ctx); err != nil {
		return err
	}
	return s.Until(ctx, "the Deployment is rolled out", func(ctx context.Context) (bool, error) {
		live, err := s.deployment(ctx)
		if err != nil {
			return false, err
		}
		status := live.Status
		return status.ObservedGeneration == live.Generation && status.UpdatedReplicas == 2 && status.Replicas == 2 && status.ReadyReplicas == 2, nil
	})
}

// victims are who is killed, and how it comes back.
func (s *Scene) victims() []victim {
	automator := victim{
		"automator",
		func(context.Context) error { s.World.Automator.Kill(); return nil },
		func(ctx context.Context) error { return s.World.Automator.Start(ctx) },
	}
	synchronizer := victim{
		"synchronizer",
		func(context.Context) error { s.Site.Synchronizer.Kill(); return nil },
		func(ctx context.Context) error { return s.Site.Synchronizer.Start(ctx) },
	}
	both := victim{
		"both agents",
		func(ctx context.Context) error { return errors.Join(automator.kill(ctx), synchronizer.kill(ctx)) },
		func(ctx context.Context) error { return errors.Join(automator.start(ctx), synchronizer.start(ctx)) },
	}
	kube := s.World.Kube
	return []victim{
		automator, synchronizer, both,
		{"API server", func(context.Context) error { return kube.KillAPIServer() }, s.refreshed(kube.StartAPIServer)},
		{"etcd", func(context.Context) error { return kube.KillEtcd() }, s.refreshed(kube.StartEtcd)},
	}
}

// refreshed starts a part of the control plane, and anew what waited for it.
func (s *Scene) refreshed(start func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := start(ctx); err != nil {
			return err
		}
		return s.World.Refresh(ctx)
	}
}

type victim struct {
	name  string
	kill  func(context.Context) error
	start func(context.Context) error
}

// killedAt kills at a point, lets the release go on, starts again, and waits for convergence.
func (s *Scene) killedAt(ctx context.Context, p point, v victim) error {
	what := fmt.Sprintf("%s: kill -9 of %s", p.name, v.name)
	pass, err := p.reach(ctx, s)
	if err == nil {
		err = v.kill(ctx)
	}
	pass()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := v.start(ctx); err != nil {
		return fmt.Errorf("%s: start again: %w", what, err)
	}
	s.Over()
	return s.Converged(ctx, "%s", what)
}

// namespaceLabel selects a namespace by its name.
const namespaceLabel = "kubernetes.io/metadata.name"

// sampleDeployment is the one that a release changes.
const sampleDeployment = "web"
