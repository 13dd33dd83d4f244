package lane

import (
	"context"
	"time"
)

// ctxScanner ends the waits of callers whose ctx has ended, so that a caller waits on one channel alone. It checks all
// requests in the queue every few milliseconds while any of them has a ctx that can end.
type ctxScanner struct {
	timer   *time.Timer
	running bool
}

const (
	scanEvery = 2 * time.Millisecond // and as much more for each scanBatch requests in the queue
	scanBatch = 1024
	scanReach = 4096 // requests; beyond, callers watch their ctx themselves
)

// scanCtxLocked has the scanner check q, if its ctx can end.
func (l *Lane) scanCtxLocked(ctx context.Context, q *request) {
	if ctx.Done() == nil || l.queue.n >= scanReach {
		return
	}
	q.ctx = ctx
	s := &l.scanner
	if s.running {
		return
	}
	s.running = true
	if s.timer == nil {
		s.timer = time.AfterFunc(scanEvery, l.scanCtxs)
		return
	}
	s.timer.Reset(scanEvery)
}

func (s *ctxScanner) stop() {
	s.running = false
	if s.timer != nil {
		s.timer.Stop()
	}
}

// scanCtxs ends the waits whose ctx has ended. Commands that the server may hold back for long are registered with
// their ctx instead, so that they are not checked for hours.
func (l *Lane) scanCtxs() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil || !l.scanner.running {
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
	if l.scanner.running = again; again {
		l.scanner.timer.Reset(scanEvery * time.Duration(1+l.queue.n/scanBatch))
	}
}

// dismissLocked ends q's wait because its ctx ended.
func (l *Lane) dismissLocked(q *request) {
	if q.finish(left, l.failure("wait for the reply of", true, q.ctx.Err())) && q.self {
		l.interruptReaderLocked()
	}
}
