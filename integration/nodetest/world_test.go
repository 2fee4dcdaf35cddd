//go:build linux

package nodetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tandem-cd/tandem/integration/env/cache"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/helm"
	"github.com/tandem-cd/tandem/integration/env/kubecluster"
	"github.com/tandem-cd/tandem/integration/env/node"
	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/integration/env/source"
	"github.com/tandem-cd/tandem/integration/images"
)

const (
	hostPlatform = "linux/" + runtime.GOARCH
	// shown is how much of a log a failure shows, in bytes.
	shown = 6000
)

// world is what a reader of the guide has before the first line: a cluster with a
// node, a registry, the source tree, and programs.
type world struct {
	source, dir string
	page        string // the guide
	guide       guide
	node        *node.Node
	cluster     *kubecluster.Cluster
	client      kubernetes.Interface
	registry    *registry.Registry
	images      string // the registry, as the node and Pods reach it
	shell       *shell
	git         *gitserver.Server
	automator   string // its address, as Ann reaches it
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.must(t, "find the source tree", func() (err error) { w.source, err = source.Dir(); return err })
	page, err := os.ReadFile(filepath.Join(w.source, "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	w.page, w.guide = string(page), readGuide(string(page))
	w.startCluster(t)
	w.must(t, "start registry", func() (err error) { w.registry, err = registry.Start(registry.Options{}); return err })
	stopped(t, "registry", w.registry.Stop)
	w.must(t, "expose registry", func() (err error) { w.images, err = w.node.Expose(t.Context(), w.registry.Host()); return err })
	w.joinNode(t)
	w.openShell(t)
	return w
}

// must fails the test with what was being done.
func (w *world) must(t *testing.T, what string, do func() error) {
	t.Helper()
	at := time.Now()
	if err := do(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	t.Logf("%s: %s", what, time.Since(at).Round(time.Millisecond))
}

// stopped stops something in the end, without fail.
func stopped(t *testing.T, what string, stop func() error) {
	t.Helper()
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop %s: %v", what, err)
		}
	})
}

func (w *world) startCluster(t *testing.T) {
	t.Helper()
	w.must(t, "make node", func() (err error) { w.node, err = node.New(t.Context()); return err })
	stopped(t, "node", w.node.Stop)
	w.must(t, "start control plane", func() (err error) {
		w.cluster, err = kubecluster.Start(t.Context(), kubecluster.Options{
			Controllers: true, APIServerArgs: w.node.APIServerArgs(), Builder: builder(t),
		})
		return err
	})
	stopped(t, "control plane", w.cluster.Stop)
	config, err := w.cluster.RESTConfig(kubecluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, "connect", func() (err error) { w.client, err = kubernetes.NewForConfig(config); return err })
}

func builder(t *testing.T) kubecluster.Builder {
	t.Helper()
	const every = 250 // packages
	return kubecluster.Builder{Progress: func(p kubecluster.Progress) {
		if p.Waiting || p.Done%every == 0 || p.Done == p.Total {
			t.Log(p)
		}
	}}
}

func (w *world) joinNode(t *testing.T) {
	t.Helper()
	sandbox := program{path: "pause", repository: "pause", tag: "1"}
	w.push(t, sandbox)
	w.must(t, "join node", func() error {
		return w.node.Join(t.Context(), node.Config{
			Cluster: w.cluster, Sandbox: w.images + "/" + sandbox.reference(), Registries: []string{w.images}, Builder: builder(t),
		})
	})
	t.Cleanup(func() {
		if t.Failed() {
			w.explain(t)
		}
	})
	w.must(t, "make a volume", func() error { return w.makeVolume(t.Context()) })
}

// makeVolume gives the cluster what most have, storage: a folder of the node, for
// the one claim of the guide.
func (w *world) makeVolume(ctx context.Context) error {
	dir := filepath.Join(w.dir, "volume")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	_, err := w.client.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "folder"},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("20Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: dir}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node.Name},
				}},
			}}}},
		},
	}, metav1.CreateOptions{})
	return err
}

// program is one of integration/cmd as an image.
type program struct {
	path, repository, tag string
	env                   []string
}

// reference is the image's, without its registry.
func (p program) reference() string { return p.repository + ":" + p.tag }

