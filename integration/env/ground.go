package env

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/integration/env/kubecluster"
	"github.com/tandem-cd/tandem/integration/env/simnode"
)

const (
	folderMode  = 0o755
	privateMode = 0o600

	// answerTimeout bounds the wait for an API server whose etcd has come back,
	// and answerInterval is how often it is asked.
	answerTimeout  = time.Minute
	answerInterval = 50 * time.Millisecond

	// nodeName is the simulated node.
	nodeName = "tandem-simnode"
)

// GroundOptions choose what worlds stand on. The zero value is a control plane
// of its own in a temporary folder.
type GroundOptions struct {
	// Dir is the work folder; where it is not given, one is made and Stop removes
	// it.
	Dir string
	// Kubeconfig attaches to a cluster that runs already instead of starting one.
	// Its current user must be allowed everything.
	Kubeconfig string
	// Bare installs nothing of the product in the cluster: no kind Sync, no roles.
	Bare bool
	// Audit records requests to the API server, see Kube.Requests.
	Audit bool
	// Profiles lets the API server be profiled, see Kube.Profile.
	Profiles bool
	// BetweenEtcd puts a proxy between the API server and etcd, see
	// Kube.EtcdProxy.
	BetweenEtcd bool
	// Progress is told what takes its time, a line each.
	Progress func(string)
}

// Ground is a Kubernetes control plane with a simulated node, and the programs
// of the product.
type Ground struct {
	// Kube is the control plane.
	Kube *kubecluster.Cluster
	// Client and Dynamic are the administrator's.
	Client  kubernetes.Interface
	Dynamic dynamic.Interface

	opts     GroundOptions
	source   string // the source tree
	remove   string // a folder Stop removes
	config   *rest.Config
	mapper   *mapper
	node     *simnode.Node
	tasks    sync.WaitGroup
	stopNode context.CancelFunc
	images   images
}

// StartGround builds the programs, starts the control plane, and installs what
// every world needs in it.
func StartGround(ctx context.Context, opts GroundOptions) (*Ground, error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	g := &Ground{opts: opts}
	if err := g.start(ctx); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	return g, nil
}

func (g *Ground) start(ctx context.Context) (err error) {
	if g.source, err = sourceDir(); err != nil {
		return err
	}
	if g.opts.Dir == "" {
		if g.opts.Dir, err = os.MkdirTemp("", "tandem-"); err != nil {
			return err
		}
		g.remove = g.opts.Dir
	}
	if err := os.MkdirAll(g.path("bin"), folderMode); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return copyPrograms(groupCtx, g.source, g.path("bin")) })
	group.Go(func() error { return g.startKube(groupCtx) })
	if err := group.Wait(); err != nil {
		return err
	}
	if err := g.connect(); err != nil {
		return err
	}
	if err := g.install(ctx); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	g.startNode()
	return nil
}

func (g *Ground) path(parts ...string) string {
	return filepath.Join(append([]string{g.opts.Dir}, parts...)...)
}

// Dir is the work folder.
func (g *Ground) Dir() string { return g.opts.Dir }

// Program is the path of one of the product's programs.
func (g *Ground) Program(name string) string { return g.path("bin", name) }

// Attached tells whether the cluster is somebody else's.
func (g *Ground) Attached() bool { return g.opts.Kubeconfig != "" }

func (g *Ground) startKube(ctx context.Context) (err error) {
	if g.Attached() {
		g.Kube, err = kubecluster.Attach(ctx, g.opts.Kubeconfig)
		return err
	}
	g.Kube, err = kubecluster.Start(ctx, kubecluster.Options{
		Dir: g.path("kubernetes"), LogDir: g.path("logs"), Controllers: true, Audit: g.opts.Audit, Profiles: g.opts.Profiles, BetweenEtcd: g.opts.BetweenEtcd,
		Builder: kubecluster.Builder{Progress: func(p kubecluster.Progress) { g.opts.Progress(p.String()) }},
	})
	return err
}

func (g *Ground) connect() (err error) {
	if g.config, err = g.Kube.RESTConfig(kubecluster.Admin); err != nil {
		return err
	}
	if g.Client, err = kubernetes.NewForConfig(g.config); err != nil {
		return err
	}
	g.Dynamic, err = dynamic.NewForConfig(g.config)
	g.mapper = newMapper(g.Client.Discovery())
	return err
}

