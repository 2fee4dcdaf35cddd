package simnode_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/integration/env/kubecluster"
	"github.com/tandem-cd/tandem/integration/env/simnode"
)

const (
	digest      = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	otherDigest = "sha256:4567890123456789012345678901234567890123456789012345678901234567"
	repository  = "registry.example.com/team/app"

	// behaviourLabel of a Pod says how the tests' node has it behave.
	behaviourLabel = "behave"

	// waitTimeout bounds a wait for the cluster on a busy machine.
	waitTimeout = 2 * time.Minute
)

// world is the control plane and the node all tests of this package share.
type world struct {
	client *kubernetes.Clientset
	node   *simnode.Node
	images images
	sick   atomic.Bool // Pods with the label turn unready
	stop   func() error
}

// images is the registry: which tags there are.
type images struct {
	mu   sync.Mutex
	tags map[string]string
}

func (i *images) push(image, digest string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tags[image] = digest
}

func (i *images) resolve(_ context.Context, image string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, pinned, ok := strings.Cut(image, "@"); ok && pinned == digest {
		return digest, nil
	}
	if found, ok := i.tags[image]; ok {
		return found, nil
	}
	return "", errors.New("manifest unknown")
}

var (
	started = sync.OnceValues(startWorld)
	inUse   atomic.Bool
)

func startWorld() (*world, error) {
	cluster, err := kubecluster.Start(context.Background(), kubecluster.Options{Controllers: true})
	if err != nil {
		return nil, err
	}
	config, err := cluster.RESTConfig(kubecluster.Admin)
	if err != nil {
		return nil, errors.Join(err, cluster.Stop())
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, errors.Join(err, cluster.Stop())
	}
	client, err := kubernetes.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, errors.Join(err, cluster.Stop())
	}
	w := &world{client: client, images: images{tags: map[string]string{repository + ":1": otherDigest}}}
	// One worker takes Pods in the order of their events, which
	// TestSettledPodIsLeftAlone relies on.
	w.node = simnode.New(client, simnode.Config{Resolve: w.images.resolve, Behave: w.behave, Workers: 1})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.node.Run(ctx) }()
	w.stop = func() error {
		cancel()
		err := <-ended
		httpClient.CloseIdleConnections()
		return errors.Join(err, cluster.Stop())
	}
	return w, nil
}

func (w *world) behave(pod *corev1.Pod) simnode.Behaviour {
	switch pod.Labels[behaviourLabel] {
	case "crash":
		return simnode.Crashes
	case "sick":
		if w.sick.Load() {
			return simnode.NeverReady
		}
	}
	return simnode.Default
}

func TestMain(m *testing.M) {
	code := m.Run()
	if inUse.Load() {
		if w, err := started(); err == nil {
			if err := w.stop(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func shared(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Kubernetes control plane, which takes seconds to start and minutes to build once")
	}
	inUse.Store(true)
	w, err := started()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// fresh makes a name that no other test, nor an earlier round of the same, has.
func fresh(name string) string { return name + "-" + strings.ToLower(rand.Text()) }

func template(name, image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			Containers:     []corev1.Container{{Name: "app", Image: image}},
			InitContainers: []corev1.Container{{Name: "init", Image: repository + "@" + digest}},
		},
	}
}

func (w *world) createPod(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if _, err := w.client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func podOf(name, image string) *corev1.Pod {
	made := template(name, image)
	made.Name = name
	return &corev1.Pod{ObjectMeta: made.ObjectMeta, Spec: made.Spec}
}

// await watches the Pods labelled by the name until one is as wanted.
func (w *world) await(t *testing.T, name string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	pods, err := w.client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer pods.Stop()
	var last *corev1.Pod
	for event := range pods.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		if last = pod; event.Type != watch.Deleted && wanted(pod) {
			return pod
		}
	}
	t.Fatalf("Pods of %s never came to be as wanted; the last: %+v", name, last)
	return nil
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func waiting(reason string) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		statuses := pod.Status.ContainerStatuses
		return len(statuses) == 1 && statuses[0].State.Waiting != nil && statuses[0].State.Waiting.Reason == reason
	}
}

func TestDeploymentBecomesAvailable(t *testing.T) {
	t.Parallel()
	w, name := shared(t), fresh("available")
	two := int32(2)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &two,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template: template(name, repository+":1@"+digest),
		},
	}
	deployments := w.client.AppsV1().Deployments("default")
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	events, err := deployments.Watch(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	if _, err := deployments.Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	available := false
	for event := range events.ResultChan() {
		if got, ok := event.Object.(*appsv1.Deployment); ok && got.Status.AvailableReplicas == two {
			available = true
			break
		}
	}
	if !available {
		t.Fatal("the Deployment never had its replicas available")
	}
	pod := w.await(t, name, ready)
	status := pod.Status.ContainerStatuses[0]
	if want := repository + "@" + digest; status.ImageID != want || pod.Spec.NodeName != "simnode" || pod.Status.PodIP == "" {
		t.Errorf("Pod: imageID %s on %s at %q, want %s on simnode at an address", status.ImageID, pod.Spec.NodeName, pod.Status.PodIP, want)
	}
}

