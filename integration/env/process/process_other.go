//go:build unix && !linux

package process

import "syscall"

// dieWithParent has no equal outside Linux: there a killed test run leaves its
// control plane behind.
func dieWithParent() *syscall.SysProcAttr { return ownGroup() }
