package lane

import (
	"context"
	"runtime"
	"sync/atomic"
)

// Bundle is one caller's requests on several lanes. The caller waits for all of them at once, and wakes when the last one
// is decided. The zero Bundle is empty. It is not safe for concurrent use, and keeps its memory.
type Bundle struct {
	undecided atomic.Int32  // requests, and 1 until Wait
	wake      chan struct{} // of the first request
	list      []bundled
	company   bool // other callers are active on a lane
}

// bundled is a request of a bundle.
type bundled struct {
	l *Lane
	q *request
}

// Post adds a request for n replies (at least one) to the queue of a lane, without waiting. It reports false if the lane
// does not take the request now, or ctx has ended. raw is not retained. Wait must follow: it sends the bytes.
func (b *Bundle) Post(ctx context.Context, l *Lane, raw []byte, n int, opt Options) bool {
	if ended(ctx) {
		return false
	}
	l.mu.Lock()
	if l.enterPostLocked(&opt) != nil {
		return false
	}
	l.out.buf = append(l.out.buf, raw...)
	q := l.newRequest()
	q.multi, q.bundle = true, b
	if cap(q.frames) < n {
		q.frames = make([][]byte, 0, n)
	}
	if len(b.list) == 0 {
		b.wake = q.wake
		b.undecided.Store(1)
	}
	b.undecided.Add(1)
	b.list = append(b.list, bundled{l, q})
	l.queueLocked(q, n, len(raw), &opt)
	l.scanCtxLocked(ctx, q)
	if l.reading == nobody {
		l.giveLocked()
	}
	b.company = b.company || l.queue.n > 1 || l.expect > 1
	l.expect = max(0, l.expect-1)
	l.mu.Unlock()
	return true
}

// Wait sends the requests and blocks until each has its replies, or an error. ctx, which was the one of each Post, and
// Config.ReplyTimeout limit the wait.
func (b *Bundle) Wait(ctx context.Context) {
	if len(b.list) == 0 {
		return
	}
	if b.company {
		runtime.Gosched() // other callers append first: one write carries the bytes of all
	}
	watch := false
	for _, x := range b.list {
		watch = watch || x.q.ctx == nil && ctx.Done() != nil
		x.l.Flush(false)
	}
	switch {
	case b.undecided.Add(-1) == 0:
	case !watch:
		<-b.wake
	default:
		select {
		case <-b.wake:
		case <-ctx.Done():
			b.leave(ctx)
		}
	}
}

// leave ends the waits of all requests because ctx ended.
func (b *Bundle) leave(ctx context.Context) {
	undecided := true
	for _, x := range b.list {
		if x.q.state.CompareAndSwap(waiting, claimed) {
			x.q.err = x.l.failure("wait for the reply of", true, ctx.Err())
			x.q.state.Store(left)
			undecided = b.undecided.Add(-1) > 0
		}
	}
	if undecided {
		<-b.wake // the others are decided at the same time
	}
}

// Replies returns the replies to a request, which is the i-th of the successful Posts. After an error there may be fewer.
// The slice is valid until Reset. The caller owns the frames in it.
func (b *Bundle) Replies(i int) ([][]byte, error) {
	q := b.list[i].q
	if q.state.Load() != done {
		return nil, q.err
	}
	return q.frames, q.err
}

// Reset empties the bundle after Wait.
func (b *Bundle) Reset() {
	for i, x := range b.list {
		if x.q.err == nil {
			x.l.recycle(x.q)
		}
		b.list[i] = bundled{}
	}
	b.list, b.wake, b.company = b.list[:0], nil, false
}
