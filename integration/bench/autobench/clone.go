package autobench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clone is a work tree of somebody who uses git itself.
type clone struct{ dir, name string }

// newClone clones the newest commit of a repository, or all of it.
func newClone(ctx context.Context, dir, name, url string, arguments ...string) (*clone, error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, err
	}
	c := &clone{dir: dir, name: name}
	_, err := c.git(ctx, append(append([]string{"clone", "--quiet"}, arguments...), url, ".")...)
	return c, err
}

// write writes a file of the work tree.
func (c *clone) write(path, content string) error {
	path = filepath.Join(c.dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), privateMode)
}

// git runs git and returns what it printed.
func (c *clone) git(ctx context.Context, args ...string) (string, error) {
	settings := []string{"-c", "user.name=" + c.name, "-c", "user.email=" + c.name + "@example.com", "-c", "gc.auto=0"}
	cmd := exec.CommandContext(ctx, "git", append(settings, args...)...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}
