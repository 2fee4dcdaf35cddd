// Package helm runs the pinned Helm, built from its module as every tool is.
package helm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/integration/env/process"
)

const (
	// module is where Helm's version is pinned, and program what is built there, below the source tree.
	module  = "integration/tools/helm"
	program = ".tmp/bin/helm"
	// packageName is what is built.
	packageName = "helm.sh/helm/v4/cmd/helm"
	// patience is how long Helm waits for what it installs.
	patience = 2 * time.Minute

	folderMode = 0o755
)

// Helm runs as nobody's user: its caches and settings are in a folder of its own.
type Helm struct {
	program, home, kubeconfig string
}

// New finds Helm as `make tools` builds it, or builds it, which takes some minutes once. source is the source tree, home
// an empty folder. kubeconfig may be empty for what needs no cluster.
func New(ctx context.Context, source, home, kubeconfig string) (*Helm, error) {
	path := filepath.Join(source, filepath.FromSlash(program))
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := build(ctx, source, path); err != nil {
			return nil, err
		}
	}
	return &Helm{program: path, home: home, kubeconfig: kubeconfig}, os.MkdirAll(home, folderMode)
}

func build(ctx context.Context, source, path string) error {
	cmd := process.Command(ctx, "go", "build", "-buildvcs=false", "-o", path, packageName)
	cmd.Dir = filepath.Join(source, filepath.FromSlash(module))
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build helm: %w\n%s", errors.Join(ctx.Err(), err), process.LastLines(said))
	}
	return nil
}

// Run runs a command of Helm and returns what it printed. The error has what it said.
func (h *Helm) Run(ctx context.Context, args ...string) (string, error) {
	cmd := process.Command(ctx, h.program, args...)
	cmd.Env = append(os.Environ(),
		"HELM_CACHE_HOME="+filepath.Join(h.home, "cache"), "HELM_CONFIG_HOME="+filepath.Join(h.home, "config"),
		"HELM_DATA_HOME="+filepath.Join(h.home, "data"), "KUBECONFIG="+h.kubeconfig)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), errors.Join(ctx.Err(), err), said.String())
	}
	return string(out), nil
}

// Install installs or upgrades a release and waits until what it installed is ready.
func (h *Helm) Install(ctx context.Context, release, chart, namespace string, args ...string) error {
	_, err := h.Run(ctx, append([]string{
		"upgrade", "--install", release, chart, "--namespace", namespace, "--wait", "--timeout", patience.String(),
	}, args...)...)
	return err
}

// Uninstall removes a release and waits until its objects are gone.
func (h *Helm) Uninstall(ctx context.Context, release, namespace string) error {
	_, err := h.Run(ctx, "uninstall", release, "--namespace", namespace, "--wait", "--timeout", patience.String())
	return err
}
