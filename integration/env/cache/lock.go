package cache

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lockRetry is how often a lock that another process holds is tried.
const lockRetry = 200 * time.Millisecond

// lockMode is that of the files that are locked.
const lockMode = 0o600

// Lock takes the advisory lock of a file, which the kernel drops when the
// process dies. waiting is called once when another process holds it.
func Lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, lockMode)
	if err != nil {
		return nil, err
	}
	for told := false; ; {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil // closing unlocks, whatever it says
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
		if !told {
			told = true
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), file.Close())
		case <-time.After(lockRetry):
		}
	}
	return nil, errors.Join(err, file.Close())
}
