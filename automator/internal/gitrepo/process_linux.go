package gitrepo

import "syscall"

// groupAttributes starts a process in a group of its own that does not outlive us.
func groupAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
