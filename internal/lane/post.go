package lane

import (
	"errors"

	"github.com/seed-2b0d76a6/respool/resp"
)

// ErrFull refuses a post to a lane whose window is full: it was not sent.
var ErrFull = errors.New("the lane's window is full")

// Sink takes what comes of posted requests, in place of a caller that waits.
// Its methods are called without locks of the lane, on its reader's goroutine
// or another one of the lane's, and must not block.
type Sink interface {
	// Reply takes a reply to the request posted with tag; of several, each in order.
	// frame is valid during the call, and the sink's to keep if owned. What is to
	// be done once all replies that came with it are handed out is put into b.
	Reply(tag uint64, frame []byte, owned bool, b *Batch)
	// Part is offered what has come of a large reply that is the only one to its request, and
	// the sink's to keep. From the first part on that is taken, what follows is
	// handed out as it comes and Reply gets the end of the frame alone.
	Part(tag uint64, b []byte) (taken bool)
	// Fail tells that no further reply to that request comes, and why: it is a
	// *wire.Error, which wraps ErrDraining for one that was cut off before it was sent.
	Fail(tag uint64, err error)
}

// Flusher has something to do once a batch of replies is handed out.
type Flusher interface{ Flush() }

// Batch collects the flushers of one read.
type Batch struct{ list []Flusher }

// Add has f.Flush called once the batch is handed out.
func (b *Batch) Add(f Flusher) { b.list = append(b.list, f) }

// flush ends a batch.
func (b *Batch) flush() {
	for i, f := range b.list {
		f.Flush()
		b.list[i] = nil
	}
	b.list = b.list[:0]
}

// Post puts a request with n replies, at least one, in the queue without waiting for
// anything: its bytes go out with the next Flush, and its replies to sink. raw is not
// kept. An error is ErrDraining, ErrFull or a *wire.Error; sink hears nothing then.
// The wait for its replies is bounded by Config.ReplyTimeout and opt.Block.
func (l *Lane) Post(raw []byte, n int, sink Sink, tag uint64, opt Options) error {
	l.mu.Lock()
	switch {
	case l.dead != nil:
		err := l.dead
		l.mu.Unlock()
		return l.failure("write", false, err)
	case l.refusesLocked(&opt):
		l.mu.Unlock()
		return ErrDraining
	case l.window.Len() > 0 || !l.roomLocked():
		l.mu.Unlock()
		return ErrFull
	}
	l.wbuf = append(l.wbuf, raw...)
	q := l.newRequest()
	q.sink, q.tag = sink, tag
	l.queueLocked(q, n, len(raw), &opt)
	if l.reading == nobody {
		l.giveLocked()
	}
	l.mu.Unlock()
	return nil
}

// Flush writes what was posted, unless somebody does so already. It does not block. With
// company others are about to post as well: where replies are due to more than one, their bytes are waited
// for during one turn of the scheduler.
func (l *Lane) Flush(company bool) {
	l.mu.Lock()
	if l.flushing || len(l.wbuf) == 0 || l.dead != nil {
		l.mu.Unlock()
		return
	}
	l.flushing = true
	company = company && (l.queue.n > 1 || l.expect > 1)
	l.mu.Unlock()
	l.flush(company)
}

// failed is a posted request to whose sink a failure has to be told.
type failed struct {
	sink Sink
	tag  uint64
	err  error
}

// tellLocked tells sinks of failures on a goroutine of its own: they may hold
// locks under which they post. What a sink is being handed of such a request it takes before
// that.
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

// fail decides a posted request and lists it for tell.
func (q *request) fail(all []failed, state int32, err error) []failed {
	if !q.state.CompareAndSwap(waiting, state) {
		return all
	}
	return append(all, failed{q.sink, q.tag, err})
}

// handPart offers what has come of a large reply to the sink it is for. All frames before it
// are handed out.
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
		in.refused = len(part) // the next offer costs another copy
		return
	}
	in.refused = 0
	in.handed += len(part)
	in.largest = 0 // such replies take little memory here
	in.big = make([]byte, 0, bigStart)
}

// offer gives a part to a sink. What nobody waits for any more counts as taken.
func (l *Lane) offer(q *request, part []byte) (taken bool) {
	l.hands <- struct{}{}
	defer func() { <-l.hands }()
	return q.state.Load() != waiting || q.sink.Part(q.tag, part)
}

// partSize is how much of a large reply is gathered before it is handed on.
const partSize = bigStart / 2

// hand gives a reply to the sink of a posted request.
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
		return // it has waited too long, and is the collector's
	}
	sink, tag := q.sink, q.tag
	q.sink = nil
	q.state.Store(waiting)
	l.requests.Put(q)
	sink.Reply(tag, f.b, f.owned, &l.in.batch)
}
