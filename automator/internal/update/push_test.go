package update_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

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
		if tried > 4500 {
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
		s.refs[branch].remote = gitobject.ID{}
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
