package images

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tandem-cd/tandem/integration/env/process"
)

// program is one built program.
type program struct {
	name    string
	content []byte
	build   *buildinfo.BuildInfo
}

// linkerFlags leave out what differs between machines, and set the version.
func (b *Builder) linkerFlags() string {
	flags := []string{"-s", "-w", "-buildid="}
	for _, component := range []string{"automator", "synchronizer"} {
		flags = append(flags, "-X", "github.com/tandem-cd/tandem/"+component+".Version="+b.stamp.Version)
	}
	return strings.Join(flags, " ")
}

// compile builds every program of a pattern, statically and without a trace of
// this machine.
func (b *Builder) compile(ctx context.Context, pattern string, platform v1.Platform) (programs []program, err error) {
	mains, err := b.mains(ctx, pattern)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "images-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, main := range mains {
		built, err := b.compileOne(ctx, main, filepath.Join(dir, programName(main)), platform)
		if err != nil {
			return nil, err
		}
		programs = append(programs, built)
	}
	return programs, nil
}

// mains lists the main packages of a pattern.
func (b *Builder) mains(ctx context.Context, pattern string) ([]string, error) {
	cmd := process.Command(ctx, "go", "list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, pattern)
	cmd.Dir = b.source
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", pattern, err)
	}
	mains := strings.Fields(string(out))
	if len(mains) == 0 {
		return nil, fmt.Errorf("list %s: no program there", pattern)
	}
	return mains, nil
}

// programName is as `make build` names them.
func programName(main string) string {
	if name := path.Base(main); name != "tandem" {
		return "tandem-" + name
	}
	return "tandem"
}

func (b *Builder) compileOne(ctx context.Context, main, to string, platform v1.Platform) (program, error) {
	cmd := process.Command(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", b.linkerFlags(), "-o", to, main)
	cmd.Dir = b.source
	// What a user has set for other builds must not change this one.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0",
		"GOOS="+platform.OS, "GOARCH="+platform.Architecture)
	if said, err := cmd.CombinedOutput(); err != nil {
		return program{}, fmt.Errorf("build %s for %s: %w\n%s", main, platform, errors.Join(ctx.Err(), err), process.LastLines(said))
	}
	content, err := os.ReadFile(to)
	if err != nil {
		return program{}, err
	}
	info, err := buildinfo.ReadFile(to)
	if err != nil {
		return program{}, err
	}
	return program{name: filepath.Base(to), content: content, build: info}, nil
}
