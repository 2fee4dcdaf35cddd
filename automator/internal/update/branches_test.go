package update_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

const release = "refs/heads/release"

// branched is the shop with prod on the branch release, and a pipeline that is on that branch alone.
func branched() map[string]string {
	files := shop()
	files[".tandem/shop.yaml"] = strings.Replace(files[".tandem/shop.yaml"], "path: env/prod,", "path: env/prod, branch: release,", 1)
	files[".tandem/edge.yaml"] = `version: 1
app: edge
images: [{name: api, repository: registry.test/acme/api}]
environments: [{name: eu, path: env/edge, branch: release}]
`
	files["env/edge/api.yaml"] = manifest("api", pinned(api, "1.0.0"))
	return files
}

// fork is a scene with a writer for each of two branches.
type fork struct {
	*scene

	release   *update.Updater
	contested *contested
}

// contested is a branch that others win every race for, as long as they do.
type contested struct {
	update.Repository

	main atomic.Bool
}

func (c *contested) Push(ctx context.Context, updates []gitrepo.RefUpdate) error {
	if updates[0].Ref == branch && c.main.Load() {
		return fault.New(fault.Conflict, "stale info")
	}
	return c.Repository.Push(ctx, updates)
}

func playFork(t *testing.T, forked bool, test func(f *fork)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, branched())
		s.images.push(api, "1.0.0")
		s.images.push(web, "1.0.0")
		f := &fork{scene: s, contested: &contested{Repository: s.pushes}}
		s.updater, f.release = f.writer(branch), f.writer(release)
		if forked {
			s.fork(release)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		for _, u := range []*update.Updater{s.updater, f.release} {
			go func() { done <- u.Run(ctx) }()
		}
		synctest.Wait()
		test(f)
		cancel()
		<-done
		<-done
	})
}

func (f *fork) writer(ref string) *update.Updater {
	log, _ := logtest.New(f.t)
	cfg := config()
	cfg.Source = revision.Source{Repository: "fleet", Ref: ref}
	cfg.Home = pipeline.Home{Repository: "fleet", Branch: "main", Branches: []string{"release"}}
	return update.New(cfg, update.Deps{Repository: f.contested, Images: f.images, Evidence: f.evidence, Events: f.events, Log: log})
}

func (f *fork) wake() {
	f.t.Helper()
	f.release.Wake()
	f.scene.wake()
	f.release.Wake() // whatever moved wakes all
	f.scene.wake()
}

// healthy reports dev healthy at main's tip.
func (f *fork) healthy() {
	f.t.Helper()
	tip, _, _ := f.on(branch)
	f.evidence.report("dev-eu", "env/dev", update.Report{Commit: tip, Since: time.Now()})
	f.wake()
}

