package simnode

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// outcome is what has become of a Pod.
type outcome struct {
	ids       map[string]string // imageIDs by container
	pullErr   error
	behaviour Behaviour
	restarts  bool // containers that fail start again
}

func (o outcome) phase() corev1.PodPhase {
	switch {
	case o.pullErr != nil:
		return corev1.PodPending
	case o.behaviour == Completes:
		return corev1.PodSucceeded
	case o.behaviour == Crashes && !o.restarts:
		return corev1.PodFailed
	}
	return corev1.PodRunning
}

// containers are the statuses of a Pod's containers, or of its init containers,
// which have ended well once the images are there, but for sidecars.
func (o outcome) containers(specs []corev1.Container, old []corev1.ContainerStatus, before bool) []corev1.ContainerStatus {
	var statuses []corev1.ContainerStatus
	for _, c := range specs {
		behaviour := o.behaviour
		sidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		switch {
		case before && !sidecar:
			behaviour = Completes
		case before && behaviour != Completes:
			behaviour = Runs
		}
		status := corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: o.ids[c.Name]}
		status.State = o.state(c, behaviour)
		status.Ready = o.pullErr == nil && (behaviour == Runs || before)
		started := status.State.Running != nil
		status.Started = &started
		if o.pullErr == nil && behaviour == Crashes && o.restarts {
			status.RestartCount = 1
			status.LastTerminationState.Terminated = terminated(exitFailure)
		}
		keepTimes(&status, old)
		statuses = append(statuses, status)
	}
	return statuses
}

func (o outcome) state(c corev1.Container, behaviour Behaviour) corev1.ContainerState {
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	switch {
	case o.pullErr != nil && o.ids[c.Name] == "":
		return waiting(reasonPull, o.pullErr.Error())
	case o.pullErr != nil:
		return waiting(reasonWaiting, "")
	case behaviour == Completes:
		return corev1.ContainerState{Terminated: terminated(0)}
	case behaviour == Crashes && o.restarts:
		return waiting(reasonCrash, "")
	case behaviour == Crashes:
		return corev1.ContainerState{Terminated: terminated(exitFailure)}
	}
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now().Rfc3339Copy()}}
}

func terminated(code int32) *corev1.ContainerStateTerminated {
	now, reason := metav1.Now().Rfc3339Copy(), "Completed"
	if code != 0 {
		reason = "Error"
	}
	return &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: now, FinishedAt: now}
}

// keepTimes takes over the times of a container that is as it was.
func keepTimes(status *corev1.ContainerStatus, old []corev1.ContainerStatus) {
	for _, o := range old {
		if o.Name != status.Name || o.ImageID != status.ImageID {
			continue
		}
		keepState(&status.State, o.State)
		keepState(&status.LastTerminationState, o.LastTerminationState)
	}
}

func keepState(state *corev1.ContainerState, old corev1.ContainerState) {
	switch {
	case state.Running != nil && old.Running != nil:
		state.Running.StartedAt = old.Running.StartedAt
	case state.Terminated != nil && old.Terminated != nil && state.Terminated.ExitCode == old.Terminated.ExitCode:
		state.Terminated.StartedAt, state.Terminated.FinishedAt = old.Terminated.StartedAt, old.Terminated.FinishedAt
	}
}
