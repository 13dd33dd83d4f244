package faultnet

import (
	"syscall"
	"time"
)

// sleep is exact to some ten microseconds. It blocks a thread, so use it only for short times.
func sleep(d time.Duration) {
	for end := time.Now().Add(d); d > 0; d = time.Until(end) {
		ts := syscall.NsecToTimespec(int64(d))
		if syscall.Nanosleep(&ts, nil) == nil {
			return
		}
	}
}
