//go:build linux

package nodetest

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/integration/env/process"
)

const (
	// commandTimeout bounds what is typed at a time. Images are compiled and linked,
	// on a machine that does other things, too.
	commandTimeout = 15 * time.Minute
	// kept is how many lines of output a failure shows.
	kept = 60
)

// shell is a terminal's: what is exported, and what runs in the background, lasts
// from one command to the next.
type shell struct {
	stdin io.Writer
	lines chan string
	mark  string // a line behind the output of what was typed, and with "!" of the last
}

// startShell starts bash in a folder. Whatever it starts ends with the test.
func startShell(t *testing.T, dir string, env ...string) *shell {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := process.Command(ctx, "bash", "--noprofile", "--norc")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &shell{stdin: stdin, lines: make(chan string), mark: rand.Text()}
	ended := make(chan struct{})
	go func() {
		defer close(s.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			select {
			case s.lines <- scanner.Text():
			case <-ended:
			}
		}
	}()
	// Should this process be killed, bash ends with its input, and so has to its jobs.
	fmt.Fprintf(s.stdin, "trap 'kill $(jobs -p) 2>/dev/null; echo %s!' EXIT\n", s.mark)
	t.Cleanup(func() {
		close(ended)
		cancel()
		for range s.lines { // until everything that could write has ended
		}
		_ = cmd.Wait() // killed
	})
	return s
}

// run types commands, and returns what they say. The first that fails ends the
// shell, and the test.
func (s *shell) run(t *testing.T, commands string) string {
	t.Helper()
	said, err := s.try(t.Context(), commands)
	if err != nil {
		t.Fatalf("%v\n%s\nsays:\n%s", err, commands, said)
	}
	return said
}

func (s *shell) try(ctx context.Context, commands string) (said string, err error) {
	timeout := time.NewTimer(commandTimeout)
	defer timeout.Stop()
	if _, err := fmt.Fprintf(s.stdin, "set -e -o pipefail\n%s\nset +e\necho %s\n", commands, s.mark); err != nil {
		return "", err
	}
	var lines []string
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				return strings.Join(lines, "\n"), errEnded
			}
			switch line {
			case s.mark:
				return strings.Join(lines, "\n"), nil
			case s.mark + "!":
				return strings.Join(lines, "\n"), errCommand
			}
			lines = append(lines[max(0, len(lines)-kept):], line)
		case <-timeout.C:
			return strings.Join(lines, "\n"), errSlow
		case <-ctx.Done():
			return strings.Join(lines, "\n"), context.Cause(ctx)
		}
	}
}

var (
	errCommand = errors.New("a command failed")
	errSlow    = errors.New("it takes too long")
	errEnded   = errors.New("the shell has ended")
)

func TestShell(t *testing.T) {
	s := startShell(t, t.TempDir(), "GIVEN=1")
	s.run(t, "export KEPT=$((GIVEN + 1))\nsleep 600 &")
	if said := s.run(t, "cat <<EOF\n$KEPT\nEOF\njobs -r | wc -l"); said != "2\n1" {
		t.Errorf("said %q, want what was exported, and one job", said)
	}
	if said, err := s.try(t.Context(), "echo before\nfalse\necho after"); err == nil || said != "before" {
		t.Errorf("said %q, %v, want the end at the command that fails", said, err)
	}
}
