package notify

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// QueueConfig configures a queue. A field that is zero or less stands for its default.
type QueueConfig struct {
	Limit   int           // maximum number of waiting alerts; default 1000
	Batch   int           // alerts in one attempt; default 100, and never more than the sink accepts
	Backoff time.Duration // first pause after a failure, which doubles after each; default 500 ms
	Longest time.Duration // longest pause, also for pauses that a receiver requests; default 1 min
	GiveUp  time.Duration // time after which a batch is given up; default 1 h
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

// Queue delivers alerts to one sink, in order, with retries. All methods are safe for concurrent
// use.
//
// A queue sends the end of an alert only if it sent its beginning: an alert that is resolved before
// delivery is dropped. The queue retries a resolved alert until it is sent or refused permanently:
// neither GiveUp nor a full queue drops it. GiveUp does not end the repetition of firing alerts.
type Queue struct {
	sink    Sink
	cfg     QueueConfig
	attempt time.Duration // maximum duration of an attempt
	ctx     context.Context
	stop    context.CancelFunc
	wake    chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	waiting []monitor.Alert
	sent    map[string]monitor.Alert // alerts whose firing was sent, or is in progress
	closing bool
	unsent  int // alerts that were not sent because the queue was closed
	stats   Stats

	deliveries deliveries
}

// Stats are the counters of a queue.
type Stats struct {
	Name      string
	Waiting   int    // not sent yet
	Delivered uint64 // sent
	Failed    uint64 // given up
	Dropped   uint64 // dropped because the queue was full or closed
	LastError error  // error of the last failed attempt
	FailedAt  time.Time
}

// NewQueue starts a queue. The caller must close it, and still owns sink.
func NewQueue(sink Sink, cfg QueueConfig) *Queue {
	q := &Queue{sink: sink, cfg: cfg.withDefaults(), wake: make(chan struct{}, 1), done: make(chan struct{}), sent: map[string]monitor.Alert{}}
	q.cfg.Batch, q.attempt = limits(sink, q.cfg.Batch)
	q.deliveries = deliveries{byID: map[string]*Delivery{}, most: q.cfg.Limit}
	q.ctx, q.stop = context.WithCancel(context.Background())
	go q.run()
	return q
}

// Tell queues alerts that began to fire or were resolved. It never blocks. After Close began, it
// drops and counts them.
func (q *Queue) Tell(alerts ...monitor.Alert) {
	q.mu.Lock()
	for _, a := range alerts {
		if q.closing {
			q.stats.Dropped++
			q.deliveries.begin(&a, Dropped)
		} else {
			q.takeLocked(a)
		}
	}
	q.mu.Unlock()
	q.wakeUp()
}

// Refresh replaces the findings of firing alerts that the queue has already received, so that it
// sends their present text when it retries or repeats them. It sends nothing, and ignores other
// alerts.
func (q *Queue) Refresh(alerts ...monitor.Alert) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range alerts {
		if a.State != monitor.Firing {
			continue
		}
		id := a.ID()
		if i := q.waitingLocked(id, monitor.Firing); i >= 0 {
			q.waiting[i].Finding = a.Finding
		} else if sent, ok := q.sent[id]; ok && q.waitingLocked(id, monitor.Resolved) < 0 {
			sent.Finding = a.Finding
			q.sent[id] = sent
		}
	}
}

// refreshed updates a batch before a retry.
func (q *Queue) refreshed(batch []monitor.Alert) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, a := range batch {
		if sent, ok := q.sent[a.ID()]; ok && a.State == monitor.Firing {
			batch[i].Finding = sent.Finding
		}
	}
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
			if q.waitingLocked(id, monitor.Resolved) >= 0 {
				q.deliveries.begin(&a, Waiting) // an earlier end is still to be sent
			} else {
				q.deliveries.begin(&a, Unsent)
			}
			return
		}
		if q.waitingLocked(id, monitor.Resolved) >= 0 {
			return
		}
		if _, sent := q.sent[id]; !sent {
			q.deliveries.begin(&a, Unsent)
			return
		}
	case monitor.Firing:
		if q.waitingLocked(id, monitor.Firing) >= 0 {
			return
		}
		if _, sent := q.sent[id]; sent && q.waitingLocked(id, monitor.Resolved) < 0 {
			return
		}
	default:
		return
	}
	if len(q.waiting) >= q.cfg.Limit && !q.makeRoomLocked() && a.State == monitor.Firing {
		q.stats.Dropped++
		q.deliveries.begin(&a, Dropped)
		return
	}
	q.waiting = append(q.waiting, a)
	q.deliveries.begin(&a, Waiting)
}

func (q *Queue) waitingLocked(id string, state monitor.AlertState) int {
	return slices.IndexFunc(q.waiting, func(a monitor.Alert) bool { return a.State == state && a.ID() == id })
}

// makeRoomLocked drops the oldest alert whose firing was not sent. It never drops the ends of
// alerts that were sent, which are bounded by the number of those alerts.
func (q *Queue) makeRoomLocked() bool {
	i := slices.IndexFunc(q.waiting, func(a monitor.Alert) bool { return a.State == monitor.Firing })
	if i < 0 {
		return false
	}
	q.deliveries.end(q.waiting[i:i+1], Dropped)
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.stats.Dropped++
	return true
}

// Close sends the waiting alerts until ctx ends, drops the rest, and returns when the goroutine has
// ended. It returns an error if an alert was not sent. The caller closes the sink.
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

// Stats returns the counters.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Name, s.Waiting = q.sink.Name(), len(q.waiting)
	return s
}
