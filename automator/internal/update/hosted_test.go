package update_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/githosttest"
	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// tellByAPI is a story whose commits the fake GitHub makes.
func tellByAPI(t *testing.T) (*story, *githosttest.FakeGitHub) {
	t.Helper()
	s := tell(t, shop())
	fake := startGitHub(t, s)
	s.host.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if gitrepotest.IsPush(req) && req.UserAgent() == "git/tandem" {
			t.Error("something was pushed")
		}
		next.ServeHTTP(w, req)
	})
	return s, fake
}

// startGitHub starts a fake GitHub that has the story's repository.
func startGitHub(t *testing.T, s *story) *githosttest.FakeGitHub {
	t.Helper()
	app := githost.App{ID: githosttest.AppID, Installation: githosttest.Installation, KeyFile: filepath.Join(t.TempDir(), "app.pem")}
	key, err := githosttest.WriteKey(app.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	fake := githosttest.New(key, s.host.Dir)
	t.Cleanup(fake.Close)
	app.API = fake.API()
	pauses := &githost.Pauses{}
	tokens, err := app.Source(githosttest.Remote, fake.Trusting, pauses)
	if err != nil {
		t.Fatal(err)
	}
	if s.api, err = app.Commits(githosttest.Remote, tokens, fake.Trusting, pauses); err != nil {
		t.Fatal(err)
	}
	return fake
}

func (s *story) committed(want ...string) {
	s.t.Helper()
	s.await("the commits are told", func() bool { return len(s.events.seen(update.Committed)) >= len(want) })
	if diff := cmp.Diff(want, s.events.seen(update.Committed)); diff != "" {
		s.t.Errorf("committed: -want, +got:\n%s", diff)
	}
}

// problem waits until the status shows a problem.
func (s *story) problem(part string) {
	s.t.Helper()
	s.await("there is a problem with "+part, func() bool {
		for _, p := range s.updater.Status().Problems {
			if strings.Contains(p.String(), part) {
				return true
			}
		}
		return false
	})
}

func (s *story) noProblem() {
	s.t.Helper()
	s.await("there is no problem", func() bool { return len(s.updater.Status().Problems) == 0 })
}

func TestStoryByAPI(t *testing.T) {
	t.Parallel()
	s, _ := tellByAPI(t)
	s.start()
	s.release(api, "1.1.0")
	s.awaitImage("api", pinned(api, "1.1.0"))
	s.committed("shop dev api:1.1.0")
	s.noProblem()
	s.logged("Ann: first", "tandem[bot]: shop: api 1.1.0 to dev")
	got := gitrepotest.Git(t, s.host.Dir, "log", "-1", "--format=%cn %(trailers:key=Tandem-Writer,valueonly)", "main")
	if want := "GitHub Tandem <tandem@example.com>"; strings.TrimSpace(got) != want {
		t.Errorf("committer and writer: %q, want %q", got, want)
	}
	s.stop()

	// A process that knows nothing finds its commit, and tells of it.
	s.events = &events{}
	s.start()
	s.committed("shop dev api:1.1.0")
}

func TestStoryLostRaceByAPI(t *testing.T) {
	t.Parallel()
	s, fake := tellByAPI(t)
	s.start()
	var first atomic.Bool
	fake.Intercept(func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
		if first.CompareAndSwap(false, true) {
			s.person.Write(map[string]string{"README.md": "theirs\n"})
			s.person.Commit("meanwhile")
			s.person.Push()
		}
		answer(w, r)
	})
	s.release(api, "1.1.0")
	s.awaitImage("api", pinned(api, "1.1.0"))
	s.committed("shop dev api:1.1.0")
	s.logged("Ann: first", "Ann: meanwhile", "tandem[bot]: shop: api 1.1.0 to dev")
	if fake.Asked() != 2 {
		t.Errorf("the host was asked %d times", fake.Asked())
	}
}

// afterwards is a host that fails after it did what it was asked, once.
func afterwards() func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
	var failed atomic.Bool
	return func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
		if failed.CompareAndSwap(false, true) {
			answer(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		answer(w, r)
	}
}

