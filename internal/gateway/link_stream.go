package gateway

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// streamLink serves a connection by goroutines: one reads, and another one writes while
// there is something.
type streamLink struct {
	conn net.Conn
	c    *client

	mu      sync.Mutex
	changed *sync.Cond
	resumes bool   // resume was called
	closed  bool   // nothing is read any more, or written once the writer has ended
	todo    []byte // what the writer writes
	writing bool
}

// Sizes of a read, in bytes: an idle connection holds the smaller one.
const (
	idleRead = 512
	fullRead = 32 << 10
)

func (g *Gateway) greetStream(conn net.Conn) {
	addr, laddr := addresses(conn)
	l := &streamLink{conn: conn}
	l.changed = sync.NewCond(&l.mu)
	c, reply := g.admit(l, addr, laddr, hostOf(addr))
	if c == nil {
		g.workers.Go(func() { refuse(conn, reply) }) // it may take a handshake
		return
	}
	l.c = c
	g.workers.Go(l.readLoop)
}

func (l *streamLink) readLoop() {
	defer l.c.left()
	var r round
	idle := make([]byte, idleRead)
	for {
		n, err := l.conn.Read(idle)
		more := l.take(idle[:n], &r)
		for full := []byte(nil); more && err == nil && n == idleRead; {
			// It has more to say than fits: that memory is not held while it says nothing.
			if full == nil {
				full = make([]byte, fullRead)
			}
			_ = l.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			if n, err = l.conn.Read(full); isTimeout(err) {
				err = nil
			}
			_ = l.conn.SetReadDeadline(time.Time{})
			more = l.take(full[:n], &r)
			n = min(n, idleRead)
		}
		if err != nil {
			break
		}
		if !more {
			return
		}
	}
	l.c.ended()
	for l.awaitResume() {
		l.c.resume(&r)
		r.flush()
	}
}

// take hands bytes to the client, and waits until it takes more. It reports whether
// the connection is open.
func (l *streamLink) take(b []byte, r *round) bool {
	if len(b) == 0 {
		return true
	}
	more := l.c.input(b, r)
	r.flush()
	for !more {
		if !l.awaitResume() {
			return false
		}
		more = l.c.resume(r)
		r.flush()
	}
	return true
}

// awaitResume waits for resume. It is false when the connection is closed.
func (l *streamLink) awaitResume() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.resumes && !l.closed {
		l.changed.Wait()
	}
	l.resumes = false
	return !l.closed
}

// write takes all that it is given, and one piece at a time.
func (l *streamLink) write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return 0, net.ErrClosed
	case l.writing:
		return 0, nil
	}
	if l.writing, l.todo = true, b; len(b) <= segment {
		l.todo = bytes.Clone(b) // that memory is used again
	}
	l.c.g.workers.Go(l.writeOnce)
	return len(b), nil
}

func (l *streamLink) writeOnce() {
	_, err := l.conn.Write(l.todo)
	l.mu.Lock()
	l.writing, l.todo = false, nil
	closed := l.closed
	l.mu.Unlock()
	switch {
	case closed:
		_ = l.conn.Close()
	case err != nil:
		l.c.out.close()
	default:
		l.c.out.writable()
	}
}

// await needs nothing: the end of a write calls.
func (l *streamLink) await() {}

func (l *streamLink) resume() {
	l.mu.Lock()
	l.resumes = true
	l.changed.Broadcast()
	l.mu.Unlock()
}

// lastWrite bounds what is still written once the connection is to be closed.
const lastWrite = 5 * time.Second

func (l *streamLink) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.changed.Broadcast()
	if l.writing {
		_ = l.conn.SetDeadline(time.Now().Add(lastWrite))
		_ = l.conn.SetReadDeadline(time.Now())
		return
	}
	_ = l.conn.Close()
}

func (l *streamLink) fd() int { return -1 }