// push builds an image for this machine and pushes it. It returns its digest.
func (w *world) push(t *testing.T, p program) string {
	t.Helper()
	image, err := p.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.NewTag(w.registry.Repository(p.reference()))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, "push "+p.reference(), func() error { return remote.Write(to, image, remote.WithContext(t.Context())) })
	return digest.String()
}

func (p program) build(ctx context.Context) (v1.Image, error) {
	builder, err := images.NewBuilder(ctx, images.Options{Platforms: []string{hostPlatform}})
	if err != nil {
		return nil, err
	}
	built, err := builder.Build(ctx, images.Spec{Name: "tandem-" + p.path, Programs: "./integration/cmd/" + p.path})
	if err != nil {
		return nil, err
	}
	image := built.Platforms[0].Image
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Config.Env = append(config.Config.Env, p.env...)
	return mutate.ConfigFile(image, config)
}

// openShell opens the reader's shell: in a folder of theirs, with the programs
// that the guide asks for, and the cluster's kubeconfig.
func (w *world) openShell(t *testing.T) {
	t.Helper()
	bin, work, home := filepath.Join(w.dir, "bin"), filepath.Join(w.dir, "work"), filepath.Join(w.dir, "home")
	kubeconfig := filepath.Join(w.dir, "kubeconfig")
	w.must(t, "make folders", func() error {
		return errors.Join(os.Mkdir(bin, 0o755), os.Mkdir(work, 0o755), os.Mkdir(home, 0o755), w.cluster.WriteKubeconfig(kubeconfig, kubecluster.Admin))
	})
	w.must(t, "find Helm", func() error {
		_, err := helm.New(t.Context(), w.source, filepath.Join(w.dir, "helm"), kubeconfig)
		return errors.Join(err, os.Symlink(filepath.Join(w.source, ".tmp", "bin", "helm"), filepath.Join(bin, "helm")))
	})
	w.must(t, "build tandem", func() error {
		cmd := process.Command(t.Context(), "go", "build", "-o", bin+"/", "./automator/cmd/tandem")
		cmd.Dir = w.source
		said, err := cmd.CombinedOutput()
		return errors.Join(err, saying(said))
	})
	path := strings.Join([]string{bin, filepath.Dir(w.node.Kubectl()), os.Getenv("PATH")}, string(filepath.ListSeparator))
	env := append([]string{"HOME=" + home, "PATH=" + path, "KUBECONFIG=" + kubeconfig, "SOURCE=" + w.source}, keptEnv(t)...)
	w.shell = startShell(t, work, env...)
}

// keptEnv are settings that would go away with the user's home.
func keptEnv(t *testing.T) []string {
	t.Helper()
	kept, err := cache.Dir()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"GOCACHE", "GOMODCACHE", "GOPATH"}
	out, err := process.Command(t.Context(), "go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{cache.Variable + "=" + kept, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}
	for i, value := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		env = append(env, names[i]+"="+value)
	}
	return env
}

// saying is what a command has said, as an error; nil when it was nothing.
func saying(said []byte) error {
	if len(said) == 0 {
		return nil
	}
	return errors.New(string(said))
}

// explain shows what is needed to understand a failure.
func (w *world) explain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second) // the test's has ended
	defer cancel()
	for _, args := range [][]string{
		{"get", "pods,services,endpointslices,persistentvolumeclaims", "-A", "-o", "wide"},
		{"get", "syncs", "-A", "-o", "yaml"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
	} {
		cmd := process.Command(ctx, w.node.Kubectl(), append(args, "--kubeconfig", filepath.Join(w.dir, "kubeconfig"))...)
		said, _ := cmd.CombinedOutput() // it is all there is to say
		t.Logf("kubectl %s\n%s", strings.Join(args, " "), said)
	}
	components, pods := w.node.Logs()
	logs, _ := filepath.Glob(filepath.Join(components, "*.log"))         // fails on a bad pattern only
	of, _ := filepath.Glob(filepath.Join(pods, "tandem*", "*", "*.log")) // likewise
	for _, path := range append(logs, of...) {
		if content, err := os.ReadFile(path); err == nil {
			t.Logf("%s ends with:\n%s", path, content[max(0, len(content)-shown):])
		}
	}
}
