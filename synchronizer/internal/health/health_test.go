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
