package lane

import (
	"errors"
	"runtime"
)

// mostRounds is the number of writes after which a caller hands the flush over to the writer goroutine, so that it
// can read its own reply.
const mostRounds = 16

// outbox holds the bytes to send, in two buffers: callers append to one while a flush writes the other. Large requests
// between them are not copied: Lane.loans holds those. Lane.mu guards it.
type outbox struct {
	buf      []byte // encoded bytes that were not offered to the socket
	queued   uint64 // bytes appended since New
	flushing bool   // a flush runs: one at a time
	lends    bool   // Lane.loans has loans that no flush has taken
	lent     bool   // the flush writes a loan
	spare    []byte // the other buffer, while no flush runs
	offered  uint64 // bytes offered to the socket, or accepted by it if that is known
}

// begin begins a flush, unless one runs.
func (o *outbox) begin() bool {
	if o.flushing {
		return false
	}
	o.flushing = true
	return true
}

// take takes the bytes to write, or ends the flush if there are none.
func (o *outbox) take() []byte {
	if len(o.buf) == 0 {
		o.flushing = false
		return nil
	}
	out := o.buf
	o.buf, o.spare = o.spare, nil
	return out
}

// reuse makes a written buffer the spare one.
func (o *outbox) reuse(written []byte) { o.spare = written[:0] }

// offer records that n bytes are offered to the socket. It returns the number of bytes before, for accepted.
func (o *outbox) offer(n int) (base uint64) {
	base = o.offered
	o.offered += uint64(n)
	return base
}

// accepted records that the socket accepted n bytes of those after base.
func (o *outbox) accepted(base uint64, n int) { o.offered = base + uint64(n) }

// drop discards the bytes that no flush has taken: the end of the stream.
func (o *outbox) drop() {
	o.queued -= uint64(len(o.buf))
	o.buf = o.buf[:0]
}

// keepBuffer is the size in bytes of the largest write buffer that an idle lane keeps.
const keepBuffer = 4 << 10

// shrink releases the memory that an idle lane does not need.
func (o *outbox) shrink() {
	if !o.flushing && cap(o.buf) > keepBuffer {
		o.buf = nil
	}
	if cap(o.spare) > keepBuffer {
		o.spare = nil
	}
}

// flush writes until the buffer is empty. The caller has begun the flush, so there is one at a time. It never blocks. The writer goroutine sends the bytes that a full socket does not accept, all bytes on a connection that
// cannot be written in part, and the bytes after mostRounds writes.
func (l *Lane) flush(company bool) {
	if company {
		// Let other callers append first: one write carries the bytes of all.
		runtime.Gosched()
	}
	l.mu.Lock()
	for round := 0; ; round++ {
		out := l.takeLocked()
		if out == nil {
			l.hastenLocked()
			l.mu.Unlock()
			return
		}
		if !l.conn.CanTry() || round == mostRounds {
			l.toWriterLocked(rest{out, 0})
			l.mu.Unlock()
			return
		}
		base := l.out.offer(len(out))
		l.mu.Unlock()

		n, err := l.conn.TryWrite(out)

		l.mu.Lock()
		l.out.accepted(base, n)
		switch {
		case l.retired && n < len(out) && (err == nil || isTimeout(err)):
			l.abandonLocked()
			return
		case err != nil:
			l.mu.Unlock()
			l.Fail(err)
			return
		case n < len(out):
			l.toWriterLocked(rest{out, n})
			l.mu.Unlock()
			return
		}
		l.writtenLocked(out)
	}
}

// takeLocked takes the bytes to write, or ends the flush if there are none or the lane has failed.
func (l *Lane) takeLocked() []byte {
	if l.dead != nil {
		l.out.flushing = false
		return nil
	}
	if l.out.lends {
		return l.takeLentLocked()
	}
	return l.out.take()
}

// rest is a buffer whose first done bytes are written. The lane reuses the buffer when all are.
type rest struct {
	buf  []byte
	done int
}

// toWriterLocked hands the flush over to the writer goroutine.
func (l *Lane) toWriterLocked(out rest) {
	if l.dead != nil {
		l.out.flushing = false
		return
	}
	if !l.writing {
		l.writing = true
		go l.writeLoop()
	}
	l.wrWake <- out // there is one flush at a time, so this does not block
}

// errRetired ends a write on a retired lane.
var errRetired = errors.New("the lane was retired")

// writeChunk limits one blocking write, in bytes. When the lane fails, the lane then knows which bytes it did not
// offer to the socket.
const writeChunk = 64 << 10

func (l *Lane) writeLoop() {
	defer close(l.wrDone)
	for {
		select {
		case <-l.gone:
			return
		case out := <-l.wrWake:
			switch err := l.writeAll(out); err {
			case nil:
			case errRetired:
				l.mu.Lock()
				l.abandonLocked()
			default:
				l.Fail(err)
				return
			}
		}
	}
}

// writeAll writes out and the bytes appended meanwhile, then ends the flush. After an error the flush stays open, so
// that nobody writes behind the gap.
func (l *Lane) writeAll(first rest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	out, done := first.buf, first.done
	for out != nil {
		for done < len(out) && l.dead == nil {
			if l.retired {
				return errRetired
			}
			chunk := out[done:min(len(out), done+writeChunk)]
			base := l.out.offer(len(chunk))
			l.mu.Unlock()
			n, err := l.conn.Write(chunk)
			l.mu.Lock()
			if err != nil && l.retired && isTimeout(err) {
				l.out.accepted(base, n)
				return errRetired
			}
			if err != nil {
				return err
			}
			done += len(chunk)
		}
		l.writtenLocked(out)
		out, done = l.takeLocked(), 0
	}
	return nil
}
