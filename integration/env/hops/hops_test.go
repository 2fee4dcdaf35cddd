package hops

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

const digest = "sha256:new"

// events are those of a release: each hop ten milliseconds after the one before.
func events(t *testing.T, pushed time.Time) []*statusv1.Event {
	t.Helper()
	id, err := gitobject.ParseID(strings.Repeat("1", 40))
	if err != nil {
		t.Fatal(err)
	}
	commit := &revisionv1.Revision{Commit: revision.ObjectToProto(id)}
	images := []*revisionv1.Image{{Digest: digest}}
	var list []*statusv1.Event
	for i, h := range hops() {
		event := &statusv1.Event{State: h.state, Time: timestamppb.New(pushed.Add(time.Duration(i+1) * 10 * time.Millisecond))}
		switch h.name {
		case "detected":
			event.Images = images
		case "committed":
			event.Images, event.Revision = images, commit
		default:
			event.Cluster, event.Revision = "dev", commit
		}
		list = append(list, event)
	}
	return list
}

func TestRead(t *testing.T) {
	t.Parallel()
	pushed := time.Unix(1_700_000_000, 0)
	all := events(t, pushed)
	r := New("shop:1", digest, pushed)
	if r.Read(all[:len(all)-1]) {
		t.Error("Read(...): done before the rollout is complete")
	}
	if !r.Read(all) || r.Total != 70 || r.HopsMS["detected"] != 10 {
		t.Errorf("Read(...): %v, total %v, want each hop after 10 ms more", r.HopsMS, r.Total)
	}
	if other := New("shop:2", "sha256:other", pushed); other.Read(all) || len(other.HopsMS) > 0 {
		t.Errorf("Read(...) of another image: %v", other.HopsMS)
	}
	if early := New("shop:1", digest, pushed.Add(15*time.Millisecond)); !early.Read(all) || early.HopsMS["detected"] != 0 {
		t.Errorf("Read(...): %v, want that what began before counts as at once", early.HopsMS)
	}
}
