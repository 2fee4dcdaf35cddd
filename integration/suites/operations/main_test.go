package operations_test

import (
	"os"
	"testing"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/integration/suites/story"
)

const (
	site = "dev"
	repo = "acme/shop"
)

func TestMain(m *testing.M) { os.Exit(story.Main(m)) }

// newWorld makes a world in which the sample application is deployed at version 1.0.0 as soon as the agents run.
func newWorld(t *testing.T, options env.Options) *env.World {
	t.Helper()
	options.Sites = []string{site}
	world, err := env.New(t.Context(), story.Ground(t), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	pushed, err := world.Registry.Push(t.Context(), repo, "1.0.0", registry.Image{})
	if err != nil {
		t.Fatal(err)
	}
	files, err := world.Sample(site, pushed.Reference())
	if err != nil {
		t.Fatal(err)
	}
	seed := gitserver.Change{Files: files, Message: "Seed", Author: "Ada <ada@example.com>", Signer: world.Human}
	if _, err := world.Commit(t.Context(), seed); err != nil {
		t.Fatal(err)
	}
	if err := world.Sites[site].Apply(t.Context(), env.SampleSyncFor(site)); err != nil {
		t.Fatal(err)
	}
	return world
}

// release pushes a version and waits until it runs.
func release(t *testing.T, world *env.World, tag string) *statusv1.Sync {
	t.Helper()
	pushed, err := world.Registry.Push(t.Context(), repo, tag, registry.Image{})
	if err != nil {
		t.Fatal(err)
	}
	sync, err := world.WaitSync(t.Context(), site, env.SampleSync, func(s *statusv1.Sync) bool {
		if !env.Healthy(s) {
			return false
		}
		for _, image := range s.GetImages() {
			if image.GetTag() == pushed.Tag {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return sync
}
