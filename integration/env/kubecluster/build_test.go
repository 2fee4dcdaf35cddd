package kubecluster

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/integration/env/cache"
)

// tinyModule has the shape of the cluster module and builds in a moment.
func tinyModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module tiny\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.2.3\n\n" +
			"replace k8s.io/kubernetes => ./kubernetes\n",
		"go.sum": "",
		"main.go": "package main\n\nimport _ \"k8s.io/kubernetes\"\n\n" +
			"func main() { println(`" + rand.Text() + "`) }\n", // in no build cache
		"kubernetes/go.mod":  "module k8s.io/kubernetes\n\ngo 1.26.0\n",
		"kubernetes/kube.go": "package kubernetes\n",
	} {
		writeFile(t, filepath.Join(dir, name), content)
	}
	return dir
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), privateMode); err != nil {
		t.Fatal(err)
	}
}

func TestProgramIsBuiltOnce(t *testing.T) {
	t.Parallel()
	var seen []Progress
	b := Builder{
		Source: tinyModule(t), Cache: t.TempDir(),
		Progress: func(p Progress) { seen = append(seen, p) },
	}
	first, err := b.Program(t.Context())
	if err != nil {
		t.Fatalf("Program(...): %v", err)
	}
	if last := len(seen) - 1; last < 1 || seen[0].Done != 0 || seen[last].Done != seen[last].Total || seen[0].Version != "v1.2.3" {
		t.Errorf("Program(...): progress %v, want steps of v1.2.3 from nothing to all", seen)
	}
	seen = nil
	second, err := b.Program(t.Context())
	if err != nil {
		t.Fatalf("Program(...) again: %v", err)
	}
	if first != second || len(seen) > 0 {
		t.Errorf("Program(...) again: %s after %v, want %s and no build", second, seen, first)
	}
}

func TestProgramFollowsSource(t *testing.T) {
	t.Parallel()
	b := Builder{Source: tinyModule(t), Cache: t.TempDir()}
	before, err := b.Program(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(b.Source, "more.go"), "package main\n")
	after, err := b.Program(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before == after {
		t.Errorf("Program(...): %s for both sources, want one each", before)
	}
}

func TestProgramAfterKilledBuild(t *testing.T) {
	t.Parallel()
	b := Builder{Source: tinyModule(t), Cache: t.TempDir()}
	_, dir, err := b.locate()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, partial+programName), "half a program")
	program, err := b.Program(t.Context())
	if err != nil {
		t.Fatalf("Program(...): %v", err)
	}
	left, err := fs.Glob(os.DirFS(dir), "*")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"kube", "lock"}, left); diff != "" {
		t.Errorf("files beside %s: -want, +got:\n%s", program, diff)
	}
}

func TestProgramCancelled(t *testing.T) {
	t.Parallel()
	for step := range 2 { // before the compiler, and while it runs
		ctx, cancel := context.WithCancel(t.Context())
		b := Builder{
			Source: tinyModule(t), Cache: t.TempDir(),
			Progress: func(p Progress) {
				if p.Done == step {
					cancel()
				}
			},
		}
		if _, err := b.Program(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Program(...) cancelled at step %d: %v, want %v or success", step, err, context.Canceled)
		}
		if _, err := b.Program(t.Context()); err != nil {
			t.Errorf("Program(...) after a build cancelled at step %d: %v", step, err)
		}
		cancel()
	}
}

func TestProgramWaitsForOtherBuild(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{})
	b := Builder{
		Source: tinyModule(t), Cache: t.TempDir(),
		Progress: func(p Progress) {
			if p.Waiting {
				close(waiting)
			}
		},
	}
	_, dir, err := b.locate()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, folderMode); err != nil {
		t.Fatal(err)
	}
	unlock, err := cache.Lock(t.Context(), filepath.Join(dir, "lock"), func() {})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := b.Program(t.Context())
		result <- err
	}()
	<-waiting
	writeFile(t, filepath.Join(dir, programName), "built by the other")
	unlock()
	if err := <-result; err != nil {
		t.Errorf("Program(...): %v", err)
	}
}

func TestProgramOfBrokenSource(t *testing.T) {
	t.Parallel()
	b := Builder{Source: tinyModule(t), Cache: t.TempDir()}
	writeFile(t, filepath.Join(b.Source, "main.go"), "package main\n\nfunc main() { undefined() }\n")
	if _, err := b.Program(t.Context()); err == nil {
		t.Error("Program(...): no error, want the compiler's")
	}
}

func TestRequiredVersion(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		mod    string
		want   string
	}{
		"Single":  {reason: "A requirement on a line of its own is found.", mod: "require k8s.io/kubernetes v1.2.3", want: "v1.2.3"},
		"Block":   {reason: "A requirement in a block is found.", mod: "require (\n\tk8s.io/kubernetes v1.2.3 // indirect\n)", want: "v1.2.3"},
		"Replace": {reason: "A replacement is no requirement.", mod: "replace (\n\tk8s.io/kubernetes => ./x\n)", want: ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _ := requiredVersion([]byte(tc.mod), kubernetesModule) // empty means none
			if got != tc.want {
				t.Errorf("requiredVersion(...): %q, want %q. %s", got, tc.want, tc.reason)
			}
		})
	}
}

func TestProgressString(t *testing.T) {
	t.Parallel()
	got := Progress{Version: "v1.37.2", Done: 812, Total: 2100}.String()
	if want := "building Kubernetes 1.37.2: 812/2100 packages"; got != want {
		t.Errorf("String(): %q, want %q", got, want)
	}
}
