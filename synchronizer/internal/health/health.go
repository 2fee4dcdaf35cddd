// Package health says how an object is doing in kstatus' words.
//
// Pure. Built-in kinds are judged by kstatus, and custom kinds by rules in CEL where there is one: those of well-known
// projects are shipped, others come from configuration. Kinds that neither knows are Current when they have no conditions
// that say otherwise.
package health

import (
	"cmp"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// State is one of kstatus' words.
type State uint8

// The states. NotFound is an object that is not there.
const (
	Unknown State = iota
	Current
	InProgress
	Failed
	Terminating
	NotFound
)

// String returns kstatus' word.
func (s State) String() string {
	switch s {
	case Unknown:
	case Current:
		return "Current"
	case InProgress:
		return "InProgress"
	case Failed:
		return "Failed"
	case Terminating:
		return "Terminating"
	case NotFound:
		return "NotFound"
	}
	return "Unknown"
}

// maxMessage bounds what is kept of a message, in bytes: one is held for every object that is not Current.
const maxMessage = 256

// Status is an object's health.
type Status struct {
	State State
	// Message says why; empty for Current.
	Message string
}

// Of returns the health of an object as the API server gave it.
func Of(object *unstructured.Unstructured) Status {
	if object == nil {
		return Status{State: NotFound}
	}
	result, err := status.Compute(object)
	if err != nil {
		return Status{State: Unknown, Message: clip(err.Error())}
	}
	s := Status{State: stateOf(result.Status)}
	if s.State == Current && isRunningJob(object) {
		s.State = InProgress
	}
	switch s.State {
	case Current:
	case Terminating:
		s.Message = clip(cmp.Or(heldBy(object), result.Message))
	default:
		s.Message = clip(result.Message)
	}
	return s
}

// isRunningJob reports whether an object is a Job that was started and has not ended. kstatus calls it Current, and whoever
// waits for a Job waits for its end.
func isRunningJob(object *unstructured.Unstructured) bool {
	kind := object.GroupVersionKind()
	if kind.Group != "batch" || kind.Kind != "Job" {
		return false
	}
	if suspended, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend"); suspended {
		return false
	}
	_, ended, _ := unstructured.NestedString(object.Object, "status", "completionTime")
	return !ended
}

func stateOf(s status.Status) State {
	switch s {
	case status.CurrentStatus:
		return Current
	case status.InProgressStatus:
		return InProgress
	case status.FailedStatus:
		return Failed
	case status.TerminatingStatus:
		return Terminating
	case status.NotFoundStatus:
		return NotFound
	case status.UnknownStatus:
	}
	return Unknown
}

func clip(text string) string { return text[:min(len(text), maxMessage)] }
