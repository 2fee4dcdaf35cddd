package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/shard"
)

var errEnough = errors.New("enough")

func sync(cluster, name string, state statusv1.SyncState) *statusv1.Sync {
	return &statusv1.Sync{Cluster: cluster, Namespace: "apps", Name: name, State: state}
}

func TestReplaceForgetsWhatWasNotNamed(t *testing.T) {
	t.Parallel()
	state := fleet.New()
	for _, name := range []string{"a", "b"} {
		if err := state.Put(sync("dev", name, statusv1.SyncState_SYNC_STATE_HEALTHY)); err != nil {
			t.Fatal(err)
		}
	}
	if err := state.Put(sync("prod", "a", statusv1.SyncState_SYNC_STATE_HEALTHY)); err != nil {
		t.Fatal(err)
	}
	if err := state.Replace("dev", shard.Shard{}, []*statusv1.Sync{sync("dev", "b", statusv1.SyncState_SYNC_STATE_FAILED)}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range state.Syncs(nil) {
		got = append(got, fleet.KeyOf(s).String()+" "+s.GetState().String())
	}
	want := []string{"dev/apps/b SYNC_STATE_FAILED", "prod/apps/a SYNC_STATE_HEALTHY"}
	if !slices.Equal(got, want) {
		t.Errorf("Syncs: got %v, want %v", got, want)
	}
}

func TestReplaceForgetsOnlyWhatIsOfTheShard(t *testing.T) {
	t.Parallel()
	state := fleet.New()
	const syncs, count = 40, 3
	var gone string
	for i := range syncs {
		name := fmt.Sprintf("app-%02d", i)
		if err := state.Put(sync("dev", name, 0)); err != nil {
			t.Fatal(err)
		}
		if shard.Of("apps", name, count) == 1 {
			gone = name
		}
	}
	of := shard.Shard{Index: 1, Count: count}
	var kept []*statusv1.Sync
	for _, s := range state.Syncs(nil) {
		if of.Owns("apps", s.GetName()) && s.GetName() != gone {
			kept = append(kept, s)
		}
	}
	if err := state.Replace("dev", of, kept); err != nil {
		t.Fatal(err)
	}
	if got := len(state.Syncs(nil)); got != syncs-1 || state.Get(fleet.Key{Cluster: "dev", Namespace: "apps", Name: gone}) != nil {
		t.Errorf("after shard 1 reported all but %s: %d Syncs, want %d without it", gone, got, syncs-1)
	}
}

func TestAClusterCannotReportWithoutBound(t *testing.T) {
	t.Parallel()
	state := fleet.New()
	for i := range fleet.MaxSyncsPerCluster {
		if err := state.Put(sync("dev", fmt.Sprint(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := state.Put(sync("dev", "one more", 0)); !fault.Is(err, fault.Invalid) {
		t.Errorf("Put(one more): got %v, want Invalid", err)
	}
	if err := state.Put(sync("prod", "other", 0)); err != nil {
		t.Errorf("Put(other cluster): got %v", err)
	}
}

func TestWatchShowsTheNewestStateOfEverySync(t *testing.T) {
	t.Parallel()
	state := fleet.New()
	_ = state.Put(sync("dev", "a", statusv1.SyncState_SYNC_STATE_WAITING))
	step := 0
	err := state.Watch(t.Context(), func(changes []fleet.Change) error {
		step++
		switch step {
		case 1: // the slow watcher: everything below happens before it looks again
			_ = state.Put(sync("dev", "a", statusv1.SyncState_SYNC_STATE_IN_PROGRESS))
			_ = state.Put(sync("dev", "a", statusv1.SyncState_SYNC_STATE_HEALTHY))
			_ = state.Put(sync("dev", "b", statusv1.SyncState_SYNC_STATE_WAITING))
			state.Remove(fleet.Key{Cluster: "dev", Namespace: "apps", Name: "b"})
			return nil
		default:
			if len(changes) != 2 {
				t.Errorf("changes: got %v, want one for a and one for b", changes)
			}
			for _, c := range changes {
				if c.Key.Name == "a" && c.Sync.GetState() != statusv1.SyncState_SYNC_STATE_HEALTHY || c.Key.Name == "b" && c.Sync != nil {
					t.Errorf("change: got %v", c)
				}
			}
			return errEnough
		}
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
}

func TestPagesNeitherRepeatNorHide(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items := slices.Compact(slices.Sorted(slices.Values(rapid.SliceOf(rapid.StringN(1, 4, 8)).Draw(t, "items"))))
		size := rapid.IntRange(1, 5).Draw(t, "size")
		var got []string
		token := ""
		for {
			page, next, err := fleet.Page(items, func(s string) string { return s }, size, token)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page...)
			if token = next; token == "" {
				break
			}
		}
		if !slices.Equal(got, items) {
			t.Fatalf("pages: got %q, want %q", got, items)
		}
	})
	if _, _, err := fleet.Page([]string{"a"}, func(s string) string { return s }, 1, "%%%"); !fault.Is(err, fault.Invalid) {
		t.Errorf("Page(bad token): got %v, want Invalid", err)
	}
}

// oneTree knows one commit with one content.
type oneTree struct {
	commit  gitobject.ID
	content revision.ContentID
}

func (o oneTree) ResolveCommit(context.Context, string, string) (gitobject.ID, error) {
	return o.commit, nil
}

func (o oneTree) ContentAt(context.Context, string, gitobject.ID, []string) (revision.ContentID, error) {
	return o.content, nil
}

func stage(content revision.ContentID) *statusv1.Stage {
	return &statusv1.Stage{Revision: &revisionv1.Revision{ContentId: content[:]}, Time: timestamppb.Now()}
}

func TestWhereIsComparesContentNotCommits(t *testing.T) {
	t.Parallel()
	old, wanted := revision.ContentID{1}, revision.ContentID{2}
	commit, err := gitobject.ParseID("1234567890123456789012345678901234567890")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		status *statusv1.Sync
		want   statusv1.Presence
	}{
		"Healthy":    {reason: "Applied and healthy with this content.", status: &statusv1.Sync{Applied: stage(wanted), Healthy: stage(wanted)}, want: statusv1.Presence_PRESENCE_HEALTHY},
		"Applied":    {reason: "Applied, not healthy yet.", status: &statusv1.Sync{Applied: stage(wanted), Healthy: stage(old)}, want: statusv1.Presence_PRESENCE_APPLIED},
		"Superseded": {reason: "Was healthy, something else is applied.", status: &statusv1.Sync{Applied: stage(old), Healthy: stage(wanted)}, want: statusv1.Presence_PRESENCE_SUPERSEDED},
		"Received":   {reason: "Arrived only.", status: &statusv1.Sync{Received: stage(wanted), Applied: stage(old)}, want: statusv1.Presence_PRESENCE_RECEIVED},
		"Observed": {
			reason: "Somebody else brought it, and it is as Git says.",
			status: &statusv1.Sync{State: statusv1.SyncState_SYNC_STATE_OBSERVING, Verified: stage(wanted), Healthy: stage(wanted), HealthySince: timestamppb.Now()},
			want:   statusv1.Presence_PRESENCE_HEALTHY,
		},
		"ObservedOnce": {
			reason: "It was as Git says.",
			status: &statusv1.Sync{State: statusv1.SyncState_SYNC_STATE_OBSERVING, Verified: stage(wanted), Healthy: stage(wanted)},
			want:   statusv1.Presence_PRESENCE_VERIFIED,
		},
		"Absent": {reason: "Never came.", status: &statusv1.Sync{Applied: stage(old)}, want: statusv1.Presence_PRESENCE_ABSENT},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := fleet.New()
			tc.status.Cluster = "dev"
			if err := state.Put(tc.status); err != nil {
				t.Fatal(err)
			}
			service := &fleet.Service{State: state, Contents: oneTree{commit, wanted}}
			resp, err := service.WhereIs(t.Context(), &statusv1.WhereIsRequest{Subject: &statusv1.WhereIsRequest_Commit{Commit: "1234567"}})
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.GetLocations()[0].GetPresence(); got != tc.want {
				t.Errorf("%s\nWhereIs(...): got %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestRecentPagesAndForgets(t *testing.T) {
	t.Parallel()
	recent := fleet.NewRecent(3)
	for _, message := range []string{"1", "2", "3", "4"} {
		recent.Add(&statusv1.Event{Message: message})
	}
	first, token, err := recent.ListEvents(t.Context(), nil, 2, "")
	if err != nil {
		t.Fatal(err)
	}
	recent.Add(&statusv1.Event{Message: "5"}) // between two pages
	second, _, err := recent.ListEvents(t.Context(), nil, 2, token)
	if err != nil {
		t.Fatal(err)
	}
	if first[0].GetMessage() != "4" || first[1].GetMessage() != "3" || len(second) != 0 {
		t.Errorf("pages: got %v then %v; want 4, 3, then nothing as 2 was dropped", first, second)
	}
}
