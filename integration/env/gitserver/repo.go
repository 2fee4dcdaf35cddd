package gitserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const folderMode = 0o755

// Commit is a commit of a repository's log.
type Commit struct {
	ID, Tree string
	Parents  []string
	Author   string // name
	Email    string
	Time     time.Time // of the committer
	Message  string
}

// Create makes an empty bare repository whose first branch is main, and that
// may be pushed to and partially cloned from. Further arguments are those of git
// init, such as --object-format=sha256.
func (s *Server) Create(ctx context.Context, repo string, initArgs ...string) error {
	if err := os.MkdirAll(filepath.Dir(s.git.dir(repo)), folderMode); err != nil {
		return err
	}
	args := append([]string{"init", "--quiet", "--bare", "--initial-branch=main"}, initArgs...)
	cmd := s.git.command(ctx, repo, append(args, s.git.dir(repo))...)
	cmd.Dir = s.git.root // the repository's own is not there yet
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("create %s: %w: %s", repo, err, out)
	}
	for _, setting := range []string{
		"http.receivepack=true",
		"uploadpack.allowFilter=true",
		"uploadpack.allowAnySHA1InWant=true",
		"receive.autogc=false", // a repack in a test's way
	} {
		name, value, _ := strings.Cut(setting, "=")
		if _, err := s.git.run(ctx, repo, nil, "config", name, value); err != nil {
			return err
		}
	}
	return nil
}

// Git runs the git program in the bare repository, for what this package has
// no method for, and returns its standard output.
func (s *Server) Git(ctx context.Context, repo string, args ...string) (string, error) {
	out, err := s.git.run(ctx, repo, nil, args...)
	return string(out), err
}

// Tip is the commit a ref points at.
func (s *Server) Tip(ctx context.Context, repo, ref string) (string, error) {
	out, err := s.Git(ctx, repo, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	return strings.TrimSpace(out), err
}

// File is the content of a file at a ref.
func (s *Server) File(ctx context.Context, repo, ref, path string) (string, error) {
	return s.Git(ctx, repo, "cat-file", "blob", ref+":"+path)
}

// Log lists the commits that a ref reaches, the newest first.
func (s *Server) Log(ctx context.Context, repo, ref string) ([]Commit, error) {
	const format = "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%ct%x00%B"
	out, err := s.Git(ctx, repo, "log", "-z", "--topo-order", format, "--end-of-options", ref)
	if err != nil {
		return nil, err
	}
	return parseLog(out)
}
