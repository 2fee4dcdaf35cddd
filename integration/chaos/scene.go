package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	// site is the cluster of every story, image the repository of the sample application.
	site  = "dev"
	image = "acme/shop"

	// patience is how long convergence may take before a story has failed.
	patience = 2 * time.Minute
	// look is how often the facts are gathered while waiting.
	look = 50 * time.Millisecond

	// bystander is an object in the Sync's namespace that is nobody's business.
	bystanderObject = "ConfigMap/bystander"
	bystander       = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bystander, labels: {app: web}}\ndata: {kept: \"yes\"}\n"
)

// Scene is where a story plays: a world of its own, and what was done in it so far.
type Scene struct {
	World *env.World
	Site  *env.Site
	// Want is what the story did.
	Want Expected

	enrolls bool              // by a token
	trees   map[string]string // by commit
	at      branch            // when last looked at
	minor   int               // of the newest version
	over    time.Time         // when the last trouble ended
	rounds  []Round
	say     func(format string, args ...any)
	after   []func() error // when the world is closed
	disk    string         // a small one
}

// agents are the two agents by the ends of their programs' names.
func (s *Scene) agents() map[string]*env.Agent {
	return map[string]*env.Agent{"automator": s.World.Automator, "synchronizer": s.Site.Synchronizer}
}

// Round is one trouble and how long it took until all was well again.
type Round struct {
	// What says which trouble it was.
	What string `json:"what"`
	// Seconds from the end of the trouble until everything had converged.
	Seconds float64 `json:"seconds"`
}

// Begin deploys the sample application and starts both agents.
func (s *Scene) Begin(ctx context.Context) error {
	first, err := s.push(ctx)
	if err != nil {
		return err
	}
	s.Want.Releases[0].Overtaken = true // a person deploys it, not the automator
	files, err := s.World.Sample(site, first.Reference())
	if err != nil {
		return err
	}
	if _, err := s.Foreign(ctx, files); err != nil {
		return err
	}
	for _, manifest := range []string{bystander, env.SampleSyncFor(site)} {
		if err := s.Site.Apply(ctx, manifest); err != nil {
			return err
		}
	}
	live, err := s.live(ctx)
	if err != nil {
		return err
	}
	s.Want.UIDs = map[string]string{bystanderObject: live[bystanderObject]}
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return fmt.Errorf("before any trouble: %w", err)
	}
	s.Want.UIDs, err = s.live(ctx)
	return err
}

// start starts both agents for the first time.
func (s *Scene) start(ctx context.Context) error {
	if err := s.World.Automator.Start(ctx); err != nil {
		return err
	}
	if s.enrolls {
		if err := s.enroll(ctx); err != nil {
			return err
		}
	}
	return s.Site.Synchronizer.Start(ctx)
}

// push pushes the next version.
func (s *Scene) push(ctx context.Context) (registry.Pushed, error) {
	pushed, err := s.World.Registry.Push(ctx, image, fmt.Sprintf("1.%d.0", s.minor), registry.Image{})
	if err != nil {
		return pushed, err
	}
	s.minor++
	s.Want.Releases = append(s.Want.Releases, Release{Tag: pushed.Tag, Digest: pushed.Digest})
	return pushed, nil
}

// Release pushes the next version. From here on nobody needs to touch anything.
func (s *Scene) Release(ctx context.Context) error {
	_, err := s.push(ctx)
	return err
}

// Overtaken says that the newest version may be skipped for the next one.
func (s *Scene) Overtaken() { s.Want.Releases[len(s.Want.Releases)-1].Overtaken = true }

// Foreign commits what a person changed, and tells the automator.
func (s *Scene) Foreign(ctx context.Context, files map[string]string) (string, error) {
	id, err := s.World.Commit(ctx, gitserver.Change{
		Files: files, Message: "A change", Author: "Ada <ada@example.com>", Signer: s.World.Human,
	})
	if err == nil {
		s.Want.Foreign = append(s.Want.Foreign, id)
	}
	return id, err
}

