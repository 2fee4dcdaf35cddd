package traces

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

var (
	began  = time.Unix(1_700_000_000, 0)
	commit = strings.Repeat("1a", 20)
	digest = "sha256:" + strings.Repeat("b", 64)
)

// at is an event of a release, so many seconds after it began. What a cluster says is of the Sync web in prod.
func at(t testing.TB, state string, second int) *statusv1.Event {
	t.Helper()
	id, err := gitobject.ParseID(commit)
	if err != nil {
		t.Fatal(err)
	}
	event := &statusv1.Event{
		State: statusv1.EventState(statusv1.EventState_value["EVENT_STATE_"+state]), Time: timestamppb.New(began.Add(time.Duration(second) * time.Second)),
		Source: &revisionv1.Source{Repository: "deploy", Ref: "refs/heads/main"}, Message: state + ".",
	}
	if event.GetState() == statusv1.EventState_EVENT_STATE_UNSPECIFIED {
		t.Fatalf("no state %s", state)
	}
	if state != "DETECTED" {
		event.Revision = &revisionv1.Revision{Commit: revision.ObjectToProto(id)}
	}
	switch state {
	case "DETECTED", "COMMITTED":
		event.App, event.Environment = "shop", "prod"
		event.Images = []*revisionv1.Image{{Repository: "ghcr.io/acme/web", Digest: digest}}
	case "ANNOUNCED":
		event.Cluster = "eu"
	default:
		event.Cluster, event.SyncNamespace, event.SyncName, event.SyncUid = "eu", "shop", "web", "uid-1"
	}
	return event
}

// told is what spans say: name, parent, seconds from the beginning, and what went wrong.
func told(spans []*tracepb.Span) []string {
	names := map[string]string{"": "nobody"}
	for _, span := range spans {
		names[hex.EncodeToString(span.GetSpanId())] = span.GetName()
	}
	names[hex.EncodeToString(spanID(commit))] = "release"
	second := func(nanos uint64) int64 { return (int64(nanos) - began.UnixNano()) / int64(time.Second) }
	list := make([]string, 0, len(spans))
	for _, span := range spans {
		line := fmt.Sprintf("%s of %s %d-%d", span.GetName(), names[hex.EncodeToString(span.GetParentSpanId())], second(span.GetStartTimeUnixNano()), second(span.GetEndTimeUnixNano()))
		if span.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR {
			line += " " + span.GetStatus().GetMessage()
		}
		list = append(list, line)
	}
	return list
}

func TestDeploy(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reached []*statusv1.Event
		last    *statusv1.Event
		want    []string
	}{
		"Healthy": {
			[]*statusv1.Event{at(t, "APPLIED", 6), at(t, "VERIFIED", 4), at(t, "RECEIVED", 3), at(t, "ANNOUNCED", 2)},
			at(t, "HEALTHY", 9),
			[]string{"deploy of release 2-9", "receive of deploy 2-3", "verify of deploy 3-4", "apply of deploy 4-6", "roll out of deploy 6-9"},
		},
		"Refused":        {[]*statusv1.Event{at(t, "ANNOUNCED", 2), at(t, "RECEIVED", 3)}, at(t, "REFUSED", 4), []string{"deploy of release 2-4 REFUSED.", "receive of deploy 2-3"}},
		"Failed":         {[]*statusv1.Event{at(t, "VERIFIED", 3), at(t, "APPLIED", 4)}, at(t, "FAILED", 99), []string{"deploy of release 3-99 FAILED.", "apply of deploy 3-4"}},
		"Alone":          {nil, at(t, "HEALTHY", 5), []string{"deploy of release 5-5"}},
		"Twice":          {[]*statusv1.Event{at(t, "APPLIED", 8), at(t, "APPLIED", 6)}, at(t, "HEALTHY", 9), []string{"deploy of release 6-9", "roll out of deploy 6-9"}},
		"ClocksDisagree": {[]*statusv1.Event{at(t, "ANNOUNCED", 4), at(t, "RECEIVED", 3)}, at(t, "HEALTHY", 5), []string{"deploy of release 3-5", "receive of deploy 4-4"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, told(deploy(tc.reached, tc.last))); diff != "" {
				t.Errorf("deploy(...): -want, +got\n%s", diff)
			}
		})
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	span := release(at(t, "COMMITTED", 2), []*statusv1.Event{at(t, "DETECTED", 1)})
	if diff := cmp.Diff([]string{"release of nobody 1-2"}, told([]*tracepb.Span{span})); diff != "" {
		t.Errorf("release(...): -want, +got\n%s", diff)
	}
	attributes := map[string]string{}
	for _, a := range span.GetAttributes() {
		attributes[a.GetKey()] = a.GetValue().GetStringValue()
		if images := a.GetValue().GetArrayValue(); images != nil {
			attributes[a.GetKey()] = images.GetValues()[0].GetStringValue()
		}
	}
	want := map[string]string{
		"vcs.ref.head.revision": commit, "vcs.repository.name": "deploy", "vcs.ref.head.name": "refs/heads/main",
		"tandem.app": "shop", "tandem.environment": "prod", "container.image.repo_digests": "ghcr.io/acme/web@" + digest,
	}
	if diff := cmp.Diff(want, attributes); diff != "" {
		t.Errorf("attributes: -want, +got\n%s", diff)
	}
	if got, want := Parent(commit), fmt.Sprintf("00-%x-%x-01", span.GetTraceId(), span.GetSpanId()); got != want {
		t.Errorf("Parent(...): got %s, want %s", got, want)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	last := at(t, "FAILED", 1)
	last.Message = strings.Repeat("é", 1000)
	if got := deploy(nil, last)[0].GetStatus().GetMessage(); len(got) != 256 {
		t.Errorf("a message of %d bytes", len(got))
	}
}
