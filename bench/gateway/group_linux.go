package main

import "syscall"

// ownGroup puts a child into its own process group. The kernel ends the child if the comparison is
// killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
