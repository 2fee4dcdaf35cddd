package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tandem-cd/tandem/integration/env/cache"
	"github.com/tandem-cd/tandem/integration/env/process"
)

// The programs of the product.
const (
	automatorProgram    = "tandem-automator"
	synchronizerProgram = "tandem-synchronizer"
	tandemProgram       = "tandem"

	automatorPath = "./automator/cmd/automator"

	programMode = 0o755
)

// BuildFlags is the environment variable that adds a flag to the build of the
// agents, such as -race.
const BuildFlags = "TANDEM_BUILD_FLAGS"

var errNoSource = errors.New("no go.work above the working directory: run this inside the source tree")

// sourceDir is the folder of go.work; tests run in their package's folder and
// the demo anywhere in the tree.
func sourceDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNoSource
		}
		dir = parent
	}
}

// programs are where they are built from.
func programs() map[string]string {
	return map[string]string{
		automatorProgram:    automatorPath,
		synchronizerProgram: "./synchronizer/cmd/synchronizer",
		tandemProgram:       "./automator/cmd/tandem",
	}
}

// keptPrograms is where in the source tree the programs of the last build stay:
// go build does not link anew what has not changed.
const keptPrograms = ".tmp/programs"

// copyPrograms brings the programs up to date in the source tree and copies them
// into a folder: another build may replace them while they run.
func copyPrograms(ctx context.Context, source, dir string) error {
	kept := filepath.Join(source, filepath.FromSlash(keptPrograms))
	if err := os.MkdirAll(kept, folderMode); err != nil {
		return err
	}
	unlock, err := cache.Lock(ctx, filepath.Join(kept, "lock"), func() {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := buildPrograms(ctx, source, kept); err != nil {
		return err
	}
	for program := range programs() {
		if err := copyProgram(filepath.Join(kept, program), filepath.Join(dir, program)); err != nil {
			return err
		}
	}
	return nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, programMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// buildPrograms builds the agents and the command line into a folder.
func buildPrograms(ctx context.Context, source, dir string, flags ...string) error {
	for program, path := range programs() {
		if err := build(ctx, source, filepath.Join(dir, program), path, flags...); err != nil {
			return err
		}
	}
	return nil
}

// build builds one program.
func build(ctx context.Context, source, out, path string, flags ...string) error {
	args := append([]string{"build", "-buildvcs=false"}, flags...)
	if more := os.Getenv(BuildFlags); more != "" {
		args = append(args, more)
	}
	cmd := process.Command(ctx, "go", append(args, "-o", out, path)...)
	cmd.Dir = source
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", path, errors.Join(ctx.Err(), err), process.LastLines(said))
	}
	return nil
}

// BuildAutomator builds the automator alone, for what needs no cluster, and returns its path.
func BuildAutomator(ctx context.Context, dir string) (string, error) {
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, automatorProgram)
	return out, build(ctx, source, out, automatorPath)
}

// Build builds the product's programs with more flags of go build, into a folder
// of the ground's, and returns where.
func (g *Ground) Build(ctx context.Context, name string, flags ...string) (dir string, err error) {
	dir = g.path(name)
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return "", err
	}
	return dir, buildPrograms(ctx, g.source, dir, flags...)
}
