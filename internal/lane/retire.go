package lane

import "slices"

// Retire stops sending on a lane whose node is out of use, and lets pending replies arrive. It refuses requests with
// ErrDraining, including reserved ones. Bytes that were not offered to the socket are never written: their callers
// get ErrDraining. fn is called once when the lane is empty, at once if it is empty now. fn is not called if the lane
// fails first. It does not block.
func (l *Lane) Retire(fn func()) {
	l.mu.Lock()
	if l.dead != nil {
		l.mu.Unlock()
		return
	}
	l.draining, l.retired, l.drained = true, true, fn
	l.window.waiting.failAll(ErrDraining)
	l.alone.waiting.failAll(ErrDraining)
	l.out.drop()
	l.out.queued -= uint64(l.dropLoansLocked())
	l.cutLocked(l.out.queued)
	if l.out.flushing {
		l.conn.InterruptWrite() // a writer may be blocked; its write ends in the middle
	}
	l.unlockDrained()
}

// refuseLocked ends a request on a draining lane. It unlocks mu.
func (l *Lane) refuseLocked(opt *Options) error {
	l.keepPromiseLocked(opt)
	l.unlockDrained()
	return ErrDraining
}

// cutLocked removes the requests that begin at or after offset from, and fails them with ErrDraining.
func (l *Lane) cutLocked(from uint64) {
	var posted []failed
	for l.queue.n > 0 {
		p := l.queue.back()
		if p.q.start < from {
			break
		}
		l.window.due.sub(load{p.want, p.bytes})
		l.queue.popBack()
		if p.q == &l.proof.request {
			l.proof.unsent()
		}
		if p.q.sink != nil {
			posted = p.q.fail(posted, done, l.failure("write", false, ErrDraining))
		} else if p.q.finish(done, ErrDraining) && p.q.self {
			l.interruptReaderLocked()
		}
	}
	l.publishDepthLocked()
	slices.Reverse(posted) // sinks receive them in the order of their posts
	l.tellLocked(posted)
}

// abandonLocked ends the flush of a retired lane. It drops the bytes that were not offered, so nobody writes behind
// the gap. It unlocks mu.
func (l *Lane) abandonLocked() {
	l.cutLocked(l.out.offered)
	l.unlockDrained()
}
