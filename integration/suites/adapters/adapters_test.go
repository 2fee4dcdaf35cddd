// Package adapters runs the tests of the synchronizer's adapters on a real API
// server.
package adapters

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/integration/env/kubecluster"
)

const (
	// kubeconfigVariable is where the tests look for a cluster, and kubetest the
	// package by which they do.
	kubeconfigVariable = "TANDEM_TEST_KUBECONFIG"
	kubetest           = "github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
)

func TestAdapters(t *testing.T) {
	packages := tested(t)
	if len(packages) == 0 {
		t.Fatalf("no package's tests import %s", kubetest)
	}
	args := []string{"test", "-count=1", "-v"}
	if raced() {
		args = append(args, "-race")
	}
	out, err := goCommand(t, append(args, packages...), kubeconfigVariable+"="+kubeconfig(t))
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "ok ") || !strings.HasPrefix(strings.TrimSpace(line), "=== ") && err != nil {
			t.Log(strings.TrimRight(line, "\n"))
		}
		if strings.Contains(line, kubeconfigVariable+" is not set") {
			t.Error("a test was skipped although there is a cluster: ", line)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// kubeconfig is that of the cluster which the environment names, or of one that
// lives as long as the test.
func kubeconfig(t *testing.T) string {
	t.Helper()
	if given := os.Getenv(kubeconfigVariable); given != "" {
		return given
	}
	cluster, err := kubecluster.Start(t.Context(), kubecluster.Options{Controllers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := cluster.WriteKubeconfig(path, kubecluster.Admin); err != nil {
		t.Fatal(err)
	}
	return path
}

// tested lists the packages whose tests want an API server, so that none is
// forgotten here.
func tested(t *testing.T) []string {
	t.Helper()
	out, err := goCommand(t, []string{"list", "-f", "{{.ImportPath}} {{join .TestImports \" \"}} {{join .XTestImports \" \"}}", "github.com/tandem-cd/tandem/synchronizer/..."})
	if err != nil {
		t.Fatal(err, out)
	}
	var packages []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); slices.Contains(words[1:], kubetest) {
			packages = append(packages, words[0])
		}
	}
	return packages
}

func goCommand(t *testing.T, args []string, environment ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// raced reports whether this test runs with the race detector; then those do
// too.
func raced() bool {
	build, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
