package netio

import (
	"sync"
	"time"
)

// deadline closes a channel at a time that may change.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	past  chan struct{}
	at    time.Time
}

func (d *deadline) init() { d.past = make(chan struct{}) }

// set moves the deadline; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if isClosed(d.past) {
		d.past = make(chan struct{})
	}
	d.at = t
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	switch {
	case wait <= 0:
		close(d.past)
	case d.timer == nil:
		d.timer = time.AfterFunc(wait, d.ring)
	default:
		d.timer.Reset(wait)
	}
}

// ring runs when the timer fires. The deadline may have moved since.
func (d *deadline) ring() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() || isClosed(d.past) {
		return
	}
	if wait := time.Until(d.at); wait > 0 {
		d.timer.Reset(wait)
		return
	}
	close(d.past)
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.past
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
