package redistest

import "syscall"

// dieWithParent makes the kernel kill the server when the test process ends. The signal depends on the
// thread that started the server. Go threads live as long as the process, unless a locked goroutine
// exits on them.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
