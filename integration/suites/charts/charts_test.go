// Package charts installs, upgrades and uninstalls the Helm charts on a real API server.
package charts

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/helm"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	source = "../../.."

	system    = "tandem-system"
	listed    = "shop"
	unlisted  = "elsewhere"
	cluster   = "dev"
	automator = "tandem-automator"
	agent     = "tandem-synchronizer"

	fileMode = 0o600
)

var (
	syncs       = schema.GroupVersionResource{Group: "tandem.dev", Version: "v1alpha1", Resource: "syncs"}
	kinds       = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	configs     = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	roles       = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
)

// installation is what the steps of a test share.
type installation struct {
	*env.World

	helm *helm.Helm
	dir  string
}

// prepare starts a control plane on which nothing of the product is installed, a world with an automator that runs, and
// the namespaces as an administrator makes them.
func prepare(t *testing.T) *installation {
	t.Helper()
	ground, err := env.StartGround(t.Context(), env.GroundOptions{Bare: true, Progress: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ends(t, ground.Stop()) })
	world, err := env.New(t.Context(), ground, env.Options{Name: "charts"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ends(t, world.Close()) })
	i := &installation{World: world, dir: t.TempDir()}
	kubeconfig := filepath.Join(i.dir, "admin.kubeconfig")
	if err := ground.Kube.WriteKubeconfig(kubeconfig, "admin"); err != nil {
		t.Fatal(err)
	}
	if i.helm, err = helm.New(t.Context(), source, filepath.Join(i.dir, "helm"), kubeconfig); err != nil {
		t.Fatal(err)
	}
	i.makeNamespaces(t)
	i.makeImages(t)
	return i
}

func ends(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func (i *installation) makeNamespaces(t *testing.T) {
	t.Helper()
	for _, name := range []string{system, listed, unlisted} {
		manifest := "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + name + "\n"
		if name == system {
			manifest += "  labels: {pod-security.kubernetes.io/enforce: restricted}\n"
		}
		if err := i.Apply(t.Context(), "", manifest); err != nil {
			t.Fatal(err)
		}
	}
}

// makeImages pushes what the simulated node resolves for the charts' Pods.
func (i *installation) makeImages(t *testing.T) {
	t.Helper()
	for _, name := range []string{"tandem-cd/tandem-automator", "tandem-cd/tandem-synchronizer"} {
		if _, err := i.Registry.Push(t.Context(), name, "0.1.0", registry.Image{}); err != nil {
			t.Fatal(err)
		}
	}
}

// secret makes a Secret of files.
func (i *installation) secret(t *testing.T, name string, files map[string]string) {
	t.Helper()
	data := map[string][]byte{}
	for key, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[key] = content
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: system}, Data: data}
	if _, err := i.Client.CoreV1().Secrets(system).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// values writes a file of values.
func (i *installation) values(t *testing.T, name string, content map[string]any) string {
	t.Helper()
	raw, err := yaml.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(i.dir, name+".values.yaml")
	if err := os.WriteFile(path, raw, fileMode); err != nil {
		t.Fatal(err)
	}
	return path
}

func (i *installation) install(t *testing.T, release, chart, values string) {
	t.Helper()
	if err := i.helm.Install(t.Context(), release, chart, system, "--values", values); err != nil {
		t.Fatal(err)
	}
}

func chart(name string) string { return filepath.Join(source, "deploy", "charts", name) }

// commit puts files on the branch that Syncs follow, as the person whom the cluster trusts.
func (i *installation) commit(t *testing.T, files map[string]string) {
	t.Helper()
	if _, err := i.Commit(t.Context(), gitserver.Change{Files: files, Signer: i.Human}); err != nil {
		t.Fatal(err)
	}
}

// waitObject waits until an object is as it should be.
func (i *installation) waitObject(t *testing.T, resource schema.GroupVersionResource, namespace, name string, ok func(*unstructured.Unstructured) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), env.WaitTimeout)
	defer cancel()
	target := i.Dynamic.Resource(resource).Namespace(namespace)
	watch, err := target.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	last := "never there"
	for event := range watch.ResultChan() {
		object, isObject := event.Object.(*unstructured.Unstructured)
		if !isObject {
			continue
		}
		if ok(object) {
			return
		}
		raw, _ := yaml.Marshal(object.Object)
		last = string(raw)
	}
	t.Fatalf("%s %s/%s is not as it should be:\n%s", resource.Resource, namespace, name, last)
}

// state is the summary of a Sync.
func state(want string) func(*unstructured.Unstructured) bool {
	return func(sync *unstructured.Unstructured) bool {
		got, _, _ := unstructured.NestedString(sync.Object, "status", "state")
		return got == want
	}
}

// exists tells whether the administrator finds an object.
func (i *installation) exists(t *testing.T, resource schema.GroupVersionResource, namespace, name string) bool {
	t.Helper()
	_, err := i.Dynamic.Resource(resource).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }

// manifest is a ConfigMap in Git.
func manifest(name, text string) string {
	return strings.NewReplacer("NAME", name, "TEXT", text).Replace("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {text: TEXT}\n")
}
