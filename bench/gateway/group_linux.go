package main

import "syscall"

// ownGroup puts a child into a process group, and has the kernel end it should
// the comparison be killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
