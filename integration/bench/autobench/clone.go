package autobench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// clone is a repository of somebody who uses git itself.
type clone struct{ dir, name string }

// newClone clones a repository, without a work tree.
func newClone(ctx context.Context, dir, name, url string) (*clone, error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, err
	}
	c := &clone{dir: dir, name: name}
	_, err := c.git(ctx, "clone", "--quiet", "--bare", url, ".")
	return c, err
}

// git runs git and returns what it printed.
func (c *clone) git(ctx context.Context, args ...string) (string, error) {
	return c.gitWith(ctx, nil, args...)
}

func (c *clone) gitWith(ctx context.Context, in io.Reader, args ...string) (string, error) {
	settings := []string{"-c", "user.name=" + c.name, "-c", "user.email=" + c.name + "@example.com", "-c", "gc.auto=0"}
	cmd := exec.CommandContext(ctx, "git", append(settings, args...)...)
	cmd.Dir, cmd.Stdin = c.dir, in
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}
