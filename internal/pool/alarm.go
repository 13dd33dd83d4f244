package pool

import "time"

// alarm calls a function at the earliest time that was requested. The function calls ring first. Pool.mu guards it.
type alarm struct {
	call  func()
	timer *time.Timer
	at    time.Time // zero: it is not set
}

// within requests a call after d. An earlier request stays.
func (a *alarm) within(d time.Duration) {
	at := time.Now().Add(d)
	if !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.call)
		return
	}
	a.timer.Reset(d)
}

// ring records that the call has begun.
func (a *alarm) ring() { a.at = time.Time{} }

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
