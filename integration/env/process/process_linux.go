package process

import "syscall"

// dieWithParent has the kernel kill the process when this one dies, however it
// dies.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
