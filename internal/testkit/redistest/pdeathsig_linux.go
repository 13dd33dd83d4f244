package redistest

import "syscall"

// dieWithParent makes the server end when the test process is killed. The
// signal comes when the starting thread ends, so Go must not end it: threads
// live as long as the process unless a locked goroutine exits on them.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
