//go:build unix && !linux

package gitrepo

import "syscall"

// groupAttributes starts a process in a group of its own. Only Linux can tie it to our life as well; elsewhere the lock
// that it inherits keeps the next automator waiting until it has ended.
func groupAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
