package simnode

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// sync takes a Pod its next step. The step's effect comes back by the watch and
// leads to the one after, so a lost event is the only thing that is repeated.
func (n *Node) sync(ctx context.Context, name cache.ObjectName) error {
	object, exists, err := n.pods.GetStore().GetByKey(name.String())
	if err != nil || !exists {
		return err
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil
	}
	switch {
	case pod.DeletionTimestamp != nil:
		err = n.remove(ctx, pod)
	case ended(pod) || len(pod.Spec.SchedulingGates) > 0:
		return nil
	case pod.Spec.NodeName == "":
		if !n.cfg.Exclusive {
			err = n.bind(ctx, pod)
		}
	case pod.Spec.NodeName == n.cfg.Name:
		err = n.report(ctx, pod)
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // the Pod has changed or gone; the watch says so
	}
	return err
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// remove confirms a deletion, as a kubelet does once the containers are gone.
// A Pod held by a finalizer has been confirmed already and waits for others.
func (n *Node) remove(ctx context.Context, pod *corev1.Pod) error {
	grace := pod.DeletionGracePeriodSeconds
	if pod.Spec.NodeName != n.cfg.Name || (grace != nil && *grace == 0) {
		return nil
	}
	options := metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
	return n.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options)
}

func (n *Node) bind(ctx context.Context, pod *corev1.Pod) error {
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: n.cfg.Name},
	}
	return n.client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{})
}

// report writes the Pod's status where it differs. It fails with the pull of
// an image, so that the queue tries that again.
func (n *Node) report(ctx context.Context, pod *corev1.Pod) error {
	ids, pullErr := n.pull(ctx, pod)
	if ctx.Err() != nil {
		return ctx.Err() // says nothing about the image
	}
	status := n.status(pod, ids, pullErr)
	if equality.Semantic.DeepEqual(pod.Status, status) {
		return pullErr
	}
	patch, err := json.Marshal(map[string]any{
		// Lists are replaced whole, so nobody may have added to them meanwhile.
		"metadata": map[string]any{"uid": pod.UID, "resourceVersion": pod.ResourceVersion},
		"status":   status,
	})
	if err != nil {
		return err
	}
	_, err = n.client.CoreV1().Pods(pod.Namespace).
		Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return err
	}
	return pullErr
}
