// Package published runs manifests that nobody here wrote, as their projects publish them, through the life that they have in
// a cluster. They come from Go modules, so that a checksum says what they are.
package published_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/suites/story"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

const (
	site = "dev"
	sync = "published"
	// patience bounds each wait, and look is how often is looked at what cannot be watched.
	patience = 90 * time.Second
	look     = 100 * time.Millisecond
)

func TestMain(m *testing.M) { os.Exit(story.Main(m)) }

func TestSets(t *testing.T) {
	names := slices.Sorted(maps.Keys(sets))
	if testing.Short() {
		names = []string{"metallb"}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) { newLife(t, name, sets[name]).lead() })
	}
}

// life is one set in one cluster.
type life struct {
	*testing.T

	set     set
	world   *env.World
	files   map[string]string
	handles map[string]env.Handle // by "Kind/namespace/name", with SELF for the Sync's namespace
}

func newLife(t *testing.T, name string, s set) *life {
	t.Helper()
	files := read(t, s.module.fetch(t), s.files...)
	world, err := env.New(t.Context(), story.Ground(t), env.Options{Name: name, Sites: []string{site}, Everywhere: true, Foreign: s.hosts})
	if err != nil {
		t.Fatal(err)
	}
	l := &life{T: t, set: s, world: world, files: files, handles: map[string]env.Handle{}}
	t.Cleanup(l.end)
	return l
}

func (l *life) end() {
	if l.Failed() {
		for _, agent := range []*env.Agent{l.world.Automator, l.world.Sites[site].Synchronizer} {
			log, _ := os.ReadFile(agent.Log())
			l.Logf("%s ends with:\n%s", agent.Log(), log[max(0, len(log)-4000):])
		}
	}
	if err := l.world.Close(); err != nil {
		l.Error(err)
	}
}

func (l *life) lead() {
	l.apply()
	l.bump()
	l.heal()
	l.prune()
	l.leaveClean()
}

const grants = `version: 1
clusters: [{name: dev, grants: [{refs: [main], paths: [app]}]}]
`

const manifest = `apiVersion: tandem.dev/v1alpha1
kind: Sync
metadata: {name: published}
spec:
  source: {repository: deploy, ref: refs/heads/main}
  path: app
  deletionPolicy: delete
`

func (l *life) apply() {
	began := time.Now()
	l.commit("Seed", map[string]string{".tandem/clusters.yaml": grants})
	if err := l.world.Sites[site].Apply(l.Context(), manifest); err != nil {
		l.Fatal(err)
	}
	if err := l.world.StartAll(l.Context()); err != nil {
		l.Fatal(err)
	}
	l.fine("applied")
	namespace := l.world.Sites[site].Namespace
	for _, text := range l.files {
		handles, err := l.world.Handles(namespace, text)
		if err != nil {
			l.Fatal(err)
		}
		for _, h := range handles {
			if h.Namespace == namespace {
				h.Namespace = "SELF"
			}
			l.handles[h.String()] = h
		}
	}
	for name := range l.handles {
		l.get(name)
	}
	l.Logf("%d objects applied and healthy after %s", len(l.handles), time.Since(began).Round(time.Millisecond))
}

func (l *life) bump() {
	c := l.set.bump
	if n := strings.Count(l.files[c.file], c.from); n != 1 {
		l.Fatalf("%s has %q %d times, want once", c.file, c.from, n)
	}
	if text := l.text(l.get(c.object)); strings.Contains(text, c.value) {
		l.Fatalf("%s has %s before the bump: %s", c.object, c.value, text)
	}
	l.files[c.file] = strings.Replace(l.files[c.file], c.from, c.to, 1)
	l.commit("Bump", nil)
	l.fine("bumped")
	if text := l.text(l.get(c.object)); !strings.Contains(text, c.value) {
		l.Errorf("%s has no %s after the bump: %s", c.object, c.value, text)
	}
}

// heal takes objects away, and then changes them, by hand.
func (l *life) heal() {
	for _, name := range l.set.heal {
		old := l.get(name)
		if err := l.handles[name].Delete(l.Context(), old.GetName(), metav1.DeleteOptions{}); err != nil {
			l.Fatal(err)
		}
		l.until(name+" is back", func(ctx context.Context) error {
			found, err := l.handles[name].Get(ctx, old.GetName(), metav1.GetOptions{})
			if err == nil && found.GetUID() == old.GetUID() {
				return errors.New("the old one is still there")
			}
			return err
		})
		patch := []byte(`{"metadata":{"labels":{"tandem.dev/sync":"somebody-else"}}}`)
		if _, err := l.handles[name].Patch(l.Context(), old.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
			l.Fatal(err)
		}
		l.until(name+" has its label again", func(ctx context.Context) error {
			found, err := l.handles[name].Get(ctx, old.GetName(), metav1.GetOptions{})
			if err == nil && found.GetLabels()["tandem.dev/sync"] != old.GetLabels()["tandem.dev/sync"] {
				return fmt.Errorf("its labels are %v", found.GetLabels())
			}
			return err
		})
	}
	l.fine("healed")
}