// Over says that the trouble has ended; the time until convergence counts from here.
func (s *Scene) Over() { s.over = time.Now() }

// Converged waits until everything is as if there had been no trouble, and notes how long that took.
func (s *Scene) Converged(ctx context.Context, what string, args ...any) error {
	what = fmt.Sprintf(what, args...)
	if err := s.settle(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	round := Round{What: what, Seconds: time.Since(s.over).Seconds()}
	s.rounds = append(s.rounds, round)
	s.say("  %-58s %6.2f s", round.What, round.Seconds)
	return nil
}

// errNotWell is why a story fails.
var errNotWell = errors.New("not as it should be")

// settle waits until the facts are what they should be. It does not wait for what waiting cannot mend.
func (s *Scene) settle(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		if s.runs(within) {
			if final, err := s.check(within); err == nil || final {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-within.Done():
			if _, err := s.check(ctx); err != nil {
				return fmt.Errorf("after %s: %w", patience, err)
			}
			return nil
		case <-ticker.C:
		}
	}
}

// runs tells whether the newest version is healthy. It is far less work than a check, which comes after it.
func (s *Scene) runs(ctx context.Context) bool {
	var facts Facts
	last := s.Want.Releases[len(s.Want.Releases)-1]
	return s.askSync(ctx, &facts) == nil && facts.State == healthy && slices.Equal(facts.Digests, []string{last.Digest})
}

// check compares once. Its error lists everything that is wrong; final says that waiting will not mend it.
func (s *Scene) check(ctx context.Context) (final bool, err error) {
	facts, err := s.gather(ctx)
	if err != nil {
		return false, err
	}
	found := judge(s.Want, facts)
	if len(found) == 0 {
		return false, nil
	}
	err = errNotWell
	for _, f := range found {
		final = final || f.Final
		err = fmt.Errorf("%w\n  - %s", err, f.Text)
	}
	return final, err
}

// Check compares what there is with what there must be, now. Its error lists everything that is otherwise.
func (s *Scene) Check(ctx context.Context) error {
	_, err := s.check(ctx)
	return err
}

// Until waits for something that the story needs to see before it goes on.
func (s *Scene) Until(ctx context.Context, what string, ok func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		yes, err := ok(ctx)
		if yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waited %s in vain: %s", patience, what), err)
		case <-ticker.C:
		}
	}
}

// live are the UIDs of the objects in the namespace.
func (s *Scene) live(ctx context.Context) (map[string]string, error) {
	objects, err := s.objects(ctx)
	return uids(objects), err
}

// objects are those in the namespace.
func (s *Scene) objects(ctx context.Context) (map[string]*unstructured.Unstructured, error) {
	objects := map[string]*unstructured.Unstructured{}
	for _, resource := range resources() {
		list, err := s.World.Dynamic.Resource(resource).Namespace(s.Site.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			if object := &list.Items[i]; !aside(object.GetName()) {
				objects[nameOf(object)] = object
			}
		}
	}
	return objects, nil
}

// aside tells whether an object is no one's of the application's: the controllers put the one into every namespace, and the
// others are the synchronizer's notes and its identity.
func aside(name string) bool {
	return name == "kube-root-ca.crt" || name == env.IdentitySecret || strings.HasPrefix(name, "tandem-inventory-")
}

// End pushes one more version after all trouble, checks everything once more, and asks both agents to stop.
func (s *Scene) End(ctx context.Context) error {
	if err := s.Release(ctx); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return fmt.Errorf("one more release after all trouble: %w", err)
	}
	if err := errors.Join(s.World.Automator.Stop(ctx), s.Site.Synchronizer.Stop(ctx)); err != nil {
		return err
	}
	return s.Until(ctx, "no process is left", func(context.Context) (bool, error) {
		left := orphans(s.World.Dir())
		if len(left) > 0 {
			return false, fmt.Errorf("%w: left over: %v", errNotWell, left)
		}
		return true, nil
	})
}
