package process

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pin has a process run on one processor, with everything that it starts from now on. Go programs notice within a second
// and use one thread at a time.
func Pin(pid, processor int) error {
	var set unix.CPUSet
	set.Set(processor)
	// A thread that is started while its siblings are pinned may be missed once: its parent was not pinned yet.
	for range 2 {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("pin process %d: %w", pid, err)
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH { // ESRCH: it has ended
				return fmt.Errorf("pin process %d: %w", pid, err)
			}
		}
	}
	return nil
}