// have checks the api of environments, by ref and folder.
func (f *fork) have(want map[string]string) {
	f.t.Helper()
	got := map[string]string{}
	for at := range want {
		ref, folder, _ := strings.Cut(at, ":")
		_, files, _ := f.on("refs/heads/" + ref)
		for _, tag := range []string{"1.0.0", "1.1.0", "1.2.0", "9.9.9"} {
			if files[folder+"/api.yaml"] == manifest("api", pinned(api, tag)) {
				got[at] = tag
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("api: -want, +got:\n%s", diff)
	}
}

func TestAHoldThatWasNotFetchedYetHolds(t *testing.T) {
	t.Parallel()
	playFork(t, true, func(f *fork) {
		f.images.push(api, "1.1.0")
		f.wake()
		tip, _, _ := f.on(branch)
		f.evidence.report("dev-eu", "env/dev", update.Report{Commit: tip, Since: time.Now()})
		f.foreign("hold", map[string]string{".tandem/shop.yaml": strings.Replace(branched()[".tandem/shop.yaml"], "acme/api}", "acme/api, hold: audit}", 1)})
		f.wake()
		f.have(map[string]string{"main:env/dev": "1.1.0", "release:env/prod": "1.0.0"})
		f.foreign("lift", map[string]string{".tandem/shop.yaml": branched()[".tandem/shop.yaml"], "README.md": "lifted"})
		f.foreign("else", map[string]string{"README.md": "other things move too"})
		if err := f.FetchRef(t.Context(), branch); err != nil {
			t.Fatal(err)
		}
		f.foreign("again", map[string]string{"README.md": "and do not stop"})
		f.wake()
		f.have(map[string]string{"release:env/prod": "1.1.0"})
	})
}

func TestPromotionToAnotherBranch(t *testing.T) {
	t.Parallel()
	playFork(t, true, func(f *fork) {
		f.images.push(api, "1.1.0")
		f.wake()
		f.have(map[string]string{"main:env/dev": "1.1.0", "main:env/prod": "1.0.0", "release:env/dev": "1.0.0", "release:env/prod": "1.0.0", "release:env/edge": "1.1.0", "main:env/edge": "1.0.0"})
		f.healthy()
		f.have(map[string]string{"main:env/dev": "1.1.0", "main:env/prod": "1.0.0", "release:env/dev": "1.0.0", "release:env/prod": "1.1.0"})
		f.told(update.Rejected)
		got := f.events.seen(update.Committed)
		if diff := cmp.Diff(map[string]int{"shop dev api:1.1.0": 1, "edge eu api:1.1.0": 1, "shop prod api:1.1.0": 1}, count(got)); diff != "" {
			t.Errorf("committed: -want, +got:\n%s", diff)
		}
	})
}

func count(lines []string) map[string]int {
	counts := map[string]int{}
	for _, line := range lines {
		counts[line]++
	}
	return counts
}

func TestOneBranchHoldsNoOther(t *testing.T) {
	t.Parallel()
	playFork(t, true, func(f *fork) {
		f.contested.main.Store(true)
		f.images.push(api, "1.1.0")
		f.wake()
		<-time.After(time.Minute)
		f.have(map[string]string{"main:env/dev": "1.0.0", "release:env/edge": "1.1.0"})
		f.contested.main.Store(false)
		<-time.After(time.Second)
		f.have(map[string]string{"main:env/dev": "1.1.0"})
		f.healthy()
		f.have(map[string]string{"release:env/prod": "1.1.0"})
	})
}

// A branch that begins at a commit of ours has not got what that wrote from its own writer.
func TestForkTellsNothingTwice(t *testing.T) {
	t.Parallel()
	playFork(t, false, func(f *fork) {
		f.images.push(api, "1.1.0")
		f.wake()
		f.told(update.Committed, "shop dev api:1.1.0")
		if got := problemsOf(f.release); cmp.Diff([]string{": fleet@refs/heads/release is not there, or was not fetched yet"}, got) != "" {
			t.Errorf("problems without the branch: %q", got)
		}
		f.scene.fork(release)
		_ = f.FetchRef(t.Context(), release)
		f.wake()
		f.have(map[string]string{"release:env/edge": "1.1.0", "release:env/dev": "1.1.0"})
		f.told(update.Committed, "shop dev api:1.1.0", "edge eu api:1.1.0")
		if got := append(problemsOf(f.release), problemsOf(f.updater)...); len(got) > 0 {
			t.Errorf("problems: %q", got)
		}
	})
}

func problemsOf(u *update.Updater) []string {
	var lines []string
	for _, p := range u.Status().Problems {
		lines = append(lines, p.String())
	}
	return lines
}

// What a person changes on a branch is held there, and the status of all says so.
func TestHeldOnItsBranch(t *testing.T) {
	t.Parallel()
	playFork(t, true, func(f *fork) {
		f.images.push(api, "1.1.0")
		f.wake()
		f.healthy()
		f.foreignOn(release, "by hand", map[string]string{"env/prod/api.yaml": manifest("api", pinned(api, "9.9.9"))})
		_ = f.FetchRef(t.Context(), release)
		f.healthy()
		f.have(map[string]string{"release:env/prod": "9.9.9"})

		merged := update.Merge(f.updater.Status(), f.release.Status())
		got := map[string]string{}
		for _, p := range merged.Pipelines {
			for i, e := range p.Environments {
				if e.Name != p.Pipeline.Environments[i].Name {
					t.Errorf("environment %d of %s is %s", i, p.Pipeline.App, e.Name)
				}
				got[p.Pipeline.App+" "+e.Name] = e.Images["api"].Pins[0].Tag
			}
			if tag := p.Candidates["api"].Pin.Tag; tag != "1.1.0" {
				t.Errorf("candidate of %s: %q", p.Pipeline.App, tag)
			}
		}
		if diff := cmp.Diff(map[string]string{"shop dev": "1.1.0", "shop prod": "9.9.9", "edge eu": "1.1.0"}, got); diff != "" {
			t.Errorf("tags: -want, +got:\n%s", diff)
		}
		if reasons := strings.Join(merged.Pipelines[1].Environments[1].Reasons, "\n"); !strings.Contains(reasons, "held: somebody changed our 1.1.0") {
			t.Errorf("reasons at prod: %s", reasons)
		}
	})
}

// A branch that was not looked at has its place in what is shown.
func TestMergeWithoutAWriter(t *testing.T) {
	t.Parallel()
	playFork(t, false, func(f *fork) {
		f.wake()
		merged := update.Merge(f.updater.Status(), f.release.Status())
		e := merged.Pipelines[1].Environments
		if len(e) != 2 || e[1].Name != "prod" || !strings.Contains(strings.Join(e[1].Reasons, ""), "not looked at") {
			t.Errorf("environments: %+v", e)
		}
	})
}

// A problem of the files is shown once, and one of an environment by the writer of its branch.
func TestProblemsAreShownOnce(t *testing.T) {
	t.Parallel()
	playFork(t, true, func(f *fork) {
		broken := maps.Clone(branched())
		f.foreignOn(branch, "typing error", map[string]string{".tandem/bad.yaml": "version: 2\n"})
		f.foreignOn(release, "break", map[string]string{"env/prod/api.yaml": broken["env/prod/api.yaml"] + "  - : [\n"})
		_ = f.FetchRef(t.Context(), branch)
		_ = f.FetchRef(t.Context(), release)
		f.wake()
		seen := map[string]int{}
		for _, p := range update.Merge(f.updater.Status(), f.release.Status()).Problems {
			seen[p.File]++
		}
		if seen["env/prod/api.yaml"] != 1 || seen[".tandem/bad.yaml"] == 0 {
			t.Errorf("problems by file: %v", seen)
		}
		for _, p := range f.release.Status().Problems {
			if strings.HasPrefix(p.File, ".tandem/") {
				t.Errorf("the writer of release shows %s", p)
			}
		}
	})
}

func TestMissingHomeIsShownOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fork{scene: newScene(t, branched())}
		f.contested = &contested{Repository: f.pushes}
		f.scene.fork(release)
		f.refs[branch].remote = gitobject.ID{}
		_ = f.FetchRef(t.Context(), release)
		f.updater, f.release = f.writer(branch), f.writer(release)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		for _, u := range []*update.Updater{f.updater, f.release} {
			go func() { done <- u.Run(ctx) }()
		}
		synctest.Wait()
		problems := fmt.Sprint(update.Merge(f.updater.Status(), f.release.Status()).Problems)
		if strings.Count(problems, "refs/heads/main is not there") != 1 {
			t.Errorf("problems: %s", problems)
		}
		cancel()
		<-done
		<-done
	})
}
