package notify

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// QueueConfig bounds a queue. A field that is zero or less stands for its default.
type QueueConfig struct {
	Limit   int           // alerts that wait to be sent; default 1000
	Batch   int           // alerts sent at a time; default 100, and not more than the sink takes
	Backoff time.Duration // the first pause after a failure, which doubles each time; default 500 ms
	Longest time.Duration // the longest pause, also of those that a receiver asks for; default 1 min
	GiveUp  time.Duration // how long one batch is tried; default 1 h
}

func (c QueueConfig) withDefaults() QueueConfig {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.Backoff, 500 * time.Millisecond}, {&c.Longest, time.Minute}, {&c.GiveUp, time.Hour}} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	if c.Limit <= 0 {
		c.Limit = 1000
	}
	if c.Batch <= 0 {
		c.Batch = 100
	}
	return c
}

// Queue brings alerts to one sink, in order, and tries again where that fails.
// All methods are safe for concurrent use.
//
// Of an alert's end nobody hears who has not heard of its beginning: what is
// resolved before it was sent is not sent at all. The end of what was sent is
// tried until it is sent or refused for good: it is not given up by GiveUp, nor
// for want of room. Nor does GiveUp end what a sink wants repeated.
type Queue struct {
	sink    Sink
	cfg     QueueConfig
	attempt time.Duration // that one may last
	ctx     context.Context
	stop    context.CancelFunc
	wake    chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	waiting []monitor.Alert
	told    map[string]monitor.Alert // alerts whose firing was sent, or is being sent
	closing bool
	unsent  int // given up because the queue was closed
	stats   Stats
}

// Stats is what became of a queue's alerts so far.
type Stats struct {
	Name      string
	Waiting   int    // to be sent
	Delivered uint64 // sent
	Failed    uint64 // given up
	Dropped   uint64 // not sent for want of room, or because the queue was closed by then
	LastError error  // of the last attempt that failed
	FailedAt  time.Time
}

// NewQueue starts a queue, which has to be closed.
func NewQueue(sink Sink, cfg QueueConfig) *Queue {
	q := &Queue{sink: sink, cfg: cfg.withDefaults(), wake: make(chan struct{}, 1), done: make(chan struct{}), told: map[string]monitor.Alert{}}
	q.cfg.Batch, q.attempt = limits(sink, q.cfg.Batch)
	q.ctx, q.stop = context.WithCancel(context.Background())
	go q.run()
	return q
}

// Tell takes in alerts that began to fire or were resolved. It never blocks.
// What is told once the queue is being closed is dropped, and counted.
func (q *Queue) Tell(alerts ...monitor.Alert) {
	q.mu.Lock()
	for _, a := range alerts {
		if q.closing {
			q.stats.Dropped++
		} else {
			q.takeLocked(a)
		}
	}
	q.mu.Unlock()
	q.wakeUp()
}

func (q *Queue) wakeUp() {
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

// Close sends what waits until ctx ends, gives up the rest, and returns when
// nothing runs any more. It returns an error if something was not sent. The
// sink itself is closed by who made it.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.wakeUp()
	select {
	case <-q.done:
	case <-ctx.Done():
	}
	q.stop()
	<-q.done
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.Failed += uint64(len(q.waiting))
	q.unsent += len(q.waiting)
	q.waiting = nil
	if q.unsent > 0 {
		return fmt.Errorf("%w: %s, %d alerts", errClosed, q.sink.Name(), q.unsent)
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
