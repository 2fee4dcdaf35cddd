package simnode

import corev1 "k8s.io/api/core/v1"

// Behaviour is what becomes of a Pod's containers once their images are there.
type Behaviour int

// The behaviours of a Pod.
const (
	// Default is Runs for Pods that are always restarted, Completes for others.
	Default Behaviour = iota
	// Runs is Running and ready.
	Runs
	// NeverReady is Running and not ready, as by a failing probe.
	NeverReady
	// Crashes is CrashLoopBackOff, or Failed where it is not restarted.
	Crashes
	// Completes is ended with success; Pods that are always restarted run instead.
	Completes
)

func (n *Node) behaviour(pod *corev1.Pod) Behaviour {
	chosen := Default
	if n.cfg.Behave != nil {
		chosen = n.cfg.Behave(pod)
	}
	always := pod.Spec.RestartPolicy == corev1.RestartPolicyAlways
	switch {
	case chosen == Default && !always:
		return Completes
	case chosen == Default, chosen == Completes && always:
		return Runs
	}
	return chosen
}
