package lane

import (
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// ErrFull is the error of a post to a lane whose window is full. The request was not sent.
var ErrFull = errors.New("the lane's window is full")

// Sink receives the replies of posted requests, in place of a waiting caller. A goroutine of the lane calls its
// methods without the lane's locks. They must not block.
type Sink interface {
	// Reply receives a reply to the request posted with tag; several replies arrive in order. frame is valid during
	// the call; if owned, the sink may keep it. The sink may add a Flusher to b, which runs after all replies of the
	// same read.
	Reply(tag uint64, frame []byte, owned bool, b *Batch)
	// Part receives a part of a large reply, if it is the only reply of its request. The sink may keep b. After it
	// returned true once, further parts follow as they arrive, and Reply receives only the end of the frame.
	Part(tag uint64, b []byte) (taken bool)
	// Fail reports that no further reply to that request arrives. err is a *wire.Error. It wraps ErrDraining if the
	// request was cut off before it was sent.
	Fail(tag uint64, err error)
}

// Flusher runs after a batch of replies.
type Flusher interface{ Flush() }

// Batch collects the flushers of one read.
type Batch struct {
	list []Flusher
	now  int64
}

// Now returns the time of the batch in Unix nanoseconds. It is the same until the end of the batch, so most calls read no
// clock.
func (b *Batch) Now() int64 {
	if b.now == 0 {
		b.now = time.Now().UnixNano()
	}
	return b.now
}

// Add registers f. Flush runs after the batch.
func (b *Batch) Add(f Flusher) { b.list = append(b.list, f) }

// flush runs the flushers.
func (b *Batch) flush() {
	b.now = 0
	for i, f := range b.list {
		f.Flush()
		b.list[i] = nil
	}
	b.list = b.list[:0]
}

// Post adds a request with n replies (at least one) to the queue without waiting. The next Flush sends its bytes, and
// sink receives its replies. raw is not retained. An error is ErrDraining, ErrFull or a *wire.Error; sink is not
// called then. Config.ReplyTimeout and opt.Block limit the wait for the replies.
func (l *Lane) Post(raw []byte, n int, sink Sink, tag uint64, opt Options) error {
	l.mu.Lock()
	if err := l.enterPostLocked(&opt); err != nil {
		return err
	}
	l.out.buf = append(l.out.buf, raw...)
	l.queuePostLocked(sink, tag, n, len(raw), &opt)
	l.mu.Unlock()
	return nil
}

// enterPostLocked returns an error if no request may be posted now. It then has unlocked mu.
func (l *Lane) enterPostLocked(opt *Options) error {
	switch {
	case l.dead != nil:
		err := l.dead
		l.mu.Unlock()
		return l.failure("write", false, err)
	case l.refusesLocked(opt):
		l.mu.Unlock()
		return ErrDraining
	case l.window.waiting.Len() > 0 || !l.roomLocked():
		l.mu.Unlock()
		return ErrFull
	}
	return nil
}

// queuePostLocked adds a posted request to the queue. Its bytes are in the outbox already.
func (l *Lane) queuePostLocked(sink Sink, tag uint64, n, bytes int, opt *Options) {
	q := l.newRequest()
	q.sink, q.tag = sink, tag
	l.queueLocked(q, n, bytes, opt)
	if l.reading == nobody {
		l.giveLocked()
	}
}

// Flush writes posted requests, unless a flush runs already. It does not block. company states that other callers are
// about to post too: if several replies are pending, Flush yields to them once.
func (l *Lane) Flush(company bool) {
	l.mu.Lock()
	if len(l.out.buf) == 0 && !l.out.lends || l.dead != nil || !l.out.begin() {
		l.mu.Unlock()
		return
	}
	company = company && (l.queue.n > 1 || l.expect > 1)
	l.mu.Unlock()
	l.flush(company)
}

// failed is the failure of a posted request that its sink must receive.
type failed struct {
	sink Sink
	tag  uint64
	err  error
}

// tellLocked reports failures to sinks on a new goroutine, because sinks may hold locks while they post. A sink that
// receives a part of such a request finishes that first.
func (l *Lane) tellLocked(all []failed) {
	if len(all) == 0 {
		return
	}
	l.telling.Go(func() {
		l.hands <- struct{}{}
		<-l.hands
		for _, f := range all {
			f.sink.Fail(f.tag, f.err)
		}
	})
}

// fail ends a posted request and adds it to the list for tellLocked.
func (q *request) fail(all []failed, state int32, err error) []failed {
	if !q.state.CompareAndSwap(waiting, state) {
		return all
	}
	return append(all, failed{q.sink, q.tag, err})
}

// handPart offers the received part of a large reply to its sink. All earlier frames are distributed already.
func (l *Lane) handPart() {
	in := &l.in
	if len(in.big) < max(partSize, 2*in.refused) || in.handed == 0 && resp.Kind(in.big[0]) == resp.Push {
		return
	}
	l.mu.Lock()
	p := l.queue.front()
	if l.dead != nil || p == nil || p.want != 1 || p.q.sink == nil {
		l.mu.Unlock()
		return
	}
	q := p.q
	l.mu.Unlock()
	part := in.big
	if cap(part) >= 2*len(part) {
		part = append([]byte(nil), part...)
	}
	if !l.offer(q, part) && in.handed == 0 {
		in.refused = len(part) // limits the number of copies
		return
	}
	in.refused = 0
	in.handed += len(part)
	in.largest = 0 // such replies need little memory here
	in.big = make([]byte, 0, bigStart)
}

// offer passes a part to a sink. It returns true if nobody waits for the reply any more.
func (l *Lane) offer(q *request, part []byte) (taken bool) {
	l.hands <- struct{}{}
	defer func() { <-l.hands }()
	return q.state.Load() != waiting || q.sink.Part(q.tag, part)
}

// partSize is the minimum size of a part, in bytes.
const partSize = bigStart / 2

// hand passes a reply to the sink of a posted request.
func (l *Lane) hand(f *frame) {
	q := f.q
	if !f.last {
		l.hands <- struct{}{}
		if q.state.Load() == waiting {
			q.sink.Reply(q.tag, f.b, f.owned, &l.in.batch)
		}
		<-l.hands
		return
	}
	if !q.state.CompareAndSwap(waiting, done) {
		return // the request has expired; the garbage collector frees it
	}
	sink, tag := q.sink, q.tag
	q.sink = nil
	q.state.Store(waiting)
	l.requests.Put(q)
	sink.Reply(tag, f.b, f.owned, &l.in.batch)
}
