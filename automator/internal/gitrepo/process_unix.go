//go:build unix

package gitrepo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
)

// stopGroup asks a process and all it started to end.
func stopGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGTERM) }

// killGroup ends what did not.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// lockPoll is how often a lock that another holds is tried again.
const lockPoll = 20 * time.Millisecond

// acquire takes the lock of a state directory. It belongs to the open file, which our git processes inherit: it is free
// when the last of them has ended, also after we were killed.
func acquire(ctx context.Context, dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fault.New(fault.Conflict, "state directory %s is in use by another process", dir)
		case <-tick.C:
		}
	}
	_ = file.Close()
	return nil, err
}