func (l *life) prune() {
	for file, text := range l.files {
		rest, err := without(text, l.set.prune)
		if err != nil && len(l.files) > 1 {
			continue
		}
		if err != nil {
			l.Fatal(err)
		}
		l.files[file] = rest
		if strings.TrimSpace(rest) == "" {
			delete(l.files, file)
		}
		_, err = l.world.Commit(l.Context(), l.change("Prune", map[string]string{}, "app/"+file))
		if err != nil {
			l.Fatal(err)
		}
		if strings.HasPrefix(l.set.gone, "CustomResourceDefinition/") {
			l.consent()
		}
		l.fine("pruned")
		l.away(l.set.gone)
		return
	}
	l.Fatalf("no file has a document with the line %q", l.set.prune)
}

// consent answers the guard, which asks before a definition goes with all that it defines.
func (l *life) consent() {
	asks := regexp.MustCompile(`tandem\.dev/allow-prune=([0-9a-f]+)`)
	var content []string
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	_, err := l.world.WaitSync(ctx, site, sync, func(s *statusv1.Sync) bool {
		for _, problem := range s.GetProblems() {
			content = asks.FindStringSubmatch(problem.GetMessage())
		}
		return content != nil
	})
	if err != nil {
		l.Fatal(err)
	}
	l.get(l.set.gone) // it waits for the answer
	syncs, err := l.world.Handles(l.world.Sites[site].Namespace, manifest)
	if err != nil {
		l.Fatal(err)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"tandem.dev/allow-prune":%q}}}`, content[1])
	if _, err := syncs[0].Patch(l.Context(), sync, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		l.Fatal(err)
	}
}

// leaveClean removes the Sync. Everything that it made goes with it.
func (l *life) leaveClean() {
	syncs, err := l.world.Handles(l.world.Sites[site].Namespace, manifest)
	if err != nil {
		l.Fatal(err)
	}
	if err := syncs[0].Delete(l.Context(), sync, metav1.DeleteOptions{}); err != nil {
		l.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(l.handles)) {
		l.away(name)
	}
	l.until("the Sync is gone", func(ctx context.Context) error { return absent(syncs[0].Get(ctx, sync, metav1.GetOptions{})) })
}

// commit puts the set's files, and more, into Git, signed by a person.
func (l *life) commit(message string, more map[string]string) {
	l.Helper()
	if _, err := l.world.Commit(l.Context(), l.change(message, more, "")); err != nil {
		l.Fatal(err)
	}
}

func (l *life) change(message string, files map[string]string, removed string) gitserver.Change {
	if files == nil {
		files = map[string]string{}
	}
	change := gitserver.Change{Message: message, Files: files, Author: "Ada <ada@example.com>", Signer: l.world.Human}
	for name, text := range l.files {
		files["app/"+name] = text
	}
	if _, kept := files[removed]; removed != "" && !kept {
		change.Remove = []string{removed}
	}
	return change
}

// fine waits until the branch's tip runs, is healthy and has no problem.
func (l *life) fine(what string) {
	l.Helper()
	tip, err := l.world.Git.Tip(l.Context(), env.Repository, "refs/heads/main")
	if err != nil {
		l.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	_, err = l.world.WaitSync(ctx, site, sync, func(s *statusv1.Sync) bool { return env.HealthyAt(tip)(s) && len(s.GetProblems()) == 0 })
	if err != nil {
		l.Fatalf("%s: %v", what, err)
	}
}

func (l *life) get(name string) *unstructured.Unstructured {
	l.Helper()
	h, ok := l.handles[name]
	if !ok {
		l.Fatalf("%s is not in the set", name)
	}
	object, err := h.Get(l.Context(), h.Name, metav1.GetOptions{})
	if err != nil {
		l.Fatalf("%s: %v", name, err)
	}
	return object
}

func (l *life) text(object *unstructured.Unstructured) string {
	l.Helper()
	unstructured.RemoveNestedField(object.Object, "metadata", "managedFields")
	text, err := json.Marshal(object.Object)
	if err != nil {
		l.Fatal(err)
	}
	return string(text)
}

// away waits until an object is gone.
func (l *life) away(name string) {
	l.Helper()
	h := l.handles[name]
	l.until(name+" is gone", func(ctx context.Context) error { return absent(h.Get(ctx, h.Name, metav1.GetOptions{})) })
}

func absent(object *unstructured.Unstructured, err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("it is there, with finalizers %q and deletion time %v", object.GetFinalizers(), object.GetDeletionTimestamp())
	}
	return err
}

// until looks again and again at what cannot be watched.
func (l *life) until(what string, fn func(context.Context) error) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	var why error // of the last look that was not cut short
	for {
		err := fn(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			why = err
		}
		select {
		case <-ctx.Done():
			l.Fatalf("not true after %s: %s: %v", patience, what, why)
		case <-ticker.C:
		}
	}
}
