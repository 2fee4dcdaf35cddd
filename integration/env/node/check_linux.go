package node

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tandem-cd/tandem/integration/env/process"
)

const (
	// plugins is where Debian installs the CNI plugins.
	plugins = "/usr/lib/cni"
	// probeTimeout bounds the trial of what a node needs of the kernel.
	probeTimeout = time.Minute
)

//go:embed probe.sh
var probe string

// required lists programs and the Debian packages they are in.
func required() [][2]string {
	return [][2]string{
		{"containerd", "containerd"},
		{"containerd-shim-runc-v2", "containerd"},
		{"runc", "runc"},
		{"iptables", "iptables"},
		{"ip", "iproute2"},
		{"unshare", "util-linux"},
		{"nsenter", "util-linux"},
		{"mount", "mount"},
		{filepath.Join(plugins, "bridge"), "containernetworking-plugins"},
		{filepath.Join(plugins, "host-local"), "containernetworking-plugins"},
	}
}

// Check returns every reason why a node cannot run on this machine, and nil when
// there is none. It tries what the kernel has to allow.
func Check(ctx context.Context) error {
	var problems []error
	if os.Getuid() != 0 {
		problems = append(problems, errors.New("root is needed, for namespaces, mounts and cgroups"))
	}
	for _, each := range required() {
		if _, err := exec.LookPath(each[0]); err != nil {
			problems = append(problems, fmt.Errorf("%s is missing: apt-get install %s", each[0], each[1]))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	return try(ctx)
}

// try runs the probe, a container among other things, in namespaces like a node's.
func try(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	h, err := newHome()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.remove(ctx)) }()
	if err := h.makeCgroups(); err != nil {
		return fmt.Errorf("cgroups cannot be made: %w", err)
	}
	cmd := process.Command(ctx, "unshare", append(unshareFlags(), "bash", "-c", probe, "probe", h.dir, h.cgroup())...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("this machine refuses what a node needs: %w\n%s", err, bytes.TrimSpace(process.LastLines(said)))
	}
	return nil
}
