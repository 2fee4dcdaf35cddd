package health_test

import (
	"testing"

	"github.com/tandem-cd/tandem/synchronizer/internal/health"
)

func TestOf(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		object string
		want   health.State
	}{
		"ConfigMap":    {reason: "Without a status there is nothing to wait for.", want: health.Current, object: "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"},
		"NotObserved":  {reason: "The controller has not looked yet.", want: health.InProgress, object: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 1}}"},
		"Rolling":      {reason: "Not every replica is up.", want: health.InProgress, object: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 1, availableReplicas: 1}}"},
		"Stuck":        {reason: "The deadline passed.", want: health.Failed, object: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, conditions: [{type: Progressing, status: \"False\", reason: ProgressDeadlineExceeded}]}}"},
		"Deleting":     {reason: "It is on its way out.", want: health.Terminating, object: "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, deletionTimestamp: \"2026-01-01T00:00:00Z\"}}"},
		"CustomReady":  {reason: "A custom kind says so itself.", want: health.Current, object: "{apiVersion: x.io/v1, kind: X, metadata: {name: a, generation: 1}, status: {observedGeneration: 1, conditions: [{type: Ready, status: \"True\"}]}}"},
		"CustomUnread": {reason: "A custom kind says it is not.", want: health.InProgress, object: "{apiVersion: x.io/v1, kind: X, metadata: {name: a, generation: 1}, status: {observedGeneration: 1, conditions: [{type: Ready, status: \"False\"}]}}"},
		"JobRuns":      {reason: "Whoever waits for a Job waits for its end.", want: health.InProgress, object: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {startTime: \"2026-01-01T00:00:00Z\", active: 1}}"},
		"JobDone":      {reason: "It has ended.", want: health.Current, object: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {startTime: \"2026-01-01T00:00:00Z\", completionTime: \"2026-01-01T00:00:01Z\", succeeded: 1, conditions: [{type: Complete, status: \"True\"}]}}"},
		"JobFailed":    {reason: "It has ended badly.", want: health.Failed, object: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {startTime: \"2026-01-01T00:00:00Z\", failed: 1, conditions: [{type: Failed, status: \"True\"}]}}"},
		"JobSuspended": {reason: "Nobody expects it to run.", want: health.Current, object: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {suspend: true}, status: {startTime: \"2026-01-01T00:00:00Z\"}}"},
		"Malformed":    {reason: "A status of the wrong shape is not guessed at.", want: health.Unknown, object: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, status: [1]}"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := parse(t, tc.object)
			if got := health.Of(object); got.State != tc.want {
				t.Errorf("%s\nOf(...): got %v %q, want %v", tc.reason, got.State, got.Message, tc.want)
			}
		})
	}
	if got := health.Of(nil); got.State != health.NotFound {
		t.Errorf("Of(nil): got %v", got)
	}
}

func TestWhatHoldsAnObject(t *testing.T) {
	t.Parallel()
	const gone = "deletionTimestamp: \"2026-01-01T00:00:00Z\""
	cases := map[string]struct{ object, want string }{
		"Nothing": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, " + gone + "}}", "Resource scheduled for deletion"},
		"One":     {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, finalizers: [example.com/hold], " + gone + "}}", "held by the finalizer example.com/hold"},
		"Two": {
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, finalizers: [example.com/hold, foregroundDeletion], " + gone + "}}",
			"held by the finalizers example.com/hold, foregroundDeletion",
		},
		"Namespace": {
			"{apiVersion: v1, kind: Namespace, metadata: {name: a, " + gone + "}, status: {phase: Terminating, conditions: [" +
				"{type: NamespaceDeletionDiscoveryFailure, status: \"False\", message: All resources successfully discovered}, " +
				"{type: NamespaceFinalizersRemaining, status: \"True\", message: \"Some content has finalizers remaining: example.com/hold in 1 resource instances.\"}]}}",
			"Some content has finalizers remaining: example.com/hold in 1 resource instances",
		},
		"Definition": {
			"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a, finalizers: [customresourcecleanup.apiextensions.k8s.io], " + gone +
				"}, status: {conditions: [{type: Established, status: \"True\", message: ok}, {type: Terminating, status: \"True\", message: instances remain}]}}",
			"held by the finalizer customresourcecleanup.apiextensions.k8s.io; instances remain",
		},
	}
	for name, tc := range cases {
		if got := health.Of(parse(t, tc.object)); got.State != health.Terminating || got.Message != tc.want {
			t.Errorf("%s: got %v %q, want %q", name, got.State, got.Message, tc.want)
		}
	}
}
