package syncs

import (
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
)

func event(namespace string, i int) Event {
	sync := &v1alpha1.Sync{}
	sync.Namespace, sync.Name = namespace, "web"
	return Event{Sync: sync, Reason: "Applied", Message: fmt.Sprintf("event %d", i)}
}

// What waits when the process ends is still written, without the wait between two.
func TestEventsThatWaitAreWrittenInTheEnd(t *testing.T) {
	t.Parallel()
	client := kubetest.Client(t, kubetest.Config(t))
	namespace := kubetest.Namespace(t, client)
	r := NewRecorder(New(client, client, nil, zap.NewNop()), func() bool { return true }, nil)
	const many = 20
	for i := range many {
		r.Record(event(namespace, i))
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := r.Run(ended); err == nil {
		t.Error("Run returned no error though its context is done")
	}
	list, err := client.Resource(eventsResource).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != many {
		t.Errorf("%d of %d Events are there: %v", len(list.Items), many, err)
	}
}

func TestEventsAreLostBeyondALimit(t *testing.T) {
	t.Parallel()
	r := NewRecorder(New(nil, nil, nil, zap.NewNop()), func() bool { return true }, nil)
	for i := range maxUnrecorded + 3 {
		r.Record(event("shop", i))
	}
	if got := testutil.ToFloat64(r.result.WithLabelValues(lost)); got != 3 {
		t.Errorf("%v Events are counted as lost, want 3", got)
	}
}
