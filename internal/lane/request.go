package lane

import (
	"context"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// The states of a request. Whoever moves it away from waiting decides its
// fate: the reader or the lane's end by done, the caller or the lane's clock
// by left.
const (
	waiting int32 = iota
	claimed       // decided, about to become done or left
	done          // the reply, or err, is there
	left          // nobody waits any more; the reply is dropped by its place
)

// request is one caller's wait for its replies. What the reader needs of it
// stands together.
type request struct {
	state atomic.Int32
	multi bool          // more than one reply may come
	self  bool          // the caller reads for itself; written under Lane.mu before it is enqueued
	mine  bool          // the caller read its own reply: there is no signal to wait for
	wake  chan struct{} // capacity 1: signalled once when another goroutine than the caller decides
	frame []byte        // the reply, where one was asked for
	err   error         // set by whoever made state leave waiting

	sink Sink   // takes the replies of a posted request, which has no caller
	tag  uint64 // by which the sink knows it

	frames  [][]byte        // the replies, where more were asked for
	ctx     context.Context // whose end the lane sees to; nil: the caller does, or it has none
	unwatch func() bool     // ends the registration with ctx, of a command that may be held back for long
	start   uint64          // where its bytes begin in the lane's stream
	due     int64           // the tick at which it has waited too long; 0: never
	block   command.Block   // how long the server may hold the reply back
}

// newRequest takes a request from the lane's own pool: a channel made inside a
// testing/synctest bubble must not come back outside of it.
func (l *Lane) newRequest() *request {
	q, ok := l.requests.Get().(*request)
	if !ok {
		q = &request{wake: make(chan struct{}, 1)}
	}
	return q
}

// recycle gives a request back whose caller got its reply. One that was left
// belongs to the queue until its reply has passed, and then to the collector.
func (l *Lane) recycle(q *request) {
	if q.unwatch != nil && !q.unwatch() {
		return // its ctx ended just now, and somebody is about to look at q
	}
	q.ctx, q.unwatch, q.frame = nil, nil, nil
	q.self, q.mine = false, false
	if q.multi {
		q.multi, q.frames = false, nil
	}
	q.state.Store(waiting)
	l.requests.Put(q)
}

// finish decides a waiting request and wakes its caller. It reports whether
// the request was still waiting.
func (q *request) finish(state int32, err error) bool {
	if err == nil {
		if !q.state.CompareAndSwap(waiting, state) {
			return false
		}
	} else {
		if !q.state.CompareAndSwap(waiting, claimed) {
			return false
		}
		q.err = err
		q.state.Store(state)
	}
	q.wake <- struct{}{}
	return true
}

// deliver finishes a request whose replies are there. byCaller says that the
// caller itself reads: it needs no signal.
func (q *request) deliver(byCaller bool) {
	if !byCaller {
		q.finish(done, nil)
		return
	}
	q.mine = q.state.CompareAndSwap(waiting, done)
}