func TestStoryFailureAfterTheCommit(t *testing.T) {
	t.Parallel()
	s, fake := tellByAPI(t)
	fake.Intercept(afterwards())
	s.start()
	s.release(api, "1.1.0")
	s.committed("shop dev api:1.1.0")
	s.noProblem()
	s.release(api, "1.2.0")
	s.committed("shop dev api:1.1.0", "shop dev api:1.2.0")
	s.logged("Ann: first", "tandem[bot]: shop: api 1.1.0 to dev", "tandem[bot]: shop: api 1.2.0 to dev")
	if fake.Asked() != 2 {
		t.Errorf("the host was asked %d times", fake.Asked())
	}
}

// What a host made that is not what it was asked for is told, whatever it answered, and it is asked for nothing more.
func TestStoryAnotherCommit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mangle func(first, tree gitobject.ID) func(*gitobject.Commit)
		fails  bool
		says   string
	}{
		"Tree":           {mangle: unchanged, says: "has the tree"},
		"TreeAndFailure": {mangle: unchanged, says: "has the tree", fails: true},
		"Parent": {mangle: func(first, _ gitobject.ID) func(*gitobject.Commit) {
			return func(c *gitobject.Commit) { c.Parents = append(c.Parents, first) }
		}, says: "is on top of"},
		"Words": {mangle: func(_, _ gitobject.ID) func(*gitobject.Commit) {
			return func(c *gitobject.Commit) { c.Message += "\n\nSigned-off-by: GitHub <noreply@github.com>\n" }
		}, says: "does not say"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, fake := tellByAPI(t)
			s.person.Write(map[string]string{"README.md": "second\n"})
			s.person.Commit("second")
			s.person.Push()
			fake.Mangle = tc.mangle(s.object("main~1"), s.object("main^{tree}"))
			if tc.fails {
				fake.Intercept(afterwards())
			}
			s.start()
			s.release(api, "1.1.0")
			s.problem(tc.says)
			s.release(api, "1.2.0")
			s.await("1.2.0 is to be written", func() bool {
				return strings.Contains(fmt.Sprint(s.updater.Status().Pipelines[0].Environments[0].Reasons), "1.2.0 is to be written")
			})
			s.problem("nothing more is written")
			if fake.Asked() != 1 {
				t.Errorf("the host was asked %d times", fake.Asked())
			}
			if rejected := s.events.seen(update.Rejected); len(rejected) == 0 {
				t.Error("nobody was told")
			}
		})
	}
}

// object is the id of something that the host has.
func (s *story) object(name string) gitobject.ID {
	s.t.Helper()
	id, err := gitobject.ParseID(strings.TrimSpace(gitrepotest.Git(s.t, s.host.Dir, "rev-parse", name)))
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// unchanged has the host leave everything as it was.
func unchanged(_, tree gitobject.ID) func(*gitobject.Commit) {
	return func(c *gitobject.Commit) { c.Tree = tree }
}

// An executable file would lose its mode; it keeps no other from being written.
func TestStoryExecutableByAPI(t *testing.T) {
	t.Parallel()
	s, _ := tellByAPI(t)
	s.chmod("env/dev/web.yaml", 0o700)
	s.start()
	s.images.push(web, "2.0.0")
	s.release(api, "1.1.0")
	s.awaitImage("api", pinned(api, "1.1.0"))
	s.problem("env/dev/web.yaml: its mode is 100755")
	if got := s.file("env/dev/web.yaml"); got != manifest("web", pinned(web, "1.0.0")) {
		t.Errorf("web: %s", got)
	}
	s.chmod("env/dev/web.yaml", 0o600)
	s.fetch()
	s.awaitImage("web", pinned(web, "2.0.0"))
}

// chmod has the person push a file with another mode.
func (s *story) chmod(name string, mode os.FileMode) {
	s.t.Helper()
	if err := os.Chmod(filepath.Join(s.person.Dir, name), mode); err != nil {
		s.t.Fatal(err)
	}
	s.person.Commit("chmod")
	s.person.PushAfterPull()
}

// hostFn is a host in memory.
type hostFn func(c githost.Commit) (gitobject.ID, error)

func (fn hostFn) Commit(_ context.Context, c githost.Commit) (gitobject.ID, error) { return fn(c) }

// A host that has had too much is left alone as long as it wants, and people see why nothing happens.
func TestHostWantsToBeLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, shop())
		s.images.push(api, "1.0.0")
		s.images.push(web, "1.0.0")
		var asked atomic.Int32
		s.host = hostFn(func(githost.Commit) (gitobject.ID, error) {
			asked.Add(1)
			return gitobject.ID{}, &githost.LaterError{After: 10 * time.Minute, Reason: "slow down"}
		})
		s.updater = s.newUpdater()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.updater.Run(ctx) }()
		synctest.Wait()
		s.release(api, "1.1.0")
		for range 10 {
			s.wake()
		}
		<-time.After(9 * time.Minute)
		if problems := strings.Join(s.problems(), "\n"); asked.Load() != 1 || !strings.Contains(problems, "slow down") {
			t.Errorf("asked %d times; problems: %s", asked.Load(), problems)
		}
		<-time.After(time.Minute + time.Microsecond)
		synctest.Wait()
		if asked.Load() != 1 {
			t.Error("asked as soon as it may be, with all other writers of the installation")
		}
		<-time.After(time.Minute + time.Second)
		if asked.Load() != 2 {
			t.Errorf("asked %d times after 11 minutes", asked.Load())
		}
		cancel()
		<-done
	})
}

