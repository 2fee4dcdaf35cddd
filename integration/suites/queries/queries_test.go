package queries_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/cut"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/integration/suites/story"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

func TestMain(m *testing.M) { os.Exit(story.Main(m)) }

func TestStories(t *testing.T) { story.Run(t) }

const site = "dev"

// patience bounds the wait for the end of a question whose cluster is gone.
const patience = 15 * time.Second

// TestASynchronizerThatVanishesMidAnswer keeps the API server's answers back, so that a question is open, and kills the
// synchronizer: its asker hears of it at once, and the next question is answered by the next process.
func TestASynchronizerThatVanishesMidAnswer(t *testing.T) {
	world := newWorld(t)
	if err := world.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := world.WaitSync(t.Context(), site, env.SampleSync, env.Healthy); err != nil {
		t.Fatal(err)
	}
	at := world.Sites[site]
	at.API.Hold(cut.Down)
	asked := make(chan error, 1)
	go func() { asked <- ask(t.Context(), world) }()
	for deadline := time.Now().Add(env.WaitTimeout); !answering(t, world); {
		if time.Now().After(deadline) {
			t.Fatal("the cluster did not take the question")
		}
	}
	at.Synchronizer.Kill()
	select {
	case err := <-asked:
		if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "was lost while it answered") {
			t.Errorf("the question that was open: got %v, want that the cluster was lost", err)
		}
	case <-time.After(patience):
		t.Fatalf("the asker has not heard of it after %s", patience)
	}
	at.API.Release()
	if err := at.Synchronizer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(env.WaitTimeout); ; {
		err := ask(t.Context(), world)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no answer after the restart: %v", err)
		}
	}
}

func newWorld(t *testing.T) *env.World {
	t.Helper()
	world, err := env.New(t.Context(), story.Ground(t), env.Options{Name: "vanishes", Sites: []string{site}, Between: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	pushed, err := world.Registry.Push(t.Context(), "acme/shop", "1.0.0", registry.Image{})
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

// answering reports whether the cluster has a Serve stream open.
func answering(t *testing.T, world *env.World) bool {
	t.Helper()
	metrics, err := world.Automator.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(metrics), `tandem_automator_relay_streams{method="Serve"} 1`)
}

// ask asks for the tree of the sample's Sync.
func ask(ctx context.Context, world *env.World) error {
	client, err := world.Status()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, env.WaitTimeout)
	defer cancel()
	stream, err := client.Ask(ctx, &statusv1.AskRequest{
		Sync:     &statusv1.SyncKey{Cluster: site, Namespace: world.Sites[site].Namespace, Name: env.SampleSync},
		Question: &statusv1.AskRequest_Tree{Tree: &statusv1.TreeQuestion{}},
	})
	if err != nil {
		return err
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
