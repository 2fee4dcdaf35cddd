package replicas_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/kubecluster"
)

const (
	// patience bounds each wait.
	patience = 90 * time.Second
	// look is how often is looked at what cannot be watched.
	look = 20 * time.Millisecond
	// leaseFor is the Lease's duration in these tests: short, and long enough for an API server on a machine that does much else.
	leaseFor = 10 * time.Second
	// tail is how much of a log is shown of a test that failed, in bytes.
	tail = 3000

	home = "dev"
	// many objects take long enough to be interrupted.
	many = 1500
)

var errNotYet = errors.New("not yet")

func TestMain(m *testing.M) { os.Exit(m.Run()) }

// world is a system of its own with an audited control plane.
type world struct {
	*env.World

	t *testing.T
}

// ground starts the control plane that the worlds of a test share.
func ground(t *testing.T) *env.Ground {
	t.Helper()
	g, err := env.StartGround(t.Context(), env.GroundOptions{Audit: true, Progress: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func newWorld(t *testing.T, g *env.Ground, options env.Options) *world {
	t.Helper()
	options.Sites = []string{home}
	w, err := env.New(t.Context(), g, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { showLogs(t, w) })
	return &world{World: w, t: t}
}

// showLogs shows the end of every log of a test that failed.
func showLogs(t *testing.T, w *env.World) {
	t.Helper()
	if !t.Failed() {
		return
	}
	logs, _ := filepath.Glob(filepath.Join(w.Dir(), "logs", "*.log"))
	for _, log := range logs {
		text, _ := os.ReadFile(log)
		t.Logf("%s ends with:\n%s", log, text[max(0, len(text)-tail):])
	}
}

func (w *world) site() *env.Site { return w.Sites[home] }

func (w *world) start(agents ...*env.Agent) {
	w.t.Helper()
	for _, agent := range agents {
		if err := agent.Start(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// until looks until a condition holds.
func (w *world) until(what string, holds func(context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: %v", what, err)
		case <-ticker.C:
		}
	}
}

// commit commits files of a person.
func (w *world) commit(message string, files map[string]string) string {
	w.t.Helper()
	id, err := w.Commit(w.t.Context(), gitserver.Change{
		Files: files, Message: message, Author: "Ada <ada@example.com>", Signer: w.Human,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// grants lets the site have everything below env.
func grants() map[string]string {
	return map[string]string{".tandem/clusters.yaml": "version: 1\nclusters: [{name: " + home + ", grants: [{refs: [main], paths: [env]}]}]\n"}
}

// configMaps are files with so many ConfigMaps of a value.
func configMaps(folder, value string, count int) map[string]string {
	const each = 50
	files := map[string]string{}
	for i := 0; i < count; i += each {
		var text strings.Builder
		for j := i; j < min(i+each, count); j++ {
			fmt.Fprintf(&text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s-%04d}\ndata: {value: %q}\n", folder, j, value)
		}
		files[fmt.Sprintf("env/%s/%04d.yaml", folder, i)] = text.String()
	}
	return files
}

// sync makes a Sync of a folder below env.
func (w *world) sync(name string) {
	w.t.Helper()
	manifest := fmt.Sprintf("apiVersion: tandem.dev/v1alpha1\nkind: Sync\nmetadata: {name: %s}\nspec:\n  source: {repository: %s, ref: refs/heads/main}\n  path: env/%s\n",
		name, env.Repository, name)
	if err := w.site().Apply(w.t.Context(), manifest); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) healthyAt(name, commit string) {
	w.t.Helper()
	if _, err := w.WaitSync(w.t.Context(), home, name, env.HealthyAt(commit)); err != nil {
		w.t.Fatal(err)
	}
}

// writes are the requests of the synchronizer's account that wrote in the site's namespace, as a Sync's account or itself.
func (w *world) writes() []kubecluster.Request {
	w.t.Helper()
	requests, err := w.Kube.Requests("system:serviceaccount:tandem-system:tandem-synchronizer")
	if err != nil {
		w.t.Fatal(err)
	}
	var writes []kubecluster.Request
	for _, r := range requests {
		if r.Namespace == w.site().Namespace && r.Verb != "get" && r.Verb != "list" {
			writes = append(writes, r)
		}
	}
	return writes
}

// applied waits until so many objects were written whose names begin with a prefix.
func (w *world) applied(prefix string, count int) {
	w.t.Helper()
	w.until(fmt.Sprintf("%d writes of %s", count, prefix), func(context.Context) error {
		got := 0
		for _, r := range w.writes() {
			if strings.HasPrefix(r.Name, prefix) {
				got++
			}
		}
		if got < count {
			return fmt.Errorf("%w: %d", errNotYet, got)
		}
		return nil
	})
}

// holder returns who holds the site's Lease.
func (w *world) holder(ctx context.Context) (string, error) {
	lease, err := w.Client.CoordinationV1().Leases(w.site().Namespace).Get(ctx, env.LeaseName, metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return "", err
	}
	return *lease.Spec.HolderIdentity, nil
}

func (w *world) held(by string) {
	w.t.Helper()
	w.until("the Lease is held by "+by, func(ctx context.Context) error {
		holder, err := w.holder(ctx)
		if err == nil && holder != by {
			err = fmt.Errorf("%w: %q holds it", errNotYet, holder)
		}
		return err
	})
}
