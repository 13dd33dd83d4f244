package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// run sends alerts until the queue is stopped, or closed and empty.
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

// next takes the next batch.
func (q *Queue) next() (batch []monitor.Alert, closing bool) {
	if q.ctx.Err() != nil {
		return nil, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.cfg.Batch, len(q.waiting))
	batch = slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	for _, a := range batch {
		if a.State == monitor.Firing {
			q.sent[a.ID()] = a
		} else {
			delete(q.sent, a.ID())
		}
	}
	return batch, q.closing
}

// deliver sends a batch, with retries.
func (q *Queue) deliver(batch []monitor.Alert) {
	began, wait := time.Now(), q.cfg.Backoff
	for {
		err := q.try(batch)
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
		switch {
		case errors.As(err, &p):
			q.refused(batch)
			return
		case time.Since(began)+next > q.cfg.GiveUp:
			q.giveUp(batch)
			return
		case !q.pause(next):
			q.stopped(batch)
			return
		}
		wait = min(2*wait, q.cfg.Longest)
		q.refreshed(batch)
	}
}

// try makes one attempt.
func (q *Queue) try(batch []monitor.Alert) error {
	ctx, cancel := context.WithTimeout(q.ctx, q.attempt)
	defer cancel()
	err := q.sink.Send(ctx, batch)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.stats.LastError, q.stats.FailedAt = err, time.Now()
	}
	q.deliveries.attempted(batch, err)
	return err
}

// stopped counts a batch that is not sent because the queue stops.
func (q *Queue) stopped(batch []monitor.Alert) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.Failed += uint64(len(batch))
	q.deliveries.end(batch, Failed)
	q.unsent += len(batch)
}

// refused drops a batch that the sink would refuse again.
func (q *Queue) refused(batch []monitor.Alert) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.Failed += uint64(len(batch))
	q.deliveries.end(batch, Failed)
	for _, a := range batch {
		q.dropUnsentLocked(a)
	}
}

// giveUp drops the alerts of a batch whose firing was never sent, and returns the others to the
// queue.
func (q *Queue) giveUp(batch []monitor.Alert) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var kept []monitor.Alert
	for _, a := range batch {
		over := q.dropUnsentLocked(a)
		switch {
		case a.State == monitor.Resolved || !over && q.sink.Repeat() > 0:
			kept = append(kept, a)
		default:
			q.stats.Failed++
			q.deliveries.end([]monitor.Alert{a}, Failed)
		}
	}
	q.requeueLocked(kept)
}

// dropUnsentLocked records that the firing of an alert was not sent, and reports whether the alert is
// already resolved. In that case its end is not sent either.
func (q *Queue) dropUnsentLocked(a monitor.Alert) (over bool) {
	if a.State != monitor.Firing {
		return false
	}
	delete(q.sent, a.ID())
	i := q.waitingLocked(a.ID(), monitor.Resolved)
	if i >= 0 {
		q.deliveries.end(q.waiting[i:i+1], Unsent)
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}

// requeueLocked returns alerts to the queue: after other alerts, so that they do not delay those,
// but before later states of the same alerts.
func (q *Queue) requeueLocked(kept []monitor.Alert) {
	again := map[string]bool{}
	for _, a := range kept {
		again[a.ID()] = true
	}
	var others, newer []monitor.Alert
	for _, a := range q.waiting {
		if again[a.ID()] {
			newer = append(newer, a)
		} else {
			others = append(others, a)
		}
	}
	q.waiting = slices.Concat(others, kept, newer)
	for len(q.waiting) > q.cfg.Limit && q.makeRoomLocked() {
	}
}

// repeat sends the firing alerts again. It does not retry: the next repetition follows.
func (q *Queue) repeat() {
	q.mu.Lock()
	var firing []monitor.Alert
	for _, a := range q.sent {
		firing = append(firing, a)
	}
	q.mu.Unlock()
	for batch := range slices.Chunk(firing, q.cfg.Batch) {
		_ = q.try(batch)
	}
}

// pause waits, and reports whether the queue continues.
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
