package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/kubecluster"
	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	// site is the cluster's name.
	site = "dev"
	// repo is the image's repository in the registry.
	repo = "acme/shop"
)

// demo is one run.
type demo struct {
	opts     options
	out      *narrator
	results  io.Writer // where the JSON goes
	ground   *env.Ground
	world    *env.World
	minor    int // of the newest version pushed
	measured bool
}

func (d *demo) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.start, d.seed, d.deploy, d.release} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.measured = true
	if !d.opts.once {
		if err := d.tour(ctx); err != nil {
			return err
		}
	}
	if d.opts.keep {
		return d.stay(ctx)
	}
	return nil
}

// start brings up everything that is not Tandem.
func (d *demo) start(ctx context.Context) (err error) {
	began := time.Now()
	if d.opts.kubeconfig == "" {
		d.out.title("A Kubernetes control plane, a registry and a Git server")
		d.out.say("etcd, kube-apiserver and kube-controller-manager are the real ones, built from source into your cache " +
			"the first time, which takes some minutes. A simulated node plays kubelet: it runs nothing, but reports Pods as " +
			"ready, with the digest that the registry has for their image.")
	} else {
		d.out.title("Your cluster, a registry and a Git server")
		d.out.say("Into the cluster go the custom resource Sync, roles, a namespace of its own, and a simulated node that plays "+
			"kubelet for the demo's Pods, since the cluster's nodes cannot pull from this machine. The namespace and the node go "+
			"away in the end. Kubeconfig: %s.", d.opts.kubeconfig)
	}
	d.ground, err = env.StartGround(ctx, env.GroundOptions{Dir: d.opts.dir, Kubeconfig: d.opts.kubeconfig, Progress: d.out.progress})
	if err != nil {
		return err
	}
	options := env.Options{Name: "demo", Sites: []string{site}}
	if d.ground.Attached() {
		options.Name = fmt.Sprintf("tandem-demo-%d", os.Getpid())
	}
	if d.world, err = env.New(ctx, d.ground, options); err != nil {
		return err
	}
	d.out.say("Ready after %s: the API server at %s, the registry at %s, Git at %s.",
		time.Since(began).Round(100*time.Millisecond), d.ground.Kube.URL(), d.world.Registry.Host(), d.world.Git.URL(env.Repository))
	return nil
}

// seed puts the first version into the registry, and the application into Git.
func (d *demo) seed(ctx context.Context) error {
	d.out.title("A team's repository")
	pushed, err := d.world.Registry.Push(ctx, repo, d.version(), registry.Image{})
	if err != nil {
		return err
	}
	files, err := d.world.Sample(site, pushed.Reference())
	if err != nil {
		return err
	}
	commit, err := d.world.Commit(ctx, gitserver.Change{
		Files: files, Message: "Shop, as it runs today", Author: "Ada <ada@example.com>", Signer: d.world.Human,
	})
	if err != nil {
		return err
	}
	d.out.say("Somebody has pushed %s:%s. Ada commits a Deployment with two replicas of it, a Service, a ConfigMap, and two "+
		"files for Tandem: which image to follow, and which paths the cluster may receive. She signs the commit %.12s with her "+
		"SSH key; the cluster trusts that key, and not the Git host.", repo, d.version(), commit)
	d.out.show(".tandem/shop.yaml:\n" + indent(files[".tandem/shop.yaml"]))
	return nil
}

// deploy starts the agents and has the first version deployed.
func (d *demo) deploy(ctx context.Context) error {
	d.out.title("The two agents")
	began := time.Now()
	if err := d.world.StartAll(ctx); err != nil {
		return err
	}
	d.out.say("The automator stands outside the cluster: it watches the registry, commits to Git and relays Git. It has no " +
		"credential of the cluster. The synchronizer stands inside and dials out: it verifies every commit by keys that only the " +
		"cluster's administrator can change, and applies. It has no credential of Git or of the registry.")
	sync := env.SampleSyncFor(site)
	if err := d.world.Sites[site].Apply(ctx, sync); err != nil {
		return err
	}
	d.out.say("A Sync says what the namespace %s wants:", d.world.Sites[site].Namespace)
	d.out.show(sync)
	if _, err := d.world.WaitSync(ctx, site, env.SampleSync, env.Healthy); err != nil {
		return errors.Join(err, d.logs())
	}
	d.out.say("%s:%s runs, %s after the agents were started.", repo, d.version(), time.Since(began).Round(time.Millisecond))
	return nil
}

