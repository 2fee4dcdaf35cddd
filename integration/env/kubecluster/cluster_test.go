package kubecluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// eventuallyTimeout bounds what may fail for a while.
	eventuallyTimeout  = 2 * time.Minute
	eventuallyInterval = 50 * time.Millisecond
)

var errNotReady = errors.New("not ready")

// started is the control plane all tests of this package share.
var started = sync.OnceValues(func() (*Cluster, error) {
	return Start(context.Background(), Options{
		Controllers: true,
		Audit:       true,
		Builder:     Builder{Progress: func(p Progress) { fmt.Fprintln(os.Stderr, p) }},
	})
})

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// inUse says that a test has asked for the control plane.
var inUse atomic.Bool

func stopShared() error {
	if !inUse.Load() {
		return nil
	}
	c, err := started()
	if err != nil {
		return nil //nolint:nilerr // a test has said so
	}
	return c.Stop()
}

func shared(t *testing.T) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Kubernetes control plane, which takes seconds to start and minutes to build once")
	}
	inUse.Store(true)
	c, err := started()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fresh makes a name that no other test, nor an earlier round of the same, has.
func fresh(name string) string { return name + "-" + strings.ToLower(rand.Text()) }

func client(t *testing.T, c *Cluster, user string, groups ...string) *kubernetes.Clientset {
	t.Helper()
	config, err := c.RESTConfig(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return clientOf(t, config)
}

func clientOf(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(httpClient.CloseIdleConnections)
	set, err := kubernetes.NewForConfigAndClient(config, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestVersion(t *testing.T) {
	c := shared(t)
	version, err := client(t, c, Admin).ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	from, _, err := Builder{}.locate()
	if err != nil {
		t.Fatal(err)
	}
	if version.GitVersion != from.version {
		t.Errorf("ServerVersion(): %s, want %s", version.GitVersion, from.version)
	}
}

func TestUsersAreKnownByTheirGroups(t *testing.T) {
	c := shared(t)
	group := fresh("viewers")
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: group},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}},
	}
	_, err := client(t, c, Admin).RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list := func(set *kubernetes.Clientset) error {
		_, err := set.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
		return err
	}
	stranger, viewer := client(t, c, "jane"), client(t, c, "jane", group)
	if err := list(stranger); !apierrors.IsForbidden(err) {
		t.Errorf("list as a stranger: %v, want forbidden", err)
	}
	// The authorizer learns of the binding by a watch.
	err = eventually(t, func() error { return list(viewer) })
	if err != nil {
		t.Errorf("list as a viewer: %v", err)
	}
}

// eventually repeats what may fail for a while, for as long as eventuallyTimeout.
func eventually(t *testing.T, try func() error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), eventuallyTimeout)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(eventuallyInterval):
		}
	}
}

func TestDeploymentBecomesPods(t *testing.T) {
	c := shared(t)
	set := client(t, c, Admin)
	name := fresh("web")
	labels := map[string]string{"app": name}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "example.com/web:1"}}},
			},
		},
	}
	pods, err := set.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer pods.Stop()
	if _, err := set.AppsV1().Deployments("default").Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	event := <-pods.ResultChan()
	pod, ok := event.Object.(*corev1.Pod)
	if !ok || pod.Status.Phase != corev1.PodPending {
		t.Errorf("first event of the Deployment's Pods: %+v, want a pending Pod", event)
	}
}

func TestRequestsOfImpersonator(t *testing.T) {
	c := shared(t)
	user := fresh("auditor")
	config, err := c.RESTConfig(user, adminGroup)
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: "somebody", Groups: []string{adminGroup}}
	set := clientOf(t, config)
	apply := corev1apply.ConfigMap("counted", "default").WithData(map[string]string{"a": "b"})
	_, err = set.CoreV1().ConfigMaps("default").Apply(t.Context(), apply, metav1.ApplyOptions{FieldManager: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var requests []Request
	err = eventually(t, func() error { // the record is written after the answer
		if requests, err = c.Requests(user); err == nil && len(requests) == 0 {
			err = errNotReady
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := requests[0]
	got := []string{r.Verb, r.Impersonated, r.Resource, r.Name}
	if want := []string{"patch", "somebody", "configmaps", "counted"}; len(requests) != 1 || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("Requests(...): %+v, want one with %v", requests, want)
	}
}

func TestAttach(t *testing.T) {
	c := shared(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.WriteKubeconfig(path, Admin); err != nil {
		t.Fatal(err)
	}
	attached, err := Attach(t.Context(), path)
	if err != nil {
		t.Fatalf("Attach(...): %v", err)
	}
	if attached.URL() != c.URL() {
		t.Errorf("URL(): %s, want %s", attached.URL(), c.URL())
	}
	_, err = client(t, attached, "jane").CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("list as an impersonated stranger: %v, want forbidden", err)
	}
	if err := attached.Stop(); err != nil {
		t.Errorf("Stop(): %v", err)
	}
	if err := c.ask(t.Context(), c.URL()+"/readyz"); err != nil {
		t.Errorf("after Stop of the attached: %v, want it untouched", err)
	}
}

func TestRestartAPIServer(t *testing.T) {
	c := shared(t)
	set, name := client(t, c, Admin), fresh("kept")
	if _, err := set.CoreV1().ConfigMaps("default").Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	before := c.apiserver.ID()
	if err := c.RestartAPIServer(t.Context()); err != nil {
		t.Fatalf("RestartAPIServer(...): %v", err)
	}
	if c.apiserver.ID() == before {
		t.Error("RestartAPIServer(...): the same process, want a new one")
	}
	if _, err := client(t, c, Admin).CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{}); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func TestFailedStartTellsWhy(t *testing.T) {
	shared(t) // for its reasons to skip, and so that the program is built
	dir := filepath.Join(t.TempDir(), "cluster")
	_, err := Start(t.Context(), Options{Dir: dir, APIServerArgs: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("Start(...): %v, want the API server's own words", err)
	}
}

func TestStartWantsEmptyFolder(t *testing.T) {
	shared(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "mine"), "")
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil {
		t.Error("Start(...) in a folder with files: no error, want a refusal")
	}
}

func TestKillEtcd(t *testing.T) {
	c := shared(t)
	set, name := client(t, c, Admin), fresh("kept")
	if _, err := set.CoreV1().ConfigMaps("default").Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.KillEtcd(); err != nil {
		t.Fatal(err)
	}
	if err := c.StartEtcd(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := eventually(t, func() error { // the API server dials anew
		_, err := set.CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{})
		return err
	})
	if err != nil {
		t.Errorf("after etcd was killed: %v", err)
	}
}

func TestCompactEtcd(t *testing.T) {
	c := shared(t)
	set := client(t, c, Admin)
	list, err := set.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.CoreV1().ConfigMaps("default").Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fresh("newer")}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.CompactEtcd(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.RestartAPIServer(t.Context()); err != nil { // it remembers for a while by itself
		t.Fatal(err)
	}
	err = eventually(t, func() error {
		watch, err := set.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err == nil {
			defer watch.Stop()
			err = apierrors.FromObject((<-watch.ResultChan()).Object)
		}
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return nil
		}
		return fmt.Errorf("%w: %w", errNotReady, err)
	})
	if err != nil {
		t.Errorf("watch from before the compaction: %v, want 410 Gone", err)
	}
}
