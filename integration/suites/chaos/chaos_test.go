package chaos_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/integration/chaos"
	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
)

// ground is what all stories of the package stand on, started by the first.
var ground struct {
	once sync.Once
	*env.Ground
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if ground.Ground != nil {
		if err := ground.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func tell(t *testing.T, story chaos.Story) {
	t.Helper()
	ground.once.Do(func() { ground.Ground, ground.err = chaos.Ground(context.Background(), "", say) })
	if ground.err != nil {
		t.Fatal(ground.err)
	}
	outcome := chaos.Tell(t.Context(), ground.Ground, story, t.Logf)
	if outcome.Skipped != "" {
		t.Skip(outcome.Skipped)
	}
	if outcome.Failure != "" {
		t.Error(outcome.Failure)
	}
}

func TestStories(t *testing.T) {
	stories, err := chaos.Select(chaos.Stories(), nil, testing.Short())
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range stories {
		t.Run(story.Name, func(t *testing.T) { tell(t, story) })
	}
}

// TestCheckFails breaks a world that is well, on each of the checker's sides, and wants that to be found: judging is tested
// beside its code, and this tests what is gathered.
func TestCheckFails(t *testing.T) {
	tell(t, chaos.Story{Name: "sabotage", What: "Things are broken on purpose.", Tell: func(ctx context.Context, s *chaos.Scene) error {
		for _, sabotage := range []func(context.Context, *testing.T, *chaos.Scene){removed, lost, doubled, leftOver} {
			sabotage(ctx, t, s)
			s.Over()
			if err := s.Converged(ctx, "mended"); err != nil {
				return err
			}
		}
		return nil
	}})
}

// finds wants the check to fail and to say a text.
func finds(ctx context.Context, t *testing.T, s *chaos.Scene, want string) {
	t.Helper()
	if err := s.Check(ctx); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Check: %v, want %q", err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func removed(ctx context.Context, t *testing.T, s *chaos.Scene) {
	t.Helper()
	must(t, s.Site.Synchronizer.Stop(ctx))
	maps := s.World.Client.CoreV1().ConfigMaps(s.Site.Namespace)
	must(t, maps.Delete(ctx, "web", metav1.DeleteOptions{}))
	finds(ctx, t, s, "ConfigMap/web is in Git and not in the cluster")
	must(t, s.Site.Synchronizer.Start(ctx))
	was := s.Want.UIDs["ConfigMap/web"]
	must(t, s.Until(ctx, "the ConfigMap is back", func(ctx context.Context) (bool, error) {
		again, err := maps.Get(ctx, "web", metav1.GetOptions{})
		if err == nil {
			s.Want.UIDs["ConfigMap/web"] = string(again.UID)
		}
		return err == nil, err
	}))
	now := s.Want.UIDs["ConfigMap/web"]
	s.Want.UIDs["ConfigMap/web"] = was
	finds(ctx, t, s, "it was removed")
	s.Want.UIDs["ConfigMap/web"] = now
}

func lost(ctx context.Context, t *testing.T, s *chaos.Scene) {
	t.Helper()
	id, err := s.Foreign(ctx, map[string]string{"docs/a.md": "a\n"})
	must(t, err)
	_, err = s.World.Git.Git(ctx, env.Repository, "update-ref", "refs/heads/main", id+"~1")
	must(t, err)
	finds(ctx, t, s, id+" of somebody else is on the branch 0 times")
	_, err = s.World.Git.Git(ctx, env.Repository, "update-ref", "refs/heads/main", id)
	must(t, err)
}

func doubled(ctx context.Context, t *testing.T, s *chaos.Scene) {
	t.Helper()
	must(t, s.Release(ctx))
	s.Over()
	must(t, s.Converged(ctx, "before it is doubled"))
	log, err := s.World.Git.Log(ctx, env.Repository, "refs/heads/main")
	must(t, err)
	again, err := s.World.Git.Commit(ctx, env.Repository, gitserver.Change{
		Files: map[string]string{"docs/again.md": "again\n"}, Message: log[0].Message, Signer: s.World.Human,
	})
	must(t, err)
	finds(ctx, t, s, "was committed 2 times")
	_, err = s.World.Git.Git(ctx, env.Repository, "update-ref", "refs/heads/main", again+"~1")
	must(t, err)
}

func leftOver(ctx context.Context, t *testing.T, s *chaos.Scene) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Log("processes are not looked for: there is no /proc")
		return
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!") // its parent ends, and it does not
	cmd.Dir = s.World.Dir()
	out, err := cmd.Output()
	must(t, err)
	id, err := strconv.Atoi(strings.TrimSpace(string(out)))
	must(t, err)
	finds(ctx, t, s, fmt.Sprintf("left over: %d sleep 300", id))
	orphan, err := os.FindProcess(id)
	must(t, err)
	must(t, orphan.Kill())
}