// install applies what a user applies once per cluster.
func (g *Ground) install(ctx context.Context) error {
	if g.opts.Bare {
		return nil
	}
	for _, name := range []string{"crds/syncs.tandem.dev.yaml", "rbac/synchronizer.yaml"} {
		manifest, err := os.ReadFile(filepath.Join(g.source, "deploy", filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if err := g.Apply(ctx, "", string(manifest)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// startNode plays a node for the Pods of worlds. On a cluster that is somebody
// else's it leaves the Pods of others alone.
func (g *Ground) startNode() {
	cfg := simnode.Config{Name: nodeName, Resolve: g.images.resolve, Behave: g.images.behave, Exclusive: g.Attached()}
	g.node = simnode.New(g.Client, cfg)
	// The node outlives the start; Stop ends it.
	ctx, cancel := context.WithCancel(context.Background())
	g.stopNode = cancel
	g.tasks.Go(func() {
		if err := g.node.Run(ctx); err != nil && ctx.Err() == nil {
			g.opts.Progress("the simulated node ended: " + err.Error())
		}
	})
}

// Refresh starts the controllers and the simulated node anew. When the API server
// or its etcd has been away they look again after up to a minute, which is
// Kubernetes' patience and no property of what is tested.
func (g *Ground) Refresh(ctx context.Context) error {
	g.stopNode()
	g.tasks.Wait()
	defer g.startNode()
	if err := g.answers(ctx); err != nil {
		return err
	}
	return g.Kube.RestartControllers(ctx)
}

// answers waits until the API server reads from etcd: it serves before that.
func (g *Ground) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		_, err := g.Client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if ignoreNotFound(err) == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server does not answer: %w", err)
		case <-time.After(answerInterval):
		}
	}
}

// NodeName is where Pods of a world on an attached cluster have to be put, by
// spec.nodeName; on one of our own they get there by themselves.
func (g *Ground) NodeName() string {
	if g.Attached() {
		return nodeName
	}
	return ""
}

// Stop ends everything that StartGround began. From an attached cluster it takes
// the simulated node; the CRD and the synchronizer's roles stay, as they may be
// somebody's by now.
func (g *Ground) Stop() error {
	var errs []error
	if g.stopNode != nil {
		g.stopNode()
		g.tasks.Wait()
	}
	if g.Attached() && g.Client != nil {
		ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
		defer cancel()
		errs = append(errs, ignoreNotFound(g.Client.CoreV1().Nodes().Delete(ctx, nodeName, metav1.DeleteOptions{})))
	}
	if g.Kube != nil {
		errs = append(errs, g.Kube.Stop())
	}
	if g.remove != "" {
		errs = append(errs, os.RemoveAll(g.remove))
	}
	return errors.Join(errs...)
}

// images answers the simulated node for the registries of all worlds.
type images struct {
	mu         sync.Mutex
	registries map[string]simnode.Resolver // by host
	behaviours map[string]simnode.Behaviour
}

func (i *images) add(host string, resolve simnode.Resolver) (remove func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.registries == nil {
		i.registries = map[string]simnode.Resolver{}
	}
	i.registries[host] = resolve
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.registries, host)
	}
}

func (i *images) resolve(ctx context.Context, image string) (string, error) {
	host, _, _ := strings.Cut(image, "/")
	i.mu.Lock()
	resolve := i.registries[host]
	i.mu.Unlock()
	if resolve == nil {
		return "", fmt.Errorf("no registry at %q", host)
	}
	return resolve(ctx, image)
}

// foreignImage is the digest of an image that nobody here can look at.
func foreignImage(_ context.Context, image string) (string, error) {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(image))), nil
}

func (i *images) behave(pod *corev1.Pod) simnode.Behaviour {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.behaviours[pod.Namespace]
}

// Behave decides what becomes of the Pods of a namespace, those that run already
// included.
func (g *Ground) Behave(namespace string, behaviour simnode.Behaviour) {
	g.images.mu.Lock()
	if g.images.behaviours == nil {
		g.images.behaviours = map[string]simnode.Behaviour{}
	}
	g.images.behaviours[namespace] = behaviour
	g.images.mu.Unlock()
	g.node.Refresh()
}
