package simnode

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	reasonPull     = "ErrImagePull"
	reasonCrash    = "CrashLoopBackOff"
	reasonWaiting  = "PodInitializing"
	reasonUnready  = "ContainersNotReady"
	reasonEnded    = "PodCompleted"
	exitFailure    = 1
	firstPodNumber = 10<<24 | 128<<16 // 10.128.0.0
)

// status is what the Pod's status should be. Times are kept where nothing
// changed, so that a settled Pod's status equals the one it has.
func (n *Node) status(pod *corev1.Pod, ids map[string]string, pullErr error) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	n.address(&status)
	chosen := n.behaviour(pod)
	outcome := outcome{ids: ids, pullErr: pullErr, behaviour: chosen, restarts: pod.Spec.RestartPolicy != corev1.RestartPolicyNever}
	status.InitContainerStatuses = outcome.containers(pod.Spec.InitContainers, status.InitContainerStatuses, true)
	status.ContainerStatuses = outcome.containers(pod.Spec.Containers, status.ContainerStatuses, false)
	status.Phase = outcome.phase()
	condition := corev1.PodCondition{Status: corev1.ConditionFalse, Reason: reasonUnready}
	switch {
	case pullErr == nil && chosen == Runs:
		condition = corev1.PodCondition{Status: corev1.ConditionTrue}
	case status.Phase == corev1.PodSucceeded:
		condition.Reason = reasonEnded
	}
	for _, kind := range []corev1.PodConditionType{corev1.ContainersReady, corev1.PodReady} {
		condition.Type = kind
		setCondition(&status, condition)
	}
	initialized := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if pullErr != nil && len(pod.Spec.InitContainers) > 0 {
		initialized.Status = corev1.ConditionFalse
	}
	setCondition(&status, initialized)
	return status
}

// address gives the Pod a start and an address of its own, once.
func (n *Node) address(status *corev1.PodStatus) {
	if status.PodIP != "" {
		return
	}
	n.mu.Lock()
	n.addresses++
	number := firstPodNumber + n.addresses
	n.mu.Unlock()
	ip := netip.AddrFrom4([4]byte{byte(number >> 24), byte(number >> 16), byte(number >> 8), byte(number)}).String()
	now := metav1.Now().Rfc3339Copy() // as the API server keeps it
	status.StartTime = &now
	status.HostIP, status.HostIPs = nodeAddress, []corev1.HostIP{{IP: nodeAddress}}
	status.PodIP, status.PodIPs = ip, []corev1.PodIP{{IP: ip}}
}

// setCondition replaces the condition of its type, and its time only when its
// status changes.
func setCondition(status *corev1.PodStatus, condition corev1.PodCondition) {
	condition.LastTransitionTime = metav1.Now().Rfc3339Copy()
	for i, old := range status.Conditions {
		if old.Type != condition.Type {
			continue
		}
		condition.ObservedGeneration = old.ObservedGeneration
		if old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		status.Conditions[i] = condition
		return
	}
	status.Conditions = append(status.Conditions, condition)
}
