package kubecluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/tandem-cd/tandem/integration/env/process"
)

// Progress is how far the build of the control plane is. Done begins at 0 and
// jumps to Total in the end, because packages that the Go build cache already
// has are not counted on the way.
type Progress struct {
	Version     string
	Done, Total int
	// Waiting says that another process is building the same program.
	Waiting bool
}

// String is the line to show.
func (p Progress) String() string {
	name := "building Kubernetes " + strings.TrimPrefix(p.Version, "v")
	if p.Waiting {
		return name + ": waiting for the build of another process"
	}
	return fmt.Sprintf("%s: %d/%d packages", name, p.Done, p.Total)
}

// countPackages also downloads the modules, so that the build only compiles.
func countPackages(ctx context.Context, dir string) (int, error) {
	cmd := goCmd(ctx, dir, "list", "-deps", ".")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("go list: %w\n%s", err, process.LastLines(stderr.Bytes()))
	}
	return bytes.Count(out, []byte("\n")), nil
}

// goCommand runs the go command and calls each for every line it says.
func goCommand(ctx context.Context, dir string, args []string, each func(line string)) error {
	cmd := goCmd(ctx, dir, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	said, readErr := readLines(stderr, each)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], errors.Join(ctx.Err(), err), said)
	}
	return readErr
}

func readLines(from io.Reader, each func(line string)) ([]byte, error) {
	var said []byte
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		each(lines.Text())
		said = process.LastLines(append(append(said, lines.Bytes()...), '\n'))
	}
	return said, lines.Err()
}

// goCmd fixes what would change the result or the module files: the workspace,
// cgo and GOFLAGS. A cancelled build takes its compilers with it.
func goCmd(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := process.Command(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	return cmd
}
