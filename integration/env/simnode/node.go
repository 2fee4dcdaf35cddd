package simnode

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/tandem-cd/tandem/shared/run"
)

const (
	defaultName    = "simnode"
	defaultWorkers = 8

	// A Pod that failed, for want of its image or by a conflict, is tried again
	// after firstRetry, then after twice as long each time up to lastRetry.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Resolver finds the digest of a full image reference at its registry. It fails
// when there is no such image.
type Resolver func(ctx context.Context, image string) (digest string, err error)

// Config of a node. The zero value takes every image on trust.
type Config struct {
	// Name of the Node object.
	Name string
	// Resolve looks images up. Without it every image exists: at the digest its
	// reference names, or at one made up from the reference.
	Resolve Resolver
	// Behave says what becomes of a Pod whose images exist; without it, and for
	// Default, see Default. It may be called at any time, from several
	// goroutines; Refresh has it asked again.
	Behave func(*corev1.Pod) Behaviour
	// Workers is how many Pods are worked on at once.
	Workers int
	// Exclusive leaves Pods to the cluster's own scheduler and keeps that away:
	// the node then plays only those that name it in spec.nodeName.
	Exclusive bool
}

// Node plays one node, for all Pods of a cluster unless it is exclusive.
type Node struct {
	cfg    Config
	client kubernetes.Interface
	pods   cache.SharedIndexInformer
	queue  workqueue.TypedRateLimitingInterface[cache.ObjectName]

	mu        sync.Mutex
	images    map[string]bool // named by their digest and found
	addresses uint32          // given to Pods so far
}

// New returns a node that Run starts, once.
func New(client kubernetes.Interface, cfg Config) *Node {
	cfg.Name = cmp.Or(cfg.Name, defaultName)
	cfg.Workers = cmp.Or(cfg.Workers, defaultWorkers)
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](firstRetry, lastRetry)
	pods := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, fields.Everything())
	return &Node{
		cfg:    cfg,
		client: client,
		pods:   cache.NewSharedIndexInformer(pods, &corev1.Pod{}, 0, nil),
		queue:  workqueue.NewTypedRateLimitingQueue(limiter),
		images: map[string]bool{},
	}
}

// Run registers the node and plays it until ctx is done. The Node object stays
// behind, as that of a machine that is switched off.
func (n *Node) Run(ctx context.Context) error {
	if err := n.register(ctx); err != nil {
		return fmt.Errorf("register node %s: %w", n.cfg.Name, err)
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.enqueue(object) },
		UpdateFunc: func(_, object any) { n.enqueue(object) },
	}
	if _, err := n.pods.AddEventHandler(handler); err != nil {
		return err
	}
	tasks := []run.Task{
		{Name: "heartbeat", Run: n.heartbeat},
		{Name: "watch", Run: n.watch},
	}
	for range n.cfg.Workers {
		tasks = append(tasks, run.Task{Name: "worker", Run: n.work})
	}
	return run.Group(ctx, tasks...)
}

// watch owns the queue's end too: workers leave when it is shut down.
func (n *Node) watch(ctx context.Context) error {
	defer n.queue.ShutDown()
	n.pods.RunWithContext(ctx)
	return nil
}

func (n *Node) work(ctx context.Context) error {
	for {
		name, shutdown := n.queue.Get()
		if shutdown {
			return nil
		}
		if err := n.sync(ctx, name); err != nil {
			n.queue.AddRateLimited(name)
		} else {
			n.queue.Forget(name)
		}
		n.queue.Done(name)
	}
}

// Refresh has every Pod looked at again, for when Behave has changed its mind.
func (n *Node) Refresh() {
	for _, object := range n.pods.GetStore().List() {
		n.enqueue(object)
	}
}

func (n *Node) enqueue(object any) {
	if pod, ok := object.(*corev1.Pod); ok {
		n.queue.Add(cache.MetaObjectToName(pod))
	}
}