// playByAPI is play with a host in memory.
func playByAPI(t *testing.T, files map[string]string, host func(s *scene, c githost.Commit) (gitobject.ID, error), test func(s *scene)) {
	t.Helper()
	playWith(t, files, func(s *scene) {
		s.host = hostFn(func(c githost.Commit) (gitobject.ID, error) { return host(s, c) })
	}, test)
}

// carryOut makes a commit that a host was asked for, with other changes if there are any.
func (s *scene) carryOut(c githost.Commit, instead map[string]string) gitobject.ID {
	if instead == nil {
		instead = map[string]string{}
		for name, content := range c.Files {
			instead[name] = string(content)
		}
	}
	return s.foreignOn("refs/heads/"+c.Branch, c.Message, instead)
}

// A commit that is seen only after another one was asked for is held against what was planned as well.
func TestCommitThatIsSeenLate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		instead  map[string]string
		asked    int
		problems string
	}{
		"AsPlanned": {nil, 3, ""},
		"Another":   {map[string]string{"README.md": "something else\n"}, 2, "has the tree"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []githost.Commit
			host := func(s *scene, c githost.Commit) (gitobject.ID, error) {
				asked = append(asked, c)
				switch len(asked) {
				case 1:
					return gitobject.ID{}, githost.ErrOutcomeUnknown
				case 2:
					s.carryOut(asked[0], tc.instead)
					return gitobject.ID{}, fault.New(fault.Conflict, "stale")
				}
				return s.carryOut(c, nil), nil
			}
			playByAPI(t, shop(), host, func(s *scene) {
				s.release(api, "1.1.0")
				s.release(api, "1.2.0")
				<-time.After(10 * time.Minute)
				if len(asked) != tc.asked {
					t.Errorf("the host was asked %d times, want %d", len(asked), tc.asked)
				}
				problems := strings.Join(s.problems(), "\n")
				if tc.problems == "" && problems != "" || !strings.Contains(problems, tc.problems) {
					t.Errorf("problems: %q, want %q", problems, tc.problems)
				}
			})
		})
	}
}

// What was asked for at a commit that the branch has left behind is not looked for again.
func TestCommitThatNeverComes(t *testing.T) {
	t.Parallel()
	unknown := func(*scene, githost.Commit) (gitobject.ID, error) { return gitobject.ID{}, githost.ErrOutcomeUnknown }
	playByAPI(t, shop(), unknown, func(s *scene) {
		s.release(api, "1.1.0")
		s.person("by hand", map[string]string{"env/dev/api.yaml": manifest("api", pinned(api, "1.1.0"))})
		for i := range 50 {
			s.foreign("more", map[string]string{"README.md": fmt.Sprint(i)})
		}
		_ = s.FetchRef(t.Context(), branch)
		<-time.After(10 * time.Minute)
		s.wake()
		before := s.reads
		s.wake()
		if reads := s.reads - before; reads >= 50 {
			t.Errorf("a pass in which nothing happened read %d objects", reads)
		}
	})
}

// A lost race costs a request that the host counts, so that few are run in a minute.
func TestRacesByAPIAreFew(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	lost := func(*scene, githost.Commit) (gitobject.ID, error) {
		asked.Add(1)
		return gitobject.ID{}, fault.New(fault.Conflict, "stale")
	}
	playByAPI(t, shop(), lost, func(s *scene) {
		s.release(api, "1.1.0")
		<-time.After(4 * time.Minute)
		if asked.Load() < 4 || asked.Load() > 160 {
			t.Errorf("the host was asked %d times in 4 minutes", asked.Load())
		}
		if problems := s.problems(); len(problems) > 0 {
			t.Errorf("problems: %q", problems)
		}
	})
}

