package kubecluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/tandem-cd/tandem/integration/env/cut"
	"github.com/tandem-cd/tandem/integration/env/process"
)

var (
	// ErrAttached is the answer to what only a cluster of our own can do.
	ErrAttached = errors.New("not possible on an attached cluster")
	errNoAudit  = errors.New("cluster was started without Options.Audit")
)

// Cluster is a running control plane. Its methods may be called at the same
// time, but for those that kill and start, and Stop, which are one caller's.
type Cluster struct {
	layout
	opts      Options
	programs  programs
	authority *authority // nil when attached
	admin     *http.Client
	attached  []byte // the kubeconfig given to Attach
	remove    string // a folder Stop removes

	etcd, apiserver, controllers *process.Process
	etcdProxy                    *cut.Proxy // nil without Options.BetweenEtcd
}

// Start brings a control plane up and returns when it is ready. ctx bounds the
// start only; Stop ends the cluster.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	programs, err := findPrograms(ctx, opts)
	if err != nil {
		return nil, err
	}
	c := &Cluster{opts: opts, programs: programs}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare control plane: %w", err), c.Stop())
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start control plane: %w", err), c.Stop())
	}
	return c, nil
}

// prepare makes the folders, keys and ports that the components are started on.
func (c *Cluster) prepare(ctx context.Context) error {
	dir := c.opts.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "kubecluster-"); err != nil {
			return err
		}
		c.remove = dir
	}
	ports, err := process.FreePorts(ctx, portCount)
	if err != nil {
		return err
	}
	c.layout = newLayout(dir, c.opts.LogDir, ports)
	if c.authority, err = newAuthority(); err != nil {
		return err
	}
	if c.admin, err = c.authority.adminClient(); err != nil {
		return err
	}
	return c.write()
}

// start starts each component once what it needs is ready. The controller
// manager gives up on an API server that is late, so it comes last.
func (c *Cluster) start(ctx context.Context) (err error) {
	if err = c.StartEtcd(ctx); err != nil {
		return err
	}
	if c.opts.BetweenEtcd {
		if c.etcdProxy, err = cut.Start(net.JoinHostPort(loopback, c.etcdPort)); err != nil {
			return err
		}
	}
	if err = c.StartAPIServer(ctx); err != nil {
		return err
	}
	return c.startControllers(ctx)
}

// RestartControllers kills the controllers, which may have lost their patience
// with an API server that was away, and starts them anew.
func (c *Cluster) RestartControllers(ctx context.Context) error {
	if c.attached != nil {
		return ErrAttached
	}
	c.controllers.Kill()
	return c.startControllers(ctx)
}

func (c *Cluster) startControllers(ctx context.Context) (err error) {
	if !c.opts.Controllers {
		return nil
	}
	if c.controllers, err = c.run(controllersName, c.controllerArgs()); err != nil {
		return err
	}
	return c.controllers.Ready(ctx, c.controllersReady)
}

func (c *Cluster) run(name string, args []string) (*process.Process, error) {
	return process.Start(process.Config{Name: name, Log: c.LogFile(name), Command: append(c.programs[name], args...)})
}

// RestartAPIServer kills the API server without warning and starts it again on
// the same port and data; it returns when the new one is ready.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	if err := c.KillAPIServer(); err != nil {
		return err
	}
	return c.StartAPIServer(ctx)
}

// KillAPIServer ends the API server without warning. Its port stays unused
// until StartAPIServer.
func (c *Cluster) KillAPIServer() error {
	if c.attached != nil {
		return ErrAttached
	}
	c.apiserver.Kill()
	return nil
}

// StartAPIServer starts the API server after KillAPIServer, and returns when it
// is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) (err error) {
	if c.attached != nil {
		return ErrAttached
	}
	if c.apiserver, err = c.run(apiserverName, c.apiserverArgs()); err != nil {
		return err
	}
	return c.apiserver.Ready(ctx, c.apiserverReady)
}

// Stop ends exactly the processes this cluster started, without warning, since
// nothing of their data is kept, and removes the folder Start made. It may be
// called again, and leaves an attached cluster alone.
func (c *Cluster) Stop() error {
	c.controllers.Kill()
	c.apiserver.Kill()
	c.etcd.Kill()
	var errs []error
	if c.etcdProxy != nil {
		errs = append(errs, c.etcdProxy.Stop())
		c.etcdProxy = nil
	}
	if c.remove != "" {
		errs = append(errs, os.RemoveAll(c.remove))
	}
	return errors.Join(errs...)
}

// Pin has the control plane run on one processor.
func (c *Cluster) Pin(processor int) error {
	if c.attached != nil {
		return ErrAttached
	}
	for _, p := range []*process.Process{c.etcd, c.apiserver, c.controllers} {
		if p == nil {
			continue
		}
		if err := process.Pin(p.ID(), processor); err != nil {
			return err
		}
	}
	return nil
}

// LogFile is where a component writes: etcd, kube-apiserver or
// kube-controller-manager.
func (c *Cluster) LogFile(component string) string {
	return filepath.Join(c.logDir, component+".log")
}
