package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// Release is a version that somebody pushed.
type Release struct {
	Tag, Digest string
	// Overtaken says that a newer one was pushed before this one was seen to run: it may have been skipped.
	Overtaken bool
	// Forgotten says that the event log was lost since.
	Forgotten bool
}

// Expected is what everybody did, and so what there must be.
type Expected struct {
	// Releases in the order in which they were pushed.
	Releases []Release
	// Foreign are the commits of others.
	Foreign []string
	// UIDs are the objects that were there before the trouble and must have stayed, by "Kind/name".
	UIDs map[string]string
	// Failing allows that the cluster says meanwhile that something has failed.
	Failing bool
}

// Commit is a commit of the branch.
type Commit struct {
	ID string
	// Tree names what the cluster receives of it.
	Tree string
	// Images are what the commit's trailers say it wrote, as tag@digest; none for a commit of somebody else.
	Images []string
}

// Event is a stored event.
type Event struct {
	ID, State, Commit, Tree string
	// Sync is the UID of the Sync that it concerns; empty for an event of the automator's.
	Sync string
	// Attempt is how often this was told of the same content before.
	Attempt int64
}

// Facts are what the world has to show.
type Facts struct {
	// Branch has the newest commit first.
	Branch []Commit
	Events []Event
	// Live are the UIDs of the objects in the namespace by "Kind/name", Wanted what Git has, Differs what of it is otherwise.
	Live    map[string]string
	Wanted  []string
	Differs []string
	// State is the Sync's, Tree what it says is healthy, Digests what it says is running.
	State, Tree string
	Digests     []string
	Problems    []string
	// Orphans are processes that nobody looks after.
	Orphans []string
}

// Finding is something that is not as it should be.
type Finding struct {
	Text string
	// Final says that waiting will not mend it.
	Final bool
}

// steps are what every release goes through at a cluster.
func steps() []statusv1.EventState {
	return []statusv1.EventState{
		statusv1.EventState_EVENT_STATE_ANNOUNCED, statusv1.EventState_EVENT_STATE_RECEIVED, statusv1.EventState_EVENT_STATE_VERIFIED,
		statusv1.EventState_EVENT_STATE_APPLIED, statusv1.EventState_EVENT_STATE_HEALTHY,
	}
}

// findings collects.
type findings []Finding

func (f *findings) yet(format string, args ...any) {
	*f = append(*f, Finding{Text: fmt.Sprintf(format, args...)})
}

func (f *findings) never(format string, args ...any) {
	*f = append(*f, Finding{Text: fmt.Sprintf(format, args...), Final: true})
}

// judge says what is missing, doubled, lost or wrongly removed.
func judge(want Expected, got Facts) []Finding {
	var f findings
	f.branch(want, got)
	f.log(want, got)
	f.objects(want, got)
	f.sync(want, got)
	for _, orphan := range got.Orphans {
		f.yet("a process is left over: %s", orphan)
	}
	return f
}

// branch: each release is one commit, none is of something older than what stood there, and nobody's commit is gone.
func (f *findings) branch(want Expected, got Facts) {
	written := map[string]int{}
	var newest *version.Version
	for _, commit := range slices.Backward(got.Branch) {
		for _, image := range commit.Images {
			written[image]++
			tag, _, _ := strings.Cut(image, "@")
			wrote, err := version.ParseSemantic(tag)
			if err != nil {
				f.never("commit %s wrote %s, which is no version", commit.ID, image)
				continue
			}
			if newest != nil && !newest.LessThan(wrote) {
				f.never("commit %s wrote %s after %s", commit.ID, tag, newest)
			}
			newest = wrote
		}
	}
	for _, r := range want.Releases {
		image := r.Tag + "@" + r.Digest
		switch n := written[image]; {
		case n > 1:
			f.never("%s was committed %d times", image, n)
		case n == 0 && !r.Overtaken:
			f.yet("%s is not committed", image)
		}
		delete(written, image)
	}
	for _, image := range slices.Sorted(maps.Keys(written)) {
		f.never("%s was committed, and nobody pushed it", image)
	}
	for _, id := range want.Foreign {
		n := 0
		for _, commit := range got.Branch {
			if commit.ID == id {
				n++
			}
		}
		if n != 1 {
			f.never("commit %s of somebody else is on the branch %d times", id, n)
		}
	}
}

