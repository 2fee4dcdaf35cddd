package chaos

import (
	"fmt"
	"syscall"
)

// mount puts a file system of some bytes in memory over a folder.
func mount(dir string, size int) error {
	return syscall.Mount("tandem-chaos", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
}

// unmount takes it away, whoever still looks at it.
func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