// release pushes the next version and watches it go through.
func (d *demo) release(ctx context.Context) error {
	d.minor++
	d.out.title("The main job: somebody pushes %s:%s", repo, d.version())
	d.out.say("From here on nobody touches anything.")
	pushed, err := d.world.Registry.Push(ctx, repo, d.version(), registry.Image{})
	if err != nil {
		return err
	}
	result, err := d.follow(ctx, pushed)
	if err != nil {
		return errors.Join(err, d.logs())
	}
	if err := d.check(ctx, pushed.Digest); err != nil {
		return errors.Join(err, d.logs())
	}
	return d.print(ctx, result)
}

// tour shows what a user would look at.
func (d *demo) tour(ctx context.Context) error {
	d.out.title("How it looks")
	tip, err := d.world.Git.Git(ctx, env.Repository, "show", "--no-color", "--format=%B", "main")
	if err != nil {
		return err
	}
	d.out.say("git show: the automator's commit changed one scalar and nothing else.")
	d.out.show(tip)
	for _, args := range [][]string{{"status"}, {"explain", "image", "web"}} {
		d.out.say("tandem %s:", strings.Join(args, " "))
		said, err := d.tandem(ctx, args...)
		if err != nil {
			return err
		}
		d.out.show(said)
	}
	return nil
}

// tandem runs the command line.
func (d *demo) tandem(ctx context.Context, args ...string) (string, error) {
	cmd := process.Command(ctx, d.ground.Program("tandem"), append([]string{"--config", d.world.CLIConfig()}, args...)...)
	said, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tandem %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return string(said), nil
}

// stay leaves everything running, and pushes another version whenever somebody
// asks for it.
func (d *demo) stay(ctx context.Context) error {
	kubeconfig := d.opts.kubeconfig
	if kubeconfig == "" {
		kubeconfig = filepath.Join(d.ground.Dir(), "admin.kubeconfig")
		if err := d.ground.Kube.WriteKubeconfig(kubeconfig, kubecluster.Admin); err != nil {
			return err
		}
	}
	namespace := d.world.Sites[site].Namespace
	d.out.title("Yours to look at, until Ctrl-C")
	d.out.show(fmt.Sprintf(`export PATH=%s:$PATH TANDEM_CONFIG=%s KUBECONFIG=%s

tandem status                        # clusters, Syncs, pipelines, problems
tandem watch --since 1h              # every step of every release
tandem where %s:%s
tandem explain image web             # why this tag and no other
tandem status --context %s           # the same from inside the cluster

kubectl get syncs,deployments,pods -n %s
kubectl describe sync %s -n %s
kubectl scale deployment web -n %s --replicas 5    # drift: it is put back
git -C %s log -p main
tail -f %s`,
		filepath.Join(d.ground.Dir(), "bin"), d.world.CLIConfig(), kubeconfig, d.world.Image(repo), d.version(), site,
		namespace, env.SampleSync, namespace, namespace, filepath.Join(d.world.Dir(), "git", env.Repository+".git"),
		filepath.Join(d.world.Dir(), "logs", "*.log")))
	d.out.say("Enter pushes the next version.")
	lines := make(chan struct{})
	var input inputReader
	input.read(os.Stdin, lines)
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-lines:
			if !open {
				<-ctx.Done()
				return nil
			}
			if err := d.release(ctx); err != nil {
				return err
			}
		}
	}
}

func (d *demo) version() string { return fmt.Sprintf("1.%d.0", d.minor) }

// logs are the ends of the agents' logs, for an error.
func (d *demo) logs() error {
	var errs []error
	for _, agent := range []*env.Agent{d.world.Automator, d.world.Sites[site].Synchronizer} {
		content, err := os.ReadFile(agent.Log())
		if err != nil {
			return err
		}
		errs = append(errs, fmt.Errorf("%s ends with:\n%s", agent.Log(), process.LastLines(content)))
	}
	return errors.Join(errs...)
}

func (d *demo) close() error {
	var errs []error
	if d.world != nil {
		errs = append(errs, d.world.Close())
	}
	if d.ground != nil {
		errs = append(errs, d.ground.Stop())
	}
	return errors.Join(errs...)
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}

// inputReader reads lines in a goroutine of its own, since a terminal cannot be
// asked to stop; it ends with the program.
type inputReader struct{}

func (inputReader) read(from io.Reader, lines chan<- struct{}) {
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(from); scanner.Scan(); {
			lines <- struct{}{}
		}
	}()
}
