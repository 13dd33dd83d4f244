package lane

import (
	"context"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// The states of a request. The goroutine that changes the state from waiting decides the request: the reader or Fail
// sets done, the caller, the ctx scanner or the clock sets left.
const (
	waiting int32 = iota
	claimed       // decided; becomes done or left
	done          // the reply or err is set
	left          // the caller has left; its reply is dropped by its place
)

// request is one caller's wait for its replies. Fields that the reader uses are adjacent.
type request struct {
	state   atomic.Int32
	multi   bool          // several replies
	patient bool          // Options.Patient
	self    bool          // the caller reads its own reply; written under Lane.mu before it is enqueued
	mine    bool          // the caller has read its own reply: there is no signal
	wake    chan struct{} // capacity 1: one signal, when another goroutine decides the request
	frame   []byte        // the reply, if there is one
	err     error         // set by the goroutine that decides the request

	sink Sink   // receives the replies of a posted request, which has no caller
	tag  uint64 // identifies the request to its sink

	bundle  *Bundle         // it belongs to one: its caller waits for all of them
	frames  [][]byte        // the replies, if there are several
	ctx     context.Context // ctx that the scanner checks; nil: the caller does, or it cannot end
	unwatch func() bool     // unregisters a blocking command from its ctx
	start   uint64          // offset of its bytes in the lane's stream
	due     int64           // tick at which its wait ends; 0: never
	block   command.Block   // how long the server may hold the reply back
}

// newRequest takes a request from the lane's own pool: a channel made inside a testing/synctest bubble must not be
// used outside.
func (l *Lane) newRequest() *request {
	q, ok := l.requests.Get().(*request)
	if !ok {
		q = &request{wake: make(chan struct{}, 1)}
	}
	return q
}

// recycle returns a request whose caller received its reply. A request whose caller left belongs to the queue until
// its reply has passed, then to the garbage collector.
func (l *Lane) recycle(q *request) {
	if q.unwatch != nil && !q.unwatch() {
		return // its ctx has just ended, and the registered function uses q
	}
	q.ctx, q.unwatch, q.frame = nil, nil, nil
	q.self, q.mine = false, false
	if q.multi {
		q.multi = false
		q.keepFrames()
	}
	q.state.Store(waiting)
	l.requests.Put(q)
}

// keepFrames keeps the memory of the replies of a bundle, whose caller has copied them. Other callers own theirs.
func (q *request) keepFrames() {
	const most = 1024
	if q.bundle == nil || cap(q.frames) > most {
		q.frames = nil
	}
	clear(q.frames)
	q.frames, q.bundle = q.frames[:0], nil
}

// finish decides a waiting request and wakes its caller. It reports whether the request was still waiting.
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
	if b := q.bundle; b == nil {
		q.wake <- struct{}{}
	} else if b.undecided.Add(-1) == 0 {
		b.wake <- struct{}{}
	}
	return true
}

// deliver finishes a request with its replies. byCaller: the caller itself reads, and needs no signal.
func (q *request) deliver(byCaller bool) {
	if !byCaller {
		q.finish(done, nil)
		return
	}
	q.mine = q.state.CompareAndSwap(waiting, done)
}
