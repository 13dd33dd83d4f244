package lane

import "slices"

// Retire ends the sending on a lane whose node must not get another command,
// and lets the replies in that are due. Requests are refused with ErrDraining,
// those with a promise too. What the socket was not offered yet is never
// written: its callers get ErrDraining. fn is called, once, when nothing is
// left: at once if so. A lane that dies first never calls it.
func (l *Lane) Retire(fn func()) {
	l.mu.Lock()
	if l.dead != nil {
		l.mu.Unlock()
		return
	}
	l.draining, l.retired, l.drained = true, true, fn
	l.window.failAll(ErrDraining)
	l.alone.waiting.failAll(ErrDraining)
	l.queued -= uint64(len(l.wbuf)) // the buffer ends the stream
	l.wbuf = l.wbuf[:0]
	l.cutLocked(l.queued)
	if l.flushing {
		l.conn.InterruptWrite() // a writer may be blocked; what it was at is cut off there
	}
	l.unlockDrained()
}

// refuseLocked turns a request away from a draining lane.
func (l *Lane) refuseLocked(opt *Options) error {
	l.keepPromiseLocked(opt)
	l.unlockDrained()
	return ErrDraining
}

// cutLocked takes the requests that begin at or behind from in the stream off
// the queue, and sends their callers elsewhere.
func (l *Lane) cutLocked(from uint64) {
	var posted []failed
	for l.queue.n > 0 {
		p := l.queue.back()
		if p.q.start < from {
			break
		}
		l.due -= p.want
		l.dueBytes -= p.bytes
		l.queue.popBack()
		if p.q == &l.proof.request {
			l.proof.pending = false
		}
		if p.q.sink != nil {
			posted = p.q.fail(posted, done, l.failure("write", false, ErrDraining))
		} else if p.q.finish(done, ErrDraining) && p.q.self {
			l.interruptReaderLocked()
		}
	}
	l.publishDepthLocked()
	slices.Reverse(posted) // they are told in the order in which they were posted
	l.tellLocked(posted)
}

// abandonLocked ends the flush of a retired lane: what was not offered is
// dropped, and nobody writes behind the gap. It unlocks mu.
func (l *Lane) abandonLocked() {
	l.cutLocked(l.offered)
	l.unlockDrained()
}