// step is what may be told once.
type step struct {
	state, of, sync string
	attempt         int64
}

// log: every step of every release is told once.
func (f *findings) log(want Expected, got Facts) {
	told, each, ids := map[[2]string]int{}, map[step]int{}, map[string]bool{}
	for _, e := range got.Events {
		if ids[e.ID] {
			f.never("event %s is in the log twice", e.ID)
		}
		ids[e.ID] = true
		switch {
		case e.State == name(statusv1.EventState_EVENT_STATE_COMMITTED):
			told[[2]string{e.State, e.Commit}]++
			each[step{state: e.State, of: e.Commit}]++
		case slices.ContainsFunc(steps(), func(s statusv1.EventState) bool { return name(s) == e.State }):
			told[[2]string{e.State, e.Tree}]++
			key := step{state: e.State, of: e.Tree, sync: e.Sync}
			if e.State == name(statusv1.EventState_EVENT_STATE_HEALTHY) {
				key.attempt = e.Attempt // pods that were disturbed become ready again, which is a fact of its own
			}
			each[key]++
		case e.State == name(statusv1.EventState_EVENT_STATE_PRUNED), e.State == name(statusv1.EventState_EVENT_STATE_REFUSED),
			e.State == name(statusv1.EventState_EVENT_STATE_FAILED) && !want.Failing:
			f.never("the log says %s of %s", e.State, e.Commit)
		}
	}
	for key, n := range each {
		if n > 1 {
			f.never("%s is told %d times of %s", key.state, n, key.of)
		}
	}
	for _, commit := range got.Branch {
		if len(commit.Images) == 0 {
			continue
		}
		if told[[2]string{name(statusv1.EventState_EVENT_STATE_COMMITTED), commit.ID}] == 0 {
			f.yet("COMMITTED is not told of %s (%s)", commit.ID, commit.Images)
		}
		if !awaited(want, commit) {
			continue
		}
		for _, step := range steps() {
			if told[[2]string{name(step), commit.Tree}] == 0 {
				f.yet("%s is not told of %s (%s)", name(step), commit.ID, commit.Images)
			}
		}
	}
}

func name(state statusv1.EventState) string {
	return strings.TrimPrefix(state.String(), "EVENT_STATE_")
}

// awaited tells whether a commit wrote a release that was seen to run before the next was pushed.
func awaited(want Expected, commit Commit) bool {
	return slices.ContainsFunc(want.Releases, func(r Release) bool {
		return !r.Overtaken && !r.Forgotten && slices.Contains(commit.Images, r.Tag+"@"+r.Digest)
	})
}

// objects: all that Git has and what was there before, and nothing else; none was made anew.
func (f *findings) objects(want Expected, got Facts) {
	for _, object := range got.Wanted {
		if got.Live[object] == "" {
			f.yet("%s is in Git and not in the cluster", object)
		}
	}
	for _, object := range slices.Sorted(maps.Keys(got.Live)) {
		if want.UIDs[object] == "" && !slices.Contains(got.Wanted, object) {
			f.yet("%s is in the cluster and nobody wants it", object)
		}
	}
	for _, object := range slices.Sorted(maps.Keys(want.UIDs)) {
		if uid := got.Live[object]; uid != want.UIDs[object] {
			f.never("%s was %s and is %q: it was removed", object, want.UIDs[object], uid)
		}
	}
	for _, difference := range got.Differs {
		f.yet("%s", difference)
	}
}

// healthy is the state of a Sync whose newest content runs.
const healthy = "HEALTHY"

// sync: what the cluster reports is the newest release, healthy.
func (f *findings) sync(want Expected, got Facts) {
	if got.State != healthy {
		f.yet("the Sync is %s", got.State)
	}
	for _, problem := range got.Problems {
		f.yet("the Sync has a problem: %s", problem)
	}
	if len(got.Branch) > 0 && got.Tree != got.Branch[0].Tree {
		f.yet("healthy is %s, and the branch has %s", got.Tree, got.Branch[0].Tree)
	}
	if len(want.Releases) == 0 {
		return
	}
	last := want.Releases[len(want.Releases)-1]
	if !slices.Equal(got.Digests, []string{last.Digest}) {
		f.yet("%v runs, and %s was pushed last", got.Digests, last.Digest)
	}
}
