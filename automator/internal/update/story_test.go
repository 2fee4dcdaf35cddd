package update_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

// story is a branch on a real Git host, over HTTP, with a process that writes it.
type story struct {
	t      *testing.T
	host   *gitrepotest.Server
	person *gitrepotest.Clone
	dir    string
	images *images
	events *events
	api    update.Host // nil pushes

	repo    *gitrepo.Repo
	updater *update.Updater
	stop    func()
}

func tell(t *testing.T, files map[string]string) *story {
	t.Helper()
	s := &story{t: t, host: gitrepotest.New(t), dir: t.TempDir(), images: newImages(), events: &events{}}
	s.person = s.host.Clone(t)
	s.person.Write(files)
	s.person.Commit("first")
	s.person.Push()
	s.images.push(api, "1.0.0")
	s.images.push(web, "1.0.0")
	return s
}

// start starts a process on the story's state directory; it ends with the test, or when stopped.
func (s *story) start() {
	s.t.Helper()
	log, _ := logtest.New(s.t)
	ctx, cancel := context.WithCancel(s.t.Context())
	repo, updater, err := process(ctx, s.host.URL(), s.dir, update.Deps{
		Host: s.api, Images: s.images, Evidence: &evidence{}, Events: s.events, Log: log,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.repo, s.updater = repo, updater
	done := make(chan error)
	go func() { done <- updater.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		_ = repo.Close()
	})
	s.t.Cleanup(s.stop)
}

// process is an automator as far as a branch is concerned.
func process(ctx context.Context, url, dir string, deps update.Deps) (*gitrepo.Repo, *update.Updater, error) {
	repo, err := gitrepo.Open(ctx, gitrepo.Config{Name: "fleet", URL: url, Dir: dir, PushTimeout: 20 * time.Second})
	if err != nil {
		return nil, nil, err
	}
	deps.Repository = repo
	return repo, update.New(config(), deps), nil
}

func (s *story) release(repository string, tags ...string) {
	s.images.push(repository, tags...)
	s.updater.Wake()
}

// fetch has the process learn of what others pushed.
func (s *story) fetch() {
	s.t.Helper()
	if _, err := s.repo.Fetch(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.updater.Wake()
}

// await waits until something is so.
func (s *story) await(what string, so func() bool) {
	s.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("waited in vain until %s; log:\n%s", what, s.log())
		}
	}
}

func (s *story) file(name string) string {
	s.t.Helper()
	return gitrepotest.Git(s.t, s.host.Dir, "show", "main:"+name)
}

// awaitImage waits until the host has an image at dev.
func (s *story) awaitImage(name, image string) {
	s.t.Helper()
	s.await(name+" is "+image, func() bool { return s.file("env/dev/"+name+".yaml") == manifest(name, image) })
}

// log is the host's history, oldest first, in a line each: who and what.
func (s *story) log() string {
	s.t.Helper()
	return gitrepotest.Git(s.t, s.host.Dir, "log", "--reverse", "--format=%an: %s", "main")
}

func (s *story) logged(want ...string) {
	s.t.Helper()
	if got := strings.Split(strings.TrimSpace(s.log()), "\n"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Errorf("log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Two people push as fast as they can while images are released.
func TestStoryRace(t *testing.T) {
	t.Parallel()
	s := tell(t, shop())
	s.start()
	const perPerson, releases = 10, 8
	people := []*gitrepotest.Clone{s.person, s.host.Clone(t)}
	var wg sync.WaitGroup
	for who, person := range people {
		wg.Go(func() {
			for i := range perPerson {
				person.Write(map[string]string{fmt.Sprintf("notes/%d-%d", who, i): "x\n"})
				person.Commit(fmt.Sprintf("note %d-%d", who, i))
				person.PushAfterPull()
			}
		})
	}
	for i := range releases {
		s.release(api, fmt.Sprintf("1.%d.0", i+1))
		s.await("it was seen", func() bool { return len(s.events.seen(update.Committed)) > i/2 })
	}
	wg.Wait()
	s.awaitImage("api", pinned(api, fmt.Sprintf("1.%d.0", releases)))

	log := s.log()
	for who := range people {
		for i := range perPerson {
			if line := fmt.Sprintf("Ann: note %d-%d\n", who, i); strings.Count(log, line) != 1 {
				t.Errorf("%q is there %d times in\n%s", line, strings.Count(log, line), log)
			}
		}
	}
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "Tandem: ") && strings.Count(log, line) != 1 {
			t.Errorf("%q is there twice in\n%s", line, log)
		}
	}
	gitrepotest.Git(t, s.host.Dir, "fsck", "--strict")
}

func TestStoryHostRefuses(t *testing.T) {
	t.Parallel()
	s := tell(t, shop())
	s.host.Hook(t, "pre-receive", "echo frozen until monday >&2; exit 1")
	s.start()
	s.release(api, "1.1.0")
	shown := func() bool {
		problems := s.updater.Status().Problems
		return len(problems) == 1 && strings.Contains(problems[0].Message, "frozen until monday")
	}
	s.await("the host's reason is shown", shown)
	s.await("it is told", func() bool { return len(s.events.seen(update.Rejected)) > 0 })
	if told := s.events.seen(update.Rejected); len(told) != 1 || !strings.Contains(told[0], "frozen until monday") {
		t.Errorf("told: %q", told)
	}
	s.host.Hook(t, "pre-receive", "")
	s.host.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if gitrepotest.IsPush(req) {
			http.Error(w, "no write access", http.StatusForbidden)
			s.host.Intercept(nil)
			return
		}
		next.ServeHTTP(w, req)
	})
	s.awaitImage("api", pinned(api, "1.1.0"))
	s.logged("Ann: first", "Tandem: shop: api 1.1.0 to dev")
	s.await("the problem is gone", func() bool { return len(s.updater.Status().Problems) == 0 })
}

