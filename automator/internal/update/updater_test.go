package update_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/signature"
)

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
		want := []string{".tandem/shop.yaml:4: image api: digest of registry.test/acme/api:1.1.0: it is not in the registry"}
		if diff := cmp.Diff(want, s.problems()); diff != "" {
			t.Errorf("problems: -want, +got:\n%s", diff)
		}
		if reasons := fmt.Sprint(s.updater.Status().Pipelines[0].Environments[0].Reasons); !strings.Contains(reasons, "1.1.0: it is not in the registry") {
			t.Errorf("the environment says %s", reasons)
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

func TestWhatEnvironmentsRun(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		tests := map[string]struct {
			image signature.Image
			want  bool
		}{
			"Runs":         {signature.Image{Repository: api, Digest: digest(api, "1.0.0")}, true},
			"OfNothing":    {signature.Image{Repository: api, Digest: digest(api, "1.1.0")}, false},
			"OfAnother":    {signature.Image{Repository: web, Digest: digest(api, "1.0.0")}, false},
			"NotAPipeline": {signature.Image{Repository: "registry.test/acme/else", Digest: digest(api, "1.0.0")}, false},
		}
		for name, tc := range tests {
			if got := s.updater.Status().Runs(tc.image); got != tc.want {
				t.Errorf("%s: Runs(%v) = %t", name, tc.image, got)
			}
		}
	})
}
