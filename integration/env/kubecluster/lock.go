package kubecluster

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lockRetry is how often a lock that another process holds is tried.
const lockRetry = 200 * time.Millisecond

// lockFile takes the advisory lock of a file, which the kernel drops when the
// process dies. waiting is called once when another process holds it.
func lockFile(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, privateMode)
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
		if err = pause(ctx, lockRetry); err != nil {
			break
		}
	}
	return nil, errors.Join(err, file.Close())
}

// pause waits for d, or for the end of ctx and returns its cause.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
