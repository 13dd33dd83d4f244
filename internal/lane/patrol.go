package lane

import (
	"context"
	"time"
)

// patrol sees to the ends of callers' ctxs, so that a caller waits for one
// thing alone: its wake. It goes by all requests in the queue every few
// milliseconds while there are any with a ctx that can end.
type patrol struct {
	timer   *time.Timer
	running bool
}

const (
	patrolEvery = 2 * time.Millisecond // and as much more for each patrolBeat requests in the queue
	patrolBeat  = 1024
	patrolReach = 4096 // requests; beyond, callers watch their ctx themselves
)

// patrolLocked puts q under the patrol's eyes, if its ctx can end.
func (l *Lane) patrolLocked(ctx context.Context, q *request) {
	if ctx.Done() == nil || l.queue.n >= patrolReach {
		return
	}
	q.ctx = ctx
	p := &l.patrol
	if p.running {
		return
	}
	p.running = true
	if p.timer == nil {
		p.timer = time.AfterFunc(patrolEvery, l.goPatrol)
		return
	}
	p.timer.Reset(patrolEvery)
}

func (p *patrol) stop() {
	p.running = false
	if p.timer != nil {
		p.timer.Stop()
	}
}

// goPatrol ends the waits whose ctx has ended. Commands that may be held back
// for long are registered with their ctx instead, so that nobody goes by them
// for hours.
func (l *Lane) goPatrol() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil || !l.patrol.running {
		return
	}
	again := false
	for i := range l.queue.n {
		q := l.queue.at(i)
		switch {
		case q.ctx == nil || q.unwatch != nil || q.state.Load() != waiting:
		case ended(q.ctx):
			l.dismissLocked(q)
		case q.block != 0:
			q.unwatch = context.AfterFunc(q.ctx, func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.dismissLocked(q)
			})
		default:
			again = true
		}
	}
	if l.patrol.running = again; again {
		l.patrol.timer.Reset(patrolEvery * time.Duration(1+l.queue.n/patrolBeat))
	}
}

// dismissLocked ends q's wait because its ctx ended.
func (l *Lane) dismissLocked(q *request) {
	if q.finish(left, l.failure("wait for the reply of", true, q.ctx.Err())) && q.self {
		l.interruptReaderLocked()
	}
}
