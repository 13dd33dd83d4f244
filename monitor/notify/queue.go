package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// QueueConfig bounds a queue. The zero value of a field stands for its default.
type QueueConfig struct {
	Limit   int           // alerts that wait to be sent; default 1000
	Batch   int           // alerts sent at a time; default 100
	Backoff time.Duration // the first pause after a failure, which doubles each time; default 500 ms
	Longest time.Duration // the longest pause; default 1 min
	GiveUp  time.Duration // how long one batch is tried; default 1 h
}

func (c QueueConfig) withDefaults() QueueConfig {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.Backoff, 500 * time.Millisecond}, {&c.Longest, time.Minute}, {&c.GiveUp, time.Hour}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if c.Limit == 0 {
		c.Limit = 1000
	}
	if c.Batch == 0 {
		c.Batch = 100
	}
	return c
}

// Queue brings alerts to one sink, in order, and tries again where that fails.
// All methods are safe for concurrent use.
//
// Of an alert's end nobody hears who has not heard of its beginning: what is
// resolved before it was sent is not sent at all.
type Queue struct {
	sink Sink
	cfg  QueueConfig
	ctx  context.Context
	stop context.CancelFunc
	wake chan struct{}
	done chan struct{}

	mu      sync.Mutex
	waiting []monitor.Alert
	told    map[string]monitor.Alert // alerts whose firing was sent, or is being sent
	closing bool
	stats   Stats
}

// Stats is what became of a queue's alerts so far.
type Stats struct {
	Name      string
	Waiting   int    // to be sent
	Delivered uint64 // sent
	Failed    uint64 // given up
	Dropped   uint64 // not sent for want of room
	LastError error  // of the last attempt that failed
	FailedAt  time.Time
}

// NewQueue starts a queue, which has to be closed.
func NewQueue(sink Sink, cfg QueueConfig) *Queue {
	q := &Queue{sink: sink, cfg: cfg.withDefaults(), wake: make(chan struct{}, 1), done: make(chan struct{}), told: map[string]monitor.Alert{}}
	q.ctx, q.stop = context.WithCancel(context.Background())
	go q.run()
	return q
}

// Tell takes in alerts that began to fire or were resolved. It never blocks.
func (q *Queue) Tell(alerts ...monitor.Alert) {
	q.mu.Lock()
	for _, a := range alerts {
		q.takeLocked(a)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *Queue) takeLocked(a monitor.Alert) {
	id := a.ID()
	switch a.State {
	case monitor.Resolved:
		if i := q.waitingLocked(id, monitor.Firing); i >= 0 {
			q.waiting = slices.Delete(q.waiting, i, i+1)
			return
		}
		if _, told := q.told[id]; !told || q.waitingLocked(id, monitor.Resolved) >= 0 {
			return
		}
	case monitor.Firing:
		if q.waitingLocked(id, monitor.Firing) >= 0 {
			return
		}
		if _, told := q.told[id]; told && q.waitingLocked(id, monitor.Resolved) < 0 {
			return
		}
	default:
		return
	}
	if len(q.waiting) >= q.cfg.Limit && !q.makeRoomLocked() && a.State == monitor.Firing {
		q.stats.Dropped++
		return
	}
	q.waiting = append(q.waiting, a)
}

func (q *Queue) waitingLocked(id string, state monitor.AlertState) int {
	return slices.IndexFunc(q.waiting, func(a monitor.Alert) bool { return a.State == state && a.ID() == id })
}

// makeRoomLocked gives up the oldest alert that nobody heard of. Ends are never
// given up: there are no more of them than alerts that were told.
func (q *Queue) makeRoomLocked() bool {
	i := slices.IndexFunc(q.waiting, func(a monitor.Alert) bool { return a.State == monitor.Firing })
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.stats.Dropped++
	return true
}

// run sends until the queue is closed and empty, or stopped.
func (q *Queue) run() {
	defer close(q.done)
	var again <-chan time.Time
	if d := q.sink.Repeat(); d > 0 {
		tick := time.NewTicker(d)
		defer tick.Stop()
		again = tick.C
	}
	for {
		batch, closing := q.next()
		switch {
		case len(batch) > 0:
			q.deliver(batch)
			continue
		case closing:
			return
		}
		select {
		case <-q.wake:
		case <-again:
			q.repeat()
		case <-q.ctx.Done():
			return
		}
	}
}

// next takes what is to be sent now.
func (q *Queue) next() (batch []monitor.Alert, closing bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.cfg.Batch, len(q.waiting))
	batch = slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	for _, a := range batch {
		if a.State == monitor.Firing {
			q.told[a.ID()] = a
		} else {
			delete(q.told, a.ID())
		}
	}
	return batch, q.closing
}

// deliver sends a batch, again and again if need be.
func (q *Queue) deliver(batch []monitor.Alert) {
	began, wait := time.Now(), q.cfg.Backoff
	for {
		err := q.attempt(batch)
		if err == nil {
			q.mu.Lock()
			q.stats.Delivered += uint64(len(batch))
			q.mu.Unlock()
			return
		}
		next := wait/2 + rand.N(wait/2+1)
		var l later
		if errors.As(err, &l) {
			next = min(max(next, l.after), q.cfg.Longest)
		}
		var p permanent
		if errors.As(err, &p) || time.Since(began)+next > q.cfg.GiveUp || !q.pause(next) {
			q.giveUp(batch)
			return
		}
		wait = min(2*wait, q.cfg.Longest)
	}
}

func (q *Queue) attempt(batch []monitor.Alert) error {
	ctx, cancel := context.WithTimeout(q.ctx, attemptLimit)
	defer cancel()
	err := q.sink.Send(ctx, batch)
	if err != nil {
		q.mu.Lock()
		q.stats.LastError, q.stats.FailedAt = err, time.Now()
		q.mu.Unlock()
	}
	return err
}

// giveUp forgets a batch: nobody was told of what it says.
func (q *Queue) giveUp(batch []monitor.Alert) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.Failed += uint64(len(batch))
	for _, a := range batch {
		if a.State == monitor.Firing {
			delete(q.told, a.ID())
			if i := q.waitingLocked(a.ID(), monitor.Resolved); i >= 0 {
				q.waiting = slices.Delete(q.waiting, i, i+1)
			}
		}
	}
}

// repeat sends what fires once more. That fails in silence: there is a next time.
func (q *Queue) repeat() {
	q.mu.Lock()
	var firing []monitor.Alert
	for _, a := range q.told {
		firing = append(firing, a)
	}
	q.mu.Unlock()
	if len(firing) > 0 {
		_ = q.attempt(firing)
	}
}

// pause waits, and reports whether the queue is still to send.
func (q *Queue) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-q.ctx.Done():
		return false
	}
}

// Close sends what waits until ctx ends, gives up the rest, and returns when
// nothing runs any more. It returns an error if something was not sent.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	select {
	case <-q.done:
	case <-ctx.Done():
	}
	q.stop()
	<-q.done
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.waiting); n > 0 {
		q.stats.Failed += uint64(n)
		q.waiting = nil
		return errClosed
	}
	if ctx.Err() != nil {
		return errClosed
	}
	return nil
}

// Stats is what became of the alerts so far.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Name, s.Waiting = q.sink.Name(), len(q.waiting)
	return s
}
