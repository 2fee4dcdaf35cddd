package survey

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/serve"
)

// maxEvents bounds the Events of an answer; it is the protocol's.
const maxEvents = 500

// eventsResource is where Events are; of objects without a namespace, in that one.
var eventsResource = schema.GroupVersionResource{Version: "v1", Resource: "events"} //nolint:gochecknoglobals // a constant

const namespaceOfNone = "default"

// occurrence is one Event.
type occurrence struct {
	time time.Time
	text *statusv1.ObjectEvent
}

// Events answers with the Kubernetes Events about a Sync, its objects and what they own, the newest first.
func (s *Survey) Events(ctx context.Context, asked serve.Question, each serve.Each) error {
	t, err := s.look(ctx, asked)
	if err != nil {
		return err
	}
	about := map[string]object.Key{string(t.sync.UID): {Group: v1alpha1.Group, Kind: v1alpha1.Kind, Namespace: t.sync.Namespace, Name: t.sync.Name}}
	namespaces := []string{t.sync.Namespace}
	for i := range t.nodes {
		if t.nodes[i].uid != "" {
			about[t.nodes[i].uid] = t.nodes[i].key
		}
		namespaces = append(namespaces, orElse(t.nodes[i].key.Namespace, namespaceOfNone))
	}
	found, count, err := s.occurrences(ctx, t, namespaces, about)
	if err != nil {
		return err
	}
	for _, o := range found {
		if err := each(&statusv1.AskResponse{Part: &statusv1.AskResponse_Event{Event: o.text}}); err != nil {
			return err
		}
	}
	if left := count - len(found); left > 0 {
		t.omit(fmt.Sprintf("%d older events", left), fmt.Sprintf("an answer has at most %d", maxEvents))
	}
	return hand(t.omissions, each)
}

// occurrences returns the newest Events about objects, by their UIDs, and how many there are.
func (s *Survey) occurrences(ctx context.Context, t *tree, namespaces []string, about map[string]object.Key) (found []occurrence, count int, err error) {
	slices.Sort(namespaces)
	for _, namespace := range slices.Compact(namespaces) {
		err := s.list(ctx, t, place{eventsResource, namespace}, func(event *unstructured.Unstructured) bool {
			uid, _, _ := unstructured.NestedString(event.Object, "involvedObject", "uid")
			key, ours := about[uid]
			if !ours {
				return true
			}
			count++
			found = append(found, occurrenceOf(event, key))
			if len(found) >= 2*maxEvents {
				found = latest(found)
			}
			return true
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return latest(found), count, nil
}

// latest keeps the newest Events, in order.
func latest(found []occurrence) []occurrence {
	slices.SortStableFunc(found, func(a, b occurrence) int { return newest(a.time, b.time) })
	return found[:min(len(found), maxEvents)]
}

func occurrenceOf(event *unstructured.Unstructured, key object.Key) occurrence {
	at := timeOf(event)
	text := &statusv1.ObjectEvent{
		Object: key.String(), Type: serve.Clip(textAt(event, "type")), Reason: serve.Clip(textAt(event, "reason")), Message: serve.Clip(textAt(event, "message")),
		Time: timestamppb.New(at), Count: int32(countOf(event)),
		Reporter: serve.Clip(orElse(textAt(event, "source", "component"), textAt(event, "reportingComponent"))),
	}
	if key.Group == "" && key.Kind == "Secret" {
		text.Message = "What is said about a Secret may repeat its values and is left out."
	}
	return occurrence{time: at, text: text}
}

// timeOf returns when an Event happened last; there are three generations of fields for that.
func timeOf(event *unstructured.Unstructured) time.Time {
	for _, fields := range [][]string{{"series", "lastObservedTime"}, {"lastTimestamp"}, {"eventTime"}} {
		if at, err := time.Parse(time.RFC3339, textAt(event, fields...)); err == nil {
			return at
		}
	}
	return event.GetCreationTimestamp().Time
}

func countOf(event *unstructured.Unstructured) int64 {
	for _, fields := range [][]string{{"series", "count"}, {"count"}} {
		if count, ok, _ := unstructured.NestedInt64(event.Object, fields...); ok && count > 0 {
			return min(count, 1<<31-1)
		}
	}
	return 1
}

func textAt(event *unstructured.Unstructured, fields ...string) string {
	text, _, _ := unstructured.NestedString(event.Object, fields...)
	return text
}

func orElse(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
