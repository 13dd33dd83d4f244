//go:build !linux

package main

import "syscall"

// ownGroup puts a child into a process group.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
