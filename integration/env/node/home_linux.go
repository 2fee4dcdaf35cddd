package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// prefix begins the name of everything that outlives a killed process.
	prefix = "tandem-node-"

	cgroupMount = "/sys/fs/cgroup"

	// goneRetry is how often a cgroup is tried whose processes are ending.
	goneRetry = 50 * time.Millisecond

	// youngest is how old a folder is before anybody takes it for a leftover: it is
	// made a moment before its lock.
	youngest = time.Minute

	folderMode  = 0o755
	privateMode = 0o600
)

// home is what a node has outside of its namespaces: a folder, and a cgroup of
// the same name below every controller. A lock on the folder lasts as long as
// the process that made it, and tells the others that it is in use.
type home struct {
	dir  string
	lock *os.File
}

// newHome makes a folder. cgroups are made by makeCgroups.
func newHome() (*home, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, err
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	h := &home{dir: dir, lock: lock}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, h.close(), os.Remove(dir))
	}
	// Pods' users pass through to their volumes.
	return h, os.Chmod(dir, folderMode)
}

func (h *home) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

// log is the file of a component's output.
func (h *home) log(component string) string { return h.path("logs", component+".log") }

// cgroup is the path of the node's cgroup, from a controller's root.
func (h *home) cgroup() string { return "/" + filepath.Base(h.dir) }

func (h *home) close() error { return h.lock.Close() }

// cgroupRoots are the folders of the cgroup controllers: one for each with
// version 1, and one for all with version 2.
func cgroupRoots() []string {
	if _, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers")); err == nil {
		return []string{cgroupMount}
	}
	var roots []string
	found, _ := filepath.Glob(filepath.Join(cgroupMount, "*", "cgroup.procs")) // fails on a bad pattern only
	for _, procs := range found {
		roots = append(roots, filepath.Dir(procs))
	}
	return roots
}

func (h *home) makeCgroups() error {
	roots := cgroupRoots()
	if len(roots) == 0 {
		return errors.New("no controllers are mounted below " + cgroupMount)
	}
	var errs []error
	for _, root := range roots {
		errs = append(errs, os.Mkdir(filepath.Join(root, h.cgroup()), folderMode))
	}
	return errors.Join(errs...)
}

// remove removes cgroups and the folder, once nothing runs in them any more.
func (h *home) remove(ctx context.Context) error {
	var errs []error
	for _, root := range cgroupRoots() {
		errs = append(errs, removeCgroup(ctx, filepath.Join(root, h.cgroup())))
	}
	return errors.Join(append(errs, os.RemoveAll(h.dir), h.close())...)
}

// removeCgroup removes a tree of cgroups, whose files the kernel removes. A killed
// process is in its cgroup for a moment longer.
func removeCgroup(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := removeCgroup(ctx, filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup: %w", err)
		case <-time.After(goneRetry):
		}
	}
}

// sweep removes what killed processes have left behind, and nothing that is in
// use.
func sweep(ctx context.Context) error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < youngest {
			continue
		}
		lock, err := os.Open(dir)
		if err != nil {
			continue // another sweep was faster
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			errs = append(errs, lock.Close())
			continue // it is in use
		}
		left := &home{dir: dir, lock: lock}
		errs = append(errs, left.remove(ctx))
	}
	return errors.Join(errs...)
}
