package simnode

import (
	"context"
	"encoding/json"
	"runtime"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

const (
	nodeAddress = "10.127.0.1"

	// The controller manager takes a node for lost that does not renew its
	// lease; these are a kubelet's own values.
	leaseDuration = 40 * time.Second
	renewInterval = 10 * time.Second
)

// register creates the Node object, already ready, or takes over the one that
// an earlier run has left.
func (n *Node) register(ctx context.Context) error {
	nodes := n.client.CoreV1().Nodes()
	_, err := nodes.Create(ctx, n.object(), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
			node, err := nodes.Get(ctx, n.cfg.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			node.Status = n.object().Status
			_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
			return err
		})
	}
	return err
}

func (n *Node) object() *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("1k"),
		corev1.ResourceMemory: resource.MustParse("1Ti"),
		corev1.ResourcePods:   resource.MustParse("10k"),
	}
	now := metav1.Now()
	var taints []corev1.Taint
	if n.cfg.Exclusive {
		taints = []corev1.Taint{{Key: "tandem.dev/simulated", Effect: corev1.TaintEffectNoSchedule}}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.cfg.Name, Labels: map[string]string{
			corev1.LabelHostname:   n.cfg.Name,
			corev1.LabelOSStable:   "linux",
			corev1.LabelArchStable: runtime.GOARCH,
		}},
		Spec: corev1.NodeSpec{Taints: taints},
		Status: corev1.NodeStatus{
			Capacity:    room,
			Allocatable: room,
			Addresses:   []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeAddress}},
			NodeInfo: corev1.NodeSystemInfo{
				OperatingSystem: "linux", Architecture: runtime.GOARCH,
				KubeletVersion: "simulated", ContainerRuntimeVersion: "simulated://0",
			},
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue,
				Reason: "Simulated", Message: "this node is simulated and runs nothing",
				LastHeartbeatTime: now, LastTransitionTime: now,
			}},
		},
	}
}

// heartbeat renews the node's lease. A renewal that fails is left to the next:
// the lease bears that, and an API server may be away for a while.
func (n *Node) heartbeat(ctx context.Context) error {
	ticker := time.NewTicker(renewInterval)
	defer ticker.Stop()
	for {
		_ = n.renew(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (n *Node) renew(ctx context.Context) error {
	leases := n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	seconds, now := int32(leaseDuration/time.Second), metav1.NowMicro()
	spec := coordinationv1.LeaseSpec{HolderIdentity: &n.cfg.Name, LeaseDurationSeconds: &seconds, RenewTime: &now}
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return err
	}
	// A patch and not an update: leases may not be updated without a resource version.
	_, err = leases.Patch(ctx, n.cfg.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: n.cfg.Name}, Spec: spec}, metav1.CreateOptions{})
	}
	return err
}
