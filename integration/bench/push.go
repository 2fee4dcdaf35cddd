package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	// repo is the image repository, bare the Git repository of the baseline.
	repo = "acme/shop"
	bare = "bare"
	// stepTimeout bounds the wait for one step.
	stepTimeout = time.Minute
)

// Push compares the way from a registry's acknowledgement to a commit on the Git server with a bare push.
type Push struct {
	// Tandem is from the registry's acknowledgement of the image to the moment the branch has the commit.
	Tandem measure.Spread `json:"tandem"`
	// Bare is a `git push` of a commit that changes the same line of the same files, until the branch has it.
	Bare measure.Spread `json:"bare_push"`
	// Overhead is the difference of the medians.
	Overhead float64 `json:"overhead_p50"`
	Samples  int     `json:"samples"`
}

// prepare deploys the sample application.
func (b *bench) prepare(ctx context.Context) error {
	pushed, err := b.world.Registry.Push(ctx, repo, "1.0.0", registry.Image{})
	if err != nil {
		return err
	}
	files, err := b.world.Sample(site, pushed.Reference())
	if err != nil {
		return err
	}
	files[".tandem/clusters.yaml"] = "version: 1\nclusters: [{name: " + site + ", grants: [{refs: [main], paths: [env, load]}]}]\n"
	change := gitserver.Change{Files: files, Message: "Seed", Signer: b.world.Human}
	if _, err := b.world.Commit(ctx, change); err != nil {
		return err
	}
	if err := b.world.Git.Create(ctx, bare); err != nil {
		return err
	}
	if _, err := b.world.Git.Commit(ctx, bare, change); err != nil {
		return err
	}
	if err := b.world.StartAll(ctx); err != nil {
		return err
	}
	if err := b.site.Apply(ctx, env.SampleSyncFor(site)); err != nil {
		return err
	}
	_, err = b.world.WaitSync(ctx, site, env.SampleSync, env.Healthy)
	return err
}

// push measures image pushes and bare pushes in turn.
func (b *bench) push(ctx context.Context, report *Report) error {
	moved := map[string]chan time.Time{env.Repository: make(chan time.Time, 16), bare: make(chan time.Time, 16)}
	b.world.Git.AfterPush(func(_ context.Context, repository string) error {
		moved[repository] <- time.Now()
		return nil
	})
	defer b.world.Git.AfterPush(nil)
	clone, err := b.clone(ctx)
	if err != nil {
		return err
	}
	var tandem, baseline []time.Duration
	for i := 1; i <= b.opts.Pushes; i++ {
		tag := fmt.Sprintf("1.%d.0", i)
		pushed, err := b.world.Registry.Push(ctx, repo, tag, registry.Image{})
		if err != nil {
			return err
		}
		at, err := receive(ctx, moved[env.Repository])
		if err != nil {
			return fmt.Errorf("commit of %s: %w", tag, err)
		}
		tandem = append(tandem, at.Sub(pushed.At))
		if _, err := b.world.WaitSync(ctx, site, env.SampleSync, env.Healthy); err != nil {
			return err
		}
		took, err := clone.push(ctx, i, moved[bare])
		if err != nil {
			return fmt.Errorf("bare push: %w", err)
		}
		baseline = append(baseline, took)
	}
	report.PushToCommit = Push{
		Tandem: measure.Of(tandem), Bare: measure.Of(baseline), Overhead: measure.Milliseconds(median(tandem) - median(baseline)), Samples: len(tandem),
	}
	return nil
}

func receive[T any](ctx context.Context, from <-chan T) (value T, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	select {
	case value = <-from:
		return value, nil
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// clone is a work tree of the baseline's repository.
type clone struct{ dir string }

func (b *bench) clone(ctx context.Context) (*clone, error) {
	url, err := b.world.GitURL(bare)
	if err != nil {
		return nil, err
	}
	c := &clone{dir: filepath.Join(b.world.Dir(), "clone")}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	return c, c.git(ctx, "clone", "-q", url, ".")
}

// push commits a change of one line and measures the push alone.
func (c *clone) push(ctx context.Context, i int, moved <-chan time.Time) (time.Duration, error) {
	path := filepath.Join(c.dir, "env", site, "note.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\ndata: {i: %q}\n", fmt.Sprint(i)), 0o600); err != nil {
		return 0, err
	}
	if err := c.git(ctx, "add", "."); err != nil {
		return 0, err
	}
	if err := c.git(ctx, "commit", "-qm", "Change"); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := c.git(ctx, "push", "-q", "origin", "HEAD:main"); err != nil {
		return 0, err
	}
	at, err := receive(ctx, moved)
	return at.Sub(began), err
}

func (c *clone) git(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "user.name=Bench", "-c", "user.email=bench@example.com", "-c", "gc.auto=0"}, args...)...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