func TestTagIsResolved(t *testing.T) {
	t.Parallel()
	w, name := shared(t), fresh("tagged")
	w.createPod(t, podOf(name, repository+":1"))
	pod := w.await(t, name, ready)
	if got, want := pod.Status.ContainerStatuses[0].ImageID, repository+"@"+otherDigest; got != want {
		t.Errorf("imageID: %s, want %s", got, want)
	}
}

func TestMissingImageIsTriedAgain(t *testing.T) {
	t.Parallel()
	w, name := shared(t), fresh("missing")
	image := repository + ":" + name
	w.createPod(t, podOf(name, image))
	pod := w.await(t, name, waiting("ErrImagePull"))
	if pod.Status.Phase != corev1.PodPending || ready(pod) {
		t.Errorf("Pod without an image: %s, want Pending", pod.Status.Phase)
	}
	w.images.push(image, digest)
	w.await(t, name, ready)
}

func TestDeletedPodGoes(t *testing.T) {
	t.Parallel()
	w, name := shared(t), fresh("deleted")
	w.createPod(t, podOf(name, repository+":1"))
	pod := w.await(t, name, ready)
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	pods := w.client.CoreV1().Pods("default")
	events, err := pods.Watch(ctx, metav1.ListOptions{LabelSelector: "app=" + name, ResourceVersion: pod.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	if err := pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for event := range events.ResultChan() {
		if event.Type == watch.Deleted {
			return
		}
	}
	t.Error("the Pod never went")
}

func TestJobCompletes(t *testing.T) {
	t.Parallel()
	w, name := shared(t), fresh("job")
	pods := template(name, repository+":1")
	pods.Spec.RestartPolicy = corev1.RestartPolicyNever
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: batchv1.JobSpec{Template: pods}}
	if _, err := w.client.BatchV1().Jobs("default").Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.await(t, name, func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodSucceeded })
}

func TestCrashingPod(t *testing.T) {
	t.Parallel()
	w, name := shared(t), fresh("crashing")
	pod := podOf(name, repository+":1")
	pod.Labels[behaviourLabel] = "crash"
	w.createPod(t, pod)
	if got := w.await(t, name, waiting("CrashLoopBackOff")); ready(got) {
		t.Error("the crashing Pod is ready")
	}
}

func TestRefreshAsksAgain(t *testing.T) {
	t.Parallel()
	w, name := shared(t), fresh("sick")
	pod := podOf(name, repository+":1")
	pod.Labels[behaviourLabel] = "sick"
	w.createPod(t, pod)
	w.await(t, name, ready)
	w.sick.Store(true)
	defer w.sick.Store(false)
	w.node.Refresh()
	w.await(t, name, func(pod *corev1.Pod) bool { return !ready(pod) })
}

func TestSettledPodIsLeftAlone(t *testing.T) {
	t.Parallel()
	w, name := shared(t), fresh("settled")
	w.createPod(t, podOf(name, repository+":1"))
	before := w.await(t, name, ready)
	w.node.Refresh()
	marker := fresh("marker")
	w.createPod(t, podOf(marker, repository+":1"))
	w.await(t, marker, ready) // worked on after the refreshed ones
	after := w.await(t, name, ready)
	if after.ResourceVersion != before.ResourceVersion {
		t.Errorf("settled Pod: version %s became %s, want it untouched", before.ResourceVersion, after.ResourceVersion)
	}
}
