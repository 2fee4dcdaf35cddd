package update_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) {
	if crash() {
		return
	}
	goleak.VerifyTestMain(m)
}

// scene is a branch in memory with everything around it.
type scene struct {
	*memory

	t        *testing.T
	pushes   *pushes
	images   *images
	evidence *evidence
	events   *events
	updater  *update.Updater
}

const (
	api = "registry.test/acme/api"
	web = "registry.test/acme/web"
)

// manifest is a Deployment of one image.
func manifest(name, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  template:
    spec:
      containers:
      - name: main
        image: %s # the one that runs
`, name, image)
}

// shop is a pipeline of two images and two environments.
func shop() map[string]string {
	return map[string]string{
		".tandem/shop.yaml": `version: 1
app: shop
images:
- {name: api, repository: registry.test/acme/api}
- {name: web, repository: registry.test/acme/web}
environments:
- {name: dev, path: env/dev, cluster: dev-eu}
- {name: prod, path: env/prod, cluster: prod-eu}
`,
		"env/dev/api.yaml":  manifest("api", pinned(api, "1.0.0")),
		"env/dev/web.yaml":  manifest("web", pinned(web, "1.0.0")),
		"env/prod/api.yaml": manifest("api", pinned(api, "1.0.0")),
		"env/prod/web.yaml": manifest("web", pinned(web, "1.0.0")),
		"README.md":         "hello\n",
	}
}

func pinned(repository, tag string) string {
	return repository + ":" + tag + "@" + digest(repository, tag)
}

// play runs a test in a bubble, where time passes when nothing else happens.
func play(t *testing.T, files map[string]string, test func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, files)
		s.images.push(api, "1.0.0")
		s.images.push(web, "1.0.0")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.updater.Run(ctx) }()
		synctest.Wait()
		test(s)
		cancel()
		<-done
	})
}

func newScene(t *testing.T, files map[string]string) *scene {
	t.Helper()
	s := &scene{memory: newMemory(files), t: t, images: newImages(), evidence: &evidence{}, events: &events{}}
	s.pushes = &pushes{Repository: s.memory}
	s.updater = s.newUpdater()
	return s
}

// newUpdater is a process that knows nothing but Git.
func (s *scene) newUpdater() *update.Updater {
	log, _ := logtest.New(s.t)
	return update.New(config(), update.Deps{
		Repository: s.pushes, Images: s.images, Evidence: s.evidence, Events: s.events, Log: log,
	})
}

func config() update.Config {
	return update.Config{
		Source: revision.Source{Repository: "fleet", Ref: branch}, Name: "Tandem", Email: "tandem@example.com",
	}
}

// wake wakes the loop and waits until it sleeps.
func (s *scene) wake() {
	s.t.Helper()
	s.updater.Wake()
	synctest.Wait()
}

// release pushes a tag to the registry and lets the loop see it.
func (s *scene) release(repository string, tags ...string) {
	s.t.Helper()
	s.images.push(repository, tags...)
	s.wake()
}

// person commits as somebody else, and the mirror learns of it.
func (s *scene) person(message string, changes map[string]string) gitobject.ID {
	s.t.Helper()
	id := s.foreign(message, changes)
	_, _ = s.Fetch(s.t.Context())
	s.wake()
	return id
}

// has checks what the remote's files have, by file.
func (s *scene) has(want map[string]string) {
	s.t.Helper()
	_, files, _ := s.at()
	for name, image := range want {
		if diff := cmp.Diff(manifest(strings.TrimSuffix(name[strings.LastIndex(name, "/")+1:], ".yaml"), image), files[name]); diff != "" {
			s.t.Errorf("%s: -want, +got:\n%s", name, diff)
		}
	}
}

// titles are the first lines of the remote's commits, oldest first, without the very first.
func (s *scene) titles() []string {
	_, _, history := s.at()
	var titles []string
	for i := len(history) - 2; i >= 0; i-- {
		title, _, _ := strings.Cut(history[i].Message, "\n")
		titles = append(titles, title)
	}
	return titles
}

func (s *scene) titled(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.titles()); diff != "" {
		s.t.Errorf("commits: -want, +got:\n%s", diff)
	}
}

func (s *scene) told(state update.State, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.events.seen(state)); diff != "" {
		s.t.Errorf("%s: -want, +got:\n%s", state, diff)
	}
}

// problems are what the status shows.
func (s *scene) problems() []string {
	var lines []string
	for _, p := range s.updater.Status().Problems {
		lines = append(lines, p.String())
	}
	return lines
}

func TestCandidateBecomesACommit(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.titled()
		s.release(api, "1.1.0")
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.1.0"), "env/prod/api.yaml": pinned(api, "1.0.0")})
		_, _, history := s.at()
		want := fmt.Sprintf(`shop: api 1.1.0 to dev

shop dev: api from 1.0.0 to 1.1.0
  1.1.0 is the newest in newest version, and newer than 1.0.0

Tandem-App: shop
Tandem-Environment: dev
Tandem-Release: %s
Tandem-Image: api=registry.test/acme/api:1.1.0@%s
`, pipeline.Release{
			{Name: "api", Repository: api, Pin: pipeline.Pin{Digest: digest(api, "1.1.0")}},
			{Name: "web", Repository: web, Pin: pipeline.Pin{Digest: digest(web, "1.0.0")}},
		}.ID(), digest(api, "1.1.0"))
		if diff := cmp.Diff(want, history[0].Message); diff != "" {
			t.Errorf("message: -want, +got:\n%s", diff)
		}
		s.told(update.Detected, "shop api:1.1.0")
		s.told(update.Committed, "shop dev api:1.1.0")
		s.told(update.Rejected)
		if problems := s.problems(); len(problems) > 0 {
			t.Errorf("problems: %q", problems)
		}
	})
}

// A pass over what did not change reads nothing but the tip.
func TestNothingToDoCostsNothing(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		before := s.reads
		for range 10 {
			s.wake()
		}
		const perPass = 4 // the commit, and the trees on the way to two environments and the pipelines
		if reads := s.reads - before; reads > 10*perPass*2 {
			t.Errorf("%d reads for ten wakes", reads)
		}
		if s.images.asked > 0 {
			t.Errorf("the registry was asked %d times", s.images.asked)
		}
		if s.pushes.attempts() > 0 {
			t.Errorf("%d pushes", s.pushes.attempts())
		}
	})
}

func TestWhatWaitsBecomesOneCommit(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		going := make(chan struct{})
		s.pushes.then(func(push func() error) error { <-going; return push() })
		s.release(api, "1.1.0") // at once, and it is on its way
		s.release(api, "1.2.0")
		s.release(web, "2.0.0")
		s.release(api, "1.3.0")
		s.titled()
		close(going)
		synctest.Wait()
		s.titled("shop: api 1.1.0 to dev", "shop: 2 images to dev")
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.3.0"), "env/dev/web.yaml": pinned(web, "2.0.0")})
		s.told(update.Committed, "shop dev api:1.1.0", "shop dev api:1.3.0 web:2.0.0")
	})
}

func TestPromotion(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.release(api, "1.1.0")
		s.release(web, "1.1.0")
		tip, _, _ := s.at()
		s.evidence.report("dev-eu", "env/dev", update.Report{State: "1 of 2 objects are ready"})
		s.wake()
		s.has(map[string]string{"env/prod/api.yaml": pinned(api, "1.0.0")})
		if got := s.updater.Status().Pipelines[0].Environments[1].Reasons; len(got) != 1 || !strings.Contains(got[0], "1 of 2 objects") {
			t.Errorf("reasons of prod: %q", got)
		}

		older, _, _ := s.at()
		_ = older
		s.evidence.report("dev-eu", "env/dev", update.Report{Commit: tip, Since: time.Now()})
		s.wake()
		s.has(map[string]string{"env/prod/api.yaml": pinned(api, "1.1.0"), "env/prod/web.yaml": pinned(web, "1.1.0")})
		s.titled("shop: api 1.1.0 to dev", "shop: web 1.1.0 to dev", "shop: 2 images to prod")
		_, _, history := s.at()
		if trailers := fmt.Sprint(history[0].Trailers()); !strings.Contains(trailers, "{Tandem-From dev}") {
			t.Errorf("trailers: %s", trailers)
		}
	})
}

// What was healthy before the newest commit proves nothing about it.
func TestEvidenceOfAnOlderCommit(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		tip, _, _ := s.at()
		s.evidence.report("dev-eu", "env/dev", update.Report{Commit: tip, Since: time.Now()})
		s.release(api, "1.1.0")
		s.titled("shop: api 1.1.0 to dev")
		s.evidence.report("dev-eu", "env/dev", update.Report{Commit: someID(t), Since: time.Now()})
		s.wake()
		s.titled("shop: api 1.1.0 to dev")
	})
}

func someID(t *testing.T) gitobject.ID {
	t.Helper()
	id, err := gitobject.ParseID(strings.Repeat("1", 40))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A release moves as a whole: an image that cannot be written keeps the others back.
func TestReleaseMovesAsAWhole(t *testing.T) {
	t.Parallel()
	files := shop()
	files["env/prod/web.yaml"] = strings.Replace(files["env/prod/web.yaml"], "image: ", "image: &it ", 1)
	play(t, files, func(s *scene) {
		s.release(api, "1.1.0")
		s.release(web, "1.1.0")
		tip, _, _ := s.at()
		s.evidence.report("dev-eu", "env/dev", update.Report{Commit: tip, Since: time.Now()})
		s.wake()
		s.has(map[string]string{"env/dev/web.yaml": pinned(web, "1.1.0"), "env/prod/api.yaml": pinned(api, "1.0.0")})
		if problems := fmt.Sprint(s.problems()); !strings.Contains(problems, "env/prod/web.yaml:9") {
			t.Errorf("problems: %s", problems)
		}
	})
}

func TestPersonsChangeIsHeld(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.release(api, "1.1.0")
		s.person("back to 1.0.0, it breaks", map[string]string{"env/dev/api.yaml": manifest("api", pinned(api, "1.0.0"))})
		s.release(web, "1.1.0")
		held := map[string]string{"env/dev/api.yaml": pinned(api, "1.0.0"), "env/dev/web.yaml": pinned(web, "1.1.0")}
		s.has(held)
		if reasons := fmt.Sprint(s.updater.Status().Pipelines[0].Environments[0].Reasons); !strings.Contains(reasons, "held: ") {
			t.Errorf("reasons: %s", reasons)
		}

		// A process that knows nothing but Git holds it too.
		other := s.newUpdater()
		ctx, cancel := context.WithCancel(s.t.Context())
		done := make(chan error)
		go func() { done <- other.Run(ctx) }()
		synctest.Wait()
		s.has(held)
		cancel()
		<-done

		s.release(api, "1.2.0")
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.2.0")})
	})
}

func TestImageThatIsNotInTheRegistry(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.images.lose(api, "1.1.0")
		s.images.push(api, "1.1.0")
		s.release(web, "1.1.0")
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.0.0"), "env/dev/web.yaml": pinned(web, "1.1.0")})
		want := []string{".tandem/shop.yaml:4: image api: digest of registry.test/acme/api:1.1.0: registry.test/acme/api:1.1.0 is not in the registry"}
		if diff := cmp.Diff(want, s.problems()); diff != "" {
			t.Errorf("problems: -want, +got:\n%s", diff)
		}
		asked := s.images.asked
		for range 10 {
			s.wake()
		}
		if s.images.asked > asked {
			t.Errorf("the registry was asked %d times more", s.images.asked-asked)
		}

		s.images.find(api, "1.1.0")
		<-time.After(time.Minute) // nobody wakes the loop
		synctest.Wait()
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.1.0")})
		if problems := s.problems(); len(problems) > 0 {
			t.Errorf("problems: %q", problems)
		}
	})
}

func TestBrokenFilesBesideGoodOnes(t *testing.T) {
	t.Parallel()
	files := shop()
	files[".tandem/broken.yaml"] = "version: 1\napp: [\n"
	files["env/dev/broken.yaml"] = "image: registry.test/acme/api:1.0.0\n\t- x: [\n"
	play(t, files, func(s *scene) {
		s.release(api, "1.1.0")
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.1.0")})
		var places []string
		for _, p := range s.updater.Status().Problems {
			places = append(places, fmt.Sprintf("%s:%d", p.File, p.Line))
		}
		if diff := cmp.Diff([]string{".tandem/broken.yaml:3", "env/dev/broken.yaml:2"}, places); diff != "" {
			t.Errorf("problems: -want, +got:\n%s", diff)
		}
		if told := s.events.seen(update.Rejected); len(told) != 1 || !strings.HasPrefix(told[0], "shop dev ") {
			t.Errorf("rejected: %q", told)
		}
	})
}

func lose(func() error) error { return fault.New(fault.Conflict, "stale info") }

func TestLostRaceTakesWhatIsTrueThen(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.pushes.then(func(push func() error) error {
			s.foreign("meanwhile", map[string]string{"README.md": "theirs\n"})
			s.images.push(api, "1.2.0")
			return push()
		})
		s.release(api, "1.1.0")
		<-time.After(time.Second)
		s.titled("meanwhile", "shop: api 1.2.0 to dev")
		s.told(update.Rejected)
	})
}

// While a push is tried again what it was for may go away.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.pushes.then(func(push func() error) error {
			s.foreign("by hand", map[string]string{"env/dev/api.yaml": manifest("api", pinned(api, "1.1.0"))})
			return push()
		})
		s.release(api, "1.1.0")
		<-time.After(time.Second)
		s.titled("by hand")
	})
}

func TestRacesThatNeverEndAreAProblem(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		for range 100_000 {
			s.pushes.then(lose)
		}
		s.release(api, "1.1.0")
		<-time.After(4 * time.Minute)
		if problems := s.problems(); len(problems) > 0 {
			t.Errorf("problems after 4 minutes: %q", problems)
		}
		<-time.After(2 * time.Minute)
		s.told(update.Rejected, " stale info")
		if diff := cmp.Diff([]string{": stale info"}, s.problems()); diff != "" {
			t.Errorf("problems: -want, +got:\n%s", diff)
		}
		tried := s.pushes.attempts()
		if tried > 1000 {
			t.Errorf("%d pushes in 6 minutes", tried)
		}
		<-time.After(time.Hour)
		if more := s.pushes.attempts() - tried; more > 15 {
			t.Errorf("%d pushes in the hour after", more)
		}
		s.pushes.clear()
		<-time.After(10 * time.Minute)
		s.titled("shop: api 1.1.0 to dev")
		if problems := s.problems(); len(problems) > 0 {
			t.Errorf("problems: %q", problems)
		}
	})
}

func TestHostRefuses(t *testing.T) {
	t.Parallel()
	refuse := func(func() error) error { return fault.New(fault.Unauthorized, "pre-receive hook declined: frozen") }
	play(t, shop(), func(s *scene) {
		s.pushes.then(refuse, refuse, refuse)
		s.release(api, "1.1.0")
		s.told(update.Rejected, " pre-receive hook declined: frozen")
		if diff := cmp.Diff([]string{": pre-receive hook declined: frozen"}, s.problems()); diff != "" {
			t.Errorf("problems: -want, +got:\n%s", diff)
		}
		for range 100 {
			s.wake() // must not hurry it
		}
		if s.pushes.attempts() > 1 {
			t.Errorf("%d pushes at once", s.pushes.attempts())
		}
		<-time.After(time.Minute)
		s.titled("shop: api 1.1.0 to dev")
		s.told(update.Rejected, " pre-receive hook declined: frozen")
		if problems := s.problems(); len(problems) > 0 {
			t.Errorf("problems: %q", problems)
		}
	})
}

func TestOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ending func(s *scene, push func() error) error
		pushes int
	}{
		"Taken":    {func(s *scene, push func() error) error { return s.cut(push) }, 1},
		"NotTaken": {func(*scene, func() error) error { return gitrepo.ErrOutcomeUnknown }, 2},
		"Boom":     {func(*scene, func() error) error { return errBoom }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, shop(), func(s *scene) {
				s.pushes.then(func(push func() error) error { return tc.ending(s, push) })
				s.release(api, "1.1.0")
				<-time.After(10 * time.Second)
				if tried := s.pushes.attempts(); tried != tc.pushes {
					t.Errorf("%d pushes, want %d", tried, tc.pushes)
				}
				s.titled("shop: api 1.1.0 to dev")
				s.told(update.Committed, "shop dev api:1.1.0")
				if problems := s.problems(); len(problems) > 0 {
					t.Errorf("problems: %q", problems)
				}
			})
		})
	}
}

// A process that was killed after its push leaves nothing but the commit; the next one tells of it.
func TestSuccessorTellsOfTheCommit(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.release(api, "1.1.0")
		s.events = &events{}
		other := s.newUpdater()
		ctx, cancel := context.WithCancel(s.t.Context())
		done := make(chan error)
		go func() { done <- other.Run(ctx) }()
		synctest.Wait()
		s.told(update.Committed, "shop dev api:1.1.0")
		s.titled("shop: api 1.1.0 to dev")
		cancel()
		<-done
	})
}

func TestBranchThatIsNotThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, shop())
		s.remote = gitobject.ID{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.updater.Run(ctx) }()
		synctest.Wait()
		if problems := fmt.Sprint(s.problems()); !strings.Contains(problems, "fleet@refs/heads/main is not there") {
			t.Errorf("problems: %s", problems)
		}
		cancel()
		<-done
	})
}

// A store that takes nothing for a while, such as one whose disk is full, gets everything afterwards, once.
func TestEventsWaitForTheStore(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.events.fill(true)
		s.release(api, "1.1.0")
		s.titled("shop: api 1.1.0 to dev")
		s.told(update.Committed)
		<-time.After(time.Minute)
		s.events.fill(false)
		<-time.After(time.Minute)
		synctest.Wait()
		s.told(update.Detected, "shop api:1.1.0")
		s.told(update.Committed, "shop dev api:1.1.0")
	})
}
