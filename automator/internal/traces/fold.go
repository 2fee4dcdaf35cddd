package traces

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/revision"
)

// maxText bounds a text in a span, in bytes.
const maxText = 256

// The attributes have the names of OpenTelemetry's semantic conventions where there is one.
const (
	attributeCommit      = "vcs.ref.head.revision"
	attributeRepository  = "vcs.repository.name"
	attributeRef         = "vcs.ref.head.name"
	attributeCluster     = "k8s.cluster.name"
	attributeNamespace   = "k8s.namespace.name"
	attributeImages      = "container.image.repo_digests"
	attributeSync        = "tandem.sync"
	attributeApp         = "tandem.app"
	attributeEnvironment = "tandem.environment"
)

// Parent returns the release of a commit as a traceparent of W3C's Trace Context.
func Parent(commit string) string {
	return fmt.Sprintf("00-%x-%x-01", traceID(commit), spanID(commit))
}

func traceID(commit string) []byte {
	sum := sha256.Sum256([]byte("release " + commit))
	return sum[:16]
}

func spanID(parts ...string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return sum[:8]
}

// stage is the way to a state from the one before.
type stage struct {
	name     string
	from, to statusv1.EventState
}

func stages() []stage {
	return []stage{
		{"receive", statusv1.EventState_EVENT_STATE_ANNOUNCED, statusv1.EventState_EVENT_STATE_RECEIVED},
		{"verify", statusv1.EventState_EVENT_STATE_RECEIVED, statusv1.EventState_EVENT_STATE_VERIFIED},
		{"apply", statusv1.EventState_EVENT_STATE_VERIFIED, statusv1.EventState_EVENT_STATE_APPLIED},
		{"roll out", statusv1.EventState_EVENT_STATE_APPLIED, statusv1.EventState_EVENT_STATE_HEALTHY},
	}
}

// isLast reports whether a release ends with a state, as far as one Sync is concerned.
func isLast(state statusv1.EventState) bool {
	switch state {
	case statusv1.EventState_EVENT_STATE_HEALTHY, statusv1.EventState_EVENT_STATE_FAILED, statusv1.EventState_EVENT_STATE_REFUSED:
		return true
	default:
		return false
	}
}

// release is the span of what the automator did itself. detected are the events of the images that it committed.
func release(committed *statusv1.Event, detected []*statusv1.Event) *tracepb.Span {
	commit := commitOf(committed)
	end := committed.GetTime().AsTime()
	start := end
	for _, event := range detected {
		if at := event.GetTime().AsTime(); at.Before(start) {
			start = at
		}
	}
	span := newSpan(commit, "release", start, end)
	span.SpanId = spanID(commit)
	span.Attributes = append(span.Attributes, about(committed)...)
	return span
}

// deploy are the spans of a Sync. reached is what it told about a commit so far, last the event that it ended with.
func deploy(reached []*statusv1.Event, last *statusv1.Event) []*tracepb.Span {
	commit := commitOf(last)
	times := map[statusv1.EventState]time.Time{}
	for _, event := range slices.Concat(reached, []*statusv1.Event{last}) {
		at := event.GetTime().AsTime()
		if known, ok := times[event.GetState()]; !ok || at.Before(known) {
			times[event.GetState()] = at
		}
	}
	end := last.GetTime().AsTime()
	start := end
	for _, at := range times {
		if at.Before(start) {
			start = at
		}
	}
	whole := newSpan(commit, "deploy", start, end)
	whole.SpanId, whole.ParentSpanId = spanID(commit, last.GetSyncUid()), spanID(commit)
	whole.Attributes = append(whole.Attributes, about(last)...)
	if last.GetState() != statusv1.EventState_EVENT_STATE_HEALTHY {
		whole.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: clip(last.GetMessage())}
	}
	spans := []*tracepb.Span{whole}
	for _, s := range stages() {
		from, began := times[s.from]
		to, ended := times[s.to]
		if !began || !ended {
			continue
		}
		span := newSpan(commit, s.name, from, to)
		span.SpanId, span.ParentSpanId = spanID(commit, last.GetSyncUid(), s.name), whole.GetSpanId()
		spans = append(spans, span)
	}
	return spans
}

// newSpan is a span without its own id. The clocks of two agents may differ; a span does not end before it begins.
func newSpan(commit, name string, start, end time.Time) *tracepb.Span {
	return &tracepb.Span{
		TraceId: traceID(commit), Name: name, Kind: tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: uint64(start.UnixNano()), EndTimeUnixNano: uint64(max(end.UnixNano(), start.UnixNano())),
	}
}

// about are the attributes of what an event is about.
func about(event *statusv1.Event) []*commonpb.KeyValue {
	var list []*commonpb.KeyValue
	add := func(key, value string) {
		if value != "" {
			list = append(list, &commonpb.KeyValue{Key: key, Value: text(value)})
		}
	}
	add(attributeCommit, commitOf(event))
	add(attributeRepository, event.GetSource().GetRepository())
	add(attributeRef, event.GetSource().GetRef())
	add(attributeCluster, event.GetCluster())
	add(attributeNamespace, event.GetSyncNamespace())
	add(attributeSync, event.GetSyncName())
	add(attributeApp, event.GetApp())
	add(attributeEnvironment, event.GetEnvironment())
	images := &commonpb.ArrayValue{}
	for _, image := range event.GetImages() {
		images.Values = append(images.Values, text(image.GetRepository()+"@"+image.GetDigest()))
	}
	if len(images.GetValues()) > 0 {
		list = append(list, &commonpb.KeyValue{Key: attributeImages, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: images}}})
	}
	return list
}

func text(value string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: clip(value)}}
}

func clip(value string) string { return strings.ToValidUTF8(value[:min(len(value), maxText)], "") }

func commitOf(event *statusv1.Event) string {
	id, err := revision.ObjectFromProto(event.GetRevision().GetCommit())
	if err != nil || id.IsZero() {
		return ""
	}
	return id.String()
}