func TestStoryCutAfterTheHostTookIt(t *testing.T) {
	t.Parallel()
	s := tell(t, shop())
	s.start()
	s.host.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if gitrepotest.IsPush(req) {
			s.host.Intercept(nil)
			gitrepotest.CutAfter(w, req, next)
			return
		}
		next.ServeHTTP(w, req)
	})
	s.release(api, "1.1.0")
	s.await("the commit is told of", func() bool { return len(s.events.seen(update.Committed)) == 1 })
	s.release(web, "1.1.0")
	s.awaitImage("web", pinned(web, "1.1.0"))
	s.logged("Ann: first", "Tandem: shop: api 1.1.0 to dev", "Tandem: shop: web 1.1.0 to dev")
}

func TestStoryPersonsChangeIsHeld(t *testing.T) {
	t.Parallel()
	s := tell(t, shop())
	s.start()
	s.release(api, "1.1.0")
	s.awaitImage("api", pinned(api, "1.1.0"))
	gitrepotest.Git(t, s.person.Dir, "pull", "--quiet", "--rebase", "origin", "main")
	gitrepotest.Git(t, s.person.Dir, "revert", "--no-edit", "HEAD")
	s.person.Push()
	s.stop()
	s.start() // knows nothing but Git
	s.release(web, "1.1.0")
	s.awaitImage("web", pinned(web, "1.1.0"))
	s.awaitImage("api", pinned(api, "1.0.0"))
	s.release(api, "1.2.0")
	s.awaitImage("api", pinned(api, "1.2.0"))
	s.logged("Ann: first", "Tandem: shop: api 1.1.0 to dev", `Ann: Revert "shop: api 1.1.0 to dev"`,
		"Tandem: shop: web 1.1.0 to dev", "Tandem: shop: api 1.2.0 to dev")
}

// A process is killed while its push is under way, before or after the host took it. Its successor finds the state
// directory as it was left, and Git.
func TestStoryKilled(t *testing.T) {
	t.Parallel()
	for name, taken := range map[string]bool{"BeforeTheHostTookIt": false, "AfterTheHostTookIt": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, shop())
			victim := exec.CommandContext(t.Context(), os.Args[0])
			victim.Env = append(os.Environ(), "TANDEM_CRASH_URL="+s.host.URL(), "TANDEM_CRASH_DIR="+s.dir)
			victim.Stderr = os.Stderr
			pushing, killed := make(chan struct{}), make(chan struct{})
			s.host.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				if !gitrepotest.IsPush(req) {
					next.ServeHTTP(w, req)
					return
				}
				s.host.Intercept(nil)
				close(pushing)
				<-killed
				if taken {
					gitrepotest.CutAfter(w, req, next)
					return
				}
				gitrepotest.Cut(w)
			})
			if err := victim.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-pushing:
			case <-time.After(time.Minute):
				t.Error("the process pushes nothing")
			}
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			close(killed)
			_ = victim.Wait()
			s.images.push(api, "1.1.0")
			s.start()
			s.awaitImage("api", pinned(api, "1.1.0"))
			s.await("the commit is told of", func() bool { return len(s.events.seen(update.Committed)) == 1 })
			s.release(web, "1.1.0")
			s.awaitImage("web", pinned(web, "1.1.0"))
			s.logged("Ann: first", "Tandem: shop: api 1.1.0 to dev", "Tandem: shop: web 1.1.0 to dev")
		})
	}
}

// crash is the process that is killed: the test binary itself, when it is asked to be.
func crash() bool {
	url, dir := os.Getenv("TANDEM_CRASH_URL"), os.Getenv("TANDEM_CRASH_DIR")
	if url == "" {
		return false
	}
	images := newImages()
	images.push(api, "1.0.0", "1.1.0")
	images.push(web, "1.0.0")
	ctx := context.Background()
	_, updater, err := process(ctx, url, dir, update.Deps{
		Images: images, Evidence: &evidence{}, Events: &events{}, Log: zap.NewNop(),
	})
	if err = errors.Join(err, updater.Run(ctx)); err != nil {
		panic(err)
	}
	return true
}