// many are pipelines with so many files each, which end in padding.
func many(padding string, counts ...int) map[string]string {
	files := map[string]string{}
	for i, count := range counts {
		files[fmt.Sprintf(".tandem/p%d.yaml", i)] = fmt.Sprintf(`version: 1
app: p%d
images: [{name: api, repository: registry.test/acme/api}]
environments: [{name: dev, path: env/p%d}]
`, i, i)
		for n := range count {
			files[fmt.Sprintf("env/p%d/%d.yaml", i, n)] = manifest("api", pinned(api, "1.0.0")) + padding
		}
	}
	return files
}

// More than a host takes in one commit becomes several, and what is too much alone is told and holds nobody.
func TestMoreThanACommitTakes(t *testing.T) {
	t.Parallel()
	const third = githost.MaxBytes/3 + 1
	for name, tc := range map[string]struct {
		padding string
		counts  []int
		problem string
	}{
		"Files": {"", []int{githost.MaxFiles - 1, githost.MaxFiles + 1, 2}, "1001 files of"},
		"Bytes": {"# " + strings.Repeat("x", third), []int{2, 3, 1}, "3 files of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			host := func(s *scene, c githost.Commit) (gitobject.ID, error) {
				asked.Add(1)
				size := 0
				for _, content := range c.Files {
					size += len(content)
				}
				if len(c.Files) > githost.MaxFiles || size > githost.MaxBytes {
					return gitobject.ID{}, fault.New(fault.Invalid, "%d files of %d bytes", len(c.Files), size)
				}
				return s.carryOut(c, nil), nil
			}
			playByAPI(t, many(tc.padding, tc.counts...), host, func(s *scene) {
				s.release(api, "1.1.0")
				_, files, _ := s.at()
				for i, want := range []string{"1.1.0", "1.0.0", "1.1.0"} {
					name := fmt.Sprintf("env/p%d/0.yaml", i)
					if !strings.HasPrefix(files[name], manifest("api", pinned(api, want))) {
						t.Errorf("%s is not at %s", name, want)
					}
				}
				if problems := strings.Join(s.problems(), "\n"); !strings.Contains(problems, tc.problem) || !strings.Contains(problems, "in one commit") {
					t.Errorf("problems: %s", problems)
				}
				if asked.Load() != 2 {
					t.Errorf("the host was asked %d times, want 2", asked.Load())
				}
			})
		})
	}
}

// JSON has no path but of UTF-8: another one would become another file.
func TestPathThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	const name = "env/dev/w\xffb.yaml"
	files := shop()
	files[name] = files["env/dev/web.yaml"]
	delete(files, "env/dev/web.yaml")
	host := func(s *scene, c githost.Commit) (gitobject.ID, error) { return s.carryOut(c, nil), nil }
	playByAPI(t, files, host, func(s *scene) {
		s.release(web, "2.0.0")
		s.release(api, "1.1.0")
		_, got, _ := s.at()
		if got["env/dev/api.yaml"] != manifest("api", pinned(api, "1.1.0")) || got[name] != files[name] {
			t.Errorf("api: %s, web: %s", got["env/dev/api.yaml"], got[name])
		}
		if problems := strings.Join(s.problems(), "\n"); !strings.Contains(problems, "is not UTF-8") {
			t.Errorf("problems: %s", problems)
		}
	})
}

// A host that is asked for nothing more is shown once.
func TestBrokenHostIsShownOnce(t *testing.T) {
	t.Parallel()
	host := func(s *scene, c githost.Commit) (gitobject.ID, error) {
		return s.carryOut(c, map[string]string{"README.md": "something else\n"}), nil
	}
	playByAPI(t, shop(), host, func(s *scene) {
		s.release(api, "1.1.0")
		s.release(api, "1.2.0")
		for range 3 {
			if problems := s.problems(); len(problems) != 1 || !strings.Contains(problems[0], "nothing more is written") {
				t.Errorf("problems: %q", problems)
			}
			<-time.After(time.Minute)
			s.wake()
		}
	})
}
