package chaos

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// fine is a world after one release in which nothing is wrong.
func fine() (Expected, Facts) {
	want := Expected{
		Releases: []Release{{Tag: "1.0.0", Digest: "sha256:a", Overtaken: true}, {Tag: "1.1.0", Digest: "sha256:b"}},
		Foreign:  []string{"c1", "c3"},
		UIDs:     map[string]string{"ConfigMap/web": "u1", "ConfigMap/bystander": "u2"},
	}
	got := Facts{
		Branch: []Commit{{ID: "c3", Tree: "t2"}, {ID: "c2", Tree: "t2", Images: []string{"1.1.0@sha256:b"}}, {ID: "c1", Tree: "t1"}},
		Live:   map[string]string{"ConfigMap/web": "u1", "ConfigMap/bystander": "u2"},
		Wanted: []string{"ConfigMap/web"},
		State:  "HEALTHY", Tree: "t2", Digests: []string{"sha256:b"},
	}
	got.Events = append(got.Events, Event{ID: "e0", State: "COMMITTED", Commit: "c2", Tree: "t2"})
	for _, step := range steps() {
		got.Events = append(got.Events, Event{ID: "e-" + name(step), State: name(step), Commit: "c2", Tree: "t2"})
	}
	return want, got
}

func TestJudgeFindsNothingWhereAllIsWell(t *testing.T) {
	t.Parallel()
	if found := judge(fine()); len(found) > 0 {
		t.Errorf("judge: %v", found)
	}
}

// A rollout that is disturbed is healthy once more, which is no repetition.
func TestJudgeLetsHealthComeAgain(t *testing.T) {
	t.Parallel()
	want, got := fine()
	got.Events = append(got.Events, Event{ID: "again", State: "HEALTHY", Commit: "c2", Tree: "t2", Attempt: 1})
	if found := judge(want, got); len(found) > 0 {
		t.Errorf("judge: %v", found)
	}
}

