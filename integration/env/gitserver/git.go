package gitserver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// git runs the git program on the repositories below root.
type git struct{ root string }

func (g git) dir(repo string) string { return filepath.Join(g.root, filepath.FromSlash(folder(repo))) }

// env keeps the machine's and the user's Git configuration out, and git's
// messages in one language.
func (g git) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.root, "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
	}
}

func (g git) command(ctx context.Context, repo string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = g.dir(repo), g.env()
	return cmd
}

// run returns what git says on its standard output.
func (g git) run(ctx context.Context, repo string, stdin []byte, args ...string) ([]byte, error) {
	cmd := g.command(ctx, repo, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("git %s in %s: %w: %s", args[0], repo, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
