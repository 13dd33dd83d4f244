package lane

import (
	"errors"
	"runtime"
)

// mostRounds is the number of writes after which a caller hands the flush over to the writer goroutine, so that it
// can read its own reply.
const mostRounds = 16

// flush writes until the buffer is empty. The caller has set l.flushing, so there is one flush at a time. It never
// blocks. The writer goroutine sends the bytes that a full socket does not accept, all bytes on a connection that
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
			l.mu.Unlock()
			return
		}
		if !l.conn.CanTry() || round == mostRounds {
			l.toWriterLocked(rest{out, 0})
			l.mu.Unlock()
			return
		}
		base := l.offered
		l.offered += uint64(len(out))
		l.mu.Unlock()

		n, err := l.conn.TryWrite(out)

		l.mu.Lock()
		l.offered = base + uint64(n)
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
		l.spare = out[:0]
	}
}

// takeLocked takes the buffer, or ends the flush if it is empty.
func (l *Lane) takeLocked() []byte {
	if len(l.wbuf) == 0 || l.dead != nil {
		l.flushing = false
		return nil
	}
	out := l.wbuf
	l.wbuf, l.spare = l.spare, nil
	return out
}

// rest is a buffer whose first done bytes are written. The lane reuses the buffer when all are.
type rest struct {
	buf  []byte
	done int
}

// toWriterLocked hands the flush over to the writer goroutine.
func (l *Lane) toWriterLocked(out rest) {
	if l.dead != nil {
		l.flushing = false
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
			base := l.offered
			l.offered += uint64(len(chunk))
			l.mu.Unlock()
			n, err := l.conn.Write(chunk)
			l.mu.Lock()
			if err != nil && l.retired && isTimeout(err) {
				l.offered = base + uint64(n)
				return errRetired
			}
			if err != nil {
				return err
			}
			done += len(chunk)
		}
		l.spare = out[:0]
		out, done = l.takeLocked(), 0
	}
	return nil
}
