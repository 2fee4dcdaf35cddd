package kubecluster

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tandem-cd/tandem/integration/env/cache"
)

const (
	programName = "kube"
	// partial marks a program that is still being written.
	partial = ".partial-"

	cacheVariable = "TANDEM_CACHE"

	folderMode  = 0o755
	privateMode = 0o600
)

// Builder keeps one built program per version of the cluster module.
type Builder struct {
	// Source is the folder of the cluster module; found from the working
	// directory where it is not given.
	Source string
	// Cache is the folder that programs are kept under; TANDEM_CACHE or the
	// user's cache folder where it is not given.
	Cache string
	// Progress hears of a build's advance; never of a program found.
	Progress func(Progress)
}

// Program returns the path of the control plane's program, built now where the
// cache has none. Processes that ask at the same time wait for one of them.
func (b Builder) Program(ctx context.Context) (string, error) {
	from, dir, err := b.locate()
	if err != nil {
		return "", fmt.Errorf("locate control plane: %w", err)
	}
	program := filepath.Join(dir, programName)
	if built(program) {
		return program, nil
	}
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return "", err
	}
	unlock, err := cache.Lock(ctx, filepath.Join(dir, "lock"), func() {
		b.progress(Progress{Version: from.version, Waiting: true})
	})
	if err != nil {
		return "", fmt.Errorf("wait for another build: %w", err)
	}
	defer unlock()
	if built(program) { // by the one we waited for
		return program, nil
	}
	if err := b.build(ctx, from, program); err != nil {
		return "", fmt.Errorf("build Kubernetes %s: %w", from.version, err)
	}
	return program, nil
}

func (b Builder) locate() (source, string, error) {
	var err error
	if b.Source == "" {
		if b.Source, err = findSource(); err != nil {
			return source{}, "", err
		}
	}
	from, err := readSource(b.Source)
	if err != nil {
		return source{}, "", err
	}
	if b.Cache == "" {
		if b.Cache, err = cacheDir(); err != nil {
			return source{}, "", err
		}
	}
	return from, filepath.Join(b.Cache, programName+"-"+from.version+"-"+from.key), nil
}

func cacheDir() (string, error) {
	if dir := os.Getenv(cacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "tandem"), nil
}

// built trusts a present file: it only ever appears by rename, complete.
func built(program string) bool {
	info, err := os.Stat(program)
	return err == nil && info.Mode().IsRegular()
}

// build writes beside the program and renames, so that a build killed at any
// moment leaves at most a partial file, which the next one removes. The caller
// holds the lock.
func (b Builder) build(ctx context.Context, from source, program string) error {
	dir := filepath.Dir(program)
	if err := removePartial(dir); err != nil {
		return err
	}
	total, err := countPackages(ctx, from.dir)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, partial+programName)
	args := append([]string{"build", "-v", "-o", temp}, buildFlags(from.version)...)
	done := 0
	b.progress(Progress{Version: from.version, Total: total})
	err = goCommand(ctx, from.dir, args, func(line string) {
		if strings.ContainsAny(line, " #") { // a message, not a package
			return
		}
		done++
		b.progress(Progress{Version: from.version, Done: done, Total: total})
	})
	if err != nil {
		return err
	}
	b.progress(Progress{Version: from.version, Done: total, Total: total})
	return os.Rename(temp, program)
}

func (b Builder) progress(p Progress) {
	if b.Progress != nil {
		b.Progress(p)
	}
}

func removePartial(dir string) error {
	names, err := fs.Glob(os.DirFS(dir), partial+"*")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// buildFlags must stay as they are for a given cache: another -trimpath or
// CGO_ENABLED compiles every package anew.
func buildFlags(version string) []string {
	const set = "-X k8s.io/component-base/version."
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	flags := "-s -w " + set + "gitVersion=" + version + " " + set + "gitMajor=" + major + " " + set + "gitMinor=" + minor
	return []string{"-trimpath", "-buildvcs=false", "-ldflags", flags, "."}
}
