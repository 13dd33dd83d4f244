package lane

import "runtime"

// mostRounds is how often a caller writes what others append meanwhile before
// it may see to its own reply.
const mostRounds = 16

// flush writes until the buffer is empty. The caller has set l.flushing, so
// that there is only one flush at a time. It never blocks: what a full socket
// does not take goes to the writer goroutine, and so does everything on a
// connection that cannot be written in part, and what comes after mostRounds.
func (l *Lane) flush(company bool) {
	if company {
		// Let those who are about to send append first: one write carries all.
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
			l.toWriterLocked(out)
			l.mu.Unlock()
			return
		}
		base := l.offered
		l.offered += uint64(len(out))
		l.mu.Unlock()

		n, err := l.conn.TryWrite(out)

		l.mu.Lock()
		l.offered = base + uint64(n)
		if err != nil {
			l.mu.Unlock()
			l.Condemn(err)
			return
		}
		if n < len(out) {
			l.toWriterLocked(out[n:])
			l.mu.Unlock()
			return
		}
		l.spare = out[:0]
	}
}

// takeLocked takes the buffer, or ends the flush when there is nothing to write.
func (l *Lane) takeLocked() []byte {
	if len(l.wbuf) == 0 || l.dead != nil {
		l.flushing = false
		return nil
	}
	out := l.wbuf
	l.wbuf, l.spare = l.spare, nil
	return out
}

// toWriterLocked hands the flush over to the writer goroutine.
func (l *Lane) toWriterLocked(out []byte) {
	if l.dead != nil {
		l.flushing = false
		return
	}
	if !l.writing {
		l.writing = true
		go l.writeLoop()
	}
	l.wrWake <- out // there is one flush, so there is room
}

// writeChunk bounds one blocking write, so that what was not offered to the
// socket is known when the lane dies.
const writeChunk = 64 << 10

func (l *Lane) writeLoop() {
	defer close(l.wrDone)
	for {
		select {
		case <-l.gone:
			return
		case out := <-l.wrWake:
			if err := l.writeAll(out); err != nil {
				l.Condemn(err)
				return
			}
		}
	}
}

// writeAll writes out and all that came meanwhile, then ends the flush.
func (l *Lane) writeAll(out []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for out != nil {
		for rest := out; len(rest) > 0 && l.dead == nil; {
			chunk := rest[:min(len(rest), writeChunk)]
			l.offered += uint64(len(chunk))
			l.mu.Unlock()
			_, err := l.conn.Write(chunk)
			l.mu.Lock()
			if err != nil {
				return err // the flush stays open, so that nobody writes behind the gap
			}
			rest = rest[len(chunk):]
		}
		l.spare = out[:0]
		out = l.takeLocked()
	}
	return nil
}