// Each row breaks one thing: a checker that cannot fail proves nothing.
func TestJudgeFinds(t *testing.T) {
	t.Parallel()
	without := func(state statusv1.EventState) func(*Expected, *Facts) {
		return func(_ *Expected, got *Facts) {
			got.Events = slices.DeleteFunc(got.Events, func(e Event) bool { return e.State == name(state) })
		}
	}
	again := func(at int) func(*Expected, *Facts) {
		return func(_ *Expected, got *Facts) {
			e := got.Events[at]
			e.ID = "again"
			got.Events = append(got.Events, e)
		}
	}
	cases := map[string]struct {
		reason string
		spoil  func(*Expected, *Facts)
		want   string
		final  bool
	}{
		"Uncommitted": {
			reason: "a push that nobody acted on", want: `1\.1\.0.* not committed`,
			spoil: func(_ *Expected, got *Facts) { got.Branch[1].Images = nil },
		},
		"CommittedTwice": {
			reason: "a push whose answer was lost, made again", want: `committed 2 times`, final: true,
			spoil: func(_ *Expected, got *Facts) {
				got.Branch = append([]Commit{{ID: "c4", Tree: "t2", Images: []string{"1.1.0@sha256:b"}}}, got.Branch...)
			},
		},
		"Downgraded": {
			reason: "a tag that vanished", want: `wrote 1\.0\.0 after 1\.1\.0`, final: true,
			spoil: func(_ *Expected, got *Facts) {
				got.Branch = append([]Commit{{ID: "c4", Tree: "t2", Images: []string{"1.0.0@sha256:a"}}}, got.Branch...)
			},
		},
		"Invented": {
			reason: "a registry that lied", want: `nobody pushed`, final: true,
			spoil: func(_ *Expected, got *Facts) { got.Branch[0].Images = []string{"9.9.9@sha256:f"} },
		},
		"NoVersion": {
			reason: "junk among the tags", want: `no version`, final: true,
			spoil: func(_ *Expected, got *Facts) { got.Branch[0].Images = []string{"latest@sha256:f"} },
		},
		"ForeignCommitLost": {
			reason: "a push with force", want: `c3 of somebody else is on the branch 0 times`, final: true,
			spoil: func(_ *Expected, got *Facts) { got.Branch = got.Branch[1:] },
		},
		"ToldTwice":       {reason: "a report sent again after a cut", want: `ANNOUNCED is told 2 times`, final: true, spoil: again(1)},
		"HealthToldTwice": {reason: "the same fact under two ids", want: `HEALTHY is told 2 times`, final: true, spoil: again(5)},
		"CommitToldTwice": {reason: "an automator killed after its push", want: `COMMITTED is told 2 times`, final: true, spoil: again(0)},
		"SameIDTwice": {
			reason: "a store that lost its key", want: `in the log twice`, final: true,
			spoil: func(_ *Expected, got *Facts) { got.Events = append(got.Events, Event{ID: "e0", State: "HEALED"}) },
		},
		"CommitUntold":  {reason: "killed between push and event", want: `COMMITTED is not told`, spoil: without(statusv1.EventState_EVENT_STATE_COMMITTED)},
		"ReceiveUntold": {reason: "killed before the report", want: `RECEIVED is not told`, spoil: without(statusv1.EventState_EVENT_STATE_RECEIVED)},
		"HealthUntold":  {reason: "the end of a release", want: `HEALTHY is not told`, spoil: without(statusv1.EventState_EVENT_STATE_HEALTHY)},
		"Pruned": {
			reason: "nothing in these stories is removed from Git", want: `says PRUNED`, final: true,
			spoil: func(_ *Expected, got *Facts) { got.Events = append(got.Events, Event{ID: "p", State: "PRUNED"}) },
		},
		"Refused": {
			reason: "every commit is signed by whom it must be", want: `says REFUSED`, final: true,
			spoil: func(_ *Expected, got *Facts) { got.Events = append(got.Events, Event{ID: "r", State: "REFUSED"}) },
		},
		"ObjectMissing": {
			reason: "lost", want: `ConfigMap/more is in Git and not in the cluster`,
			spoil: func(_ *Expected, got *Facts) { got.Wanted = append(got.Wanted, "ConfigMap/more") },
		},
		"ObjectTooMany": {
			reason: "not pruned", want: `nobody wants it`,
			spoil: func(_ *Expected, got *Facts) { got.Live["Secret/stray"] = "u3" },
		},
		"ObjectMadeAnew": {
			reason: "pruned and made again", want: `ConfigMap/web was u1 and is "u9"`, final: true,
			spoil: func(_ *Expected, got *Facts) { got.Live["ConfigMap/web"] = "u9" },
		},
		"BystanderGone": {
			reason: "pruned although it is somebody else's", want: `ConfigMap/bystander was u2 and is ""`, final: true,
			spoil: func(_ *Expected, got *Facts) { delete(got.Live, "ConfigMap/bystander") },
		},
		"ObjectDiffers": {
			reason: "an older state", want: `differs`,
			spoil: func(_ *Expected, got *Facts) { got.Differs = []string{"ConfigMap/web differs"} },
		},
		"Unhealthy": {reason: "stuck", want: `the Sync is IN_PROGRESS`, spoil: func(_ *Expected, got *Facts) { got.State = "IN_PROGRESS" }},
		"Problem":   {reason: "stuck on an error", want: `has a problem: no`, spoil: func(_ *Expected, got *Facts) { got.Problems = []string{"no"} }},
		"Behind":    {reason: "healthy at something older", want: `healthy is t1`, spoil: func(_ *Expected, got *Facts) { got.Tree = "t1" }},
		"OldImage": {
			reason: "pods of both versions", want: `sha256:b was pushed last`,
			spoil: func(_ *Expected, got *Facts) { got.Digests = []string{"sha256:a", "sha256:b"} },
		},
		"Orphan": {reason: "a git that outlived its automator", want: `left over: git`, spoil: func(_ *Expected, got *Facts) { got.Orphans = []string{"git push"} }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, got := fine()
			want.UIDs, got.Live = maps.Clone(want.UIDs), maps.Clone(got.Live)
			tc.spoil(&want, &got)
			pattern := regexp.MustCompile(tc.want)
			found := judge(want, got)
			at := slices.IndexFunc(found, func(f Finding) bool { return pattern.MatchString(f.Text) })
			if at < 0 {
				t.Fatalf("%s: found %v, want %s", tc.reason, found, tc.want)
			}
			if found[at].Final != tc.final {
				t.Errorf("%s: final is %v", found[at].Text, found[at].Final)
			}
		})
	}
}
