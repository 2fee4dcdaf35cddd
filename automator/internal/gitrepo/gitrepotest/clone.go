package gitrepotest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Clone is a person's working copy.
type Clone struct {
	Dir string
	tb  testing.TB
}

// Clone makes a working copy of the host's repository, on branch main.
func (s *Server) Clone(tb testing.TB) *Clone {
	tb.Helper()
	c := &Clone{Dir: filepath.Join(tb.TempDir(), "clone"), tb: tb}
	format := strings.TrimSpace(Git(tb, s.Dir, "rev-parse", "--show-object-format"))
	Git(tb, "", "init", "--quiet", "--initial-branch=main", "--object-format="+format, c.Dir)
	Git(tb, c.Dir, "remote", "add", "origin", s.URL())
	Git(tb, c.Dir, "fetch", "--quiet", "origin")
	if Git(tb, c.Dir, "for-each-ref", "refs/remotes/origin/main") != "" {
		Git(tb, c.Dir, "reset", "--quiet", "--hard", "origin/main")
	}
	return c
}

// Write puts files into the working copy; empty content removes one.
func (c *Clone) Write(files map[string]string) {
	c.tb.Helper()
	for name, content := range files {
		path := filepath.Join(c.Dir, filepath.FromSlash(name))
		if content == "" {
			_ = os.Remove(path)
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			c.tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			c.tb.Fatal(err)
		}
	}
}

// Commit commits everything in the working copy and returns the commit's id.
func (c *Clone) Commit(message string) string {
	c.tb.Helper()
	Git(c.tb, c.Dir, "add", "--all")
	Git(c.tb, c.Dir, "commit", "--quiet", "--allow-empty", "--message", message)
	return strings.TrimSpace(Git(c.tb, c.Dir, "rev-parse", "HEAD"))
}

// Push pushes main and fails the test when the host does not take it.
func (c *Clone) Push(args ...string) {
	c.tb.Helper()
	Git(c.tb, c.Dir, append([]string{"push", "--quiet", "origin", "main"}, args...)...)
}

// PushAfterPull pushes main on top of whatever the host has, as often as it takes, and returns the commit's id.
func (c *Clone) PushAfterPull() string {
	c.tb.Helper()
	const attempts = 100
	for range attempts {
		Git(c.tb, c.Dir, "pull", "--quiet", "--rebase", "origin", "main")
		if _, err := git(c.tb.Context(), c.Dir, nil, "push", "--quiet", "origin", "main"); err == nil {
			return strings.TrimSpace(Git(c.tb, c.Dir, "rev-parse", "HEAD"))
		}
	}
	c.tb.Fatalf("no push in %d attempts", attempts)
	return ""
}
