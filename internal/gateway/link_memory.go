package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// memoryLink is a client in the same process. What it writes is taken at once, on its own
// goroutine, and replies are put where it reads: there is no socket between.
type memoryLink struct {
	c       *client
	readBy  deadline
	writeBy deadline

	mu      sync.Mutex
	in      []byte // to be read by the client, from at on
	at      int
	full    bool // the client's output waits for room
	stopped bool // it may not write before resume
	closed  bool
	own     bool          // the client's side has called Close
	ready   chan struct{} // capacity 1: in or closed has changed
	room    chan struct{} // capacity 1: stopped or closed has changed
	r       round         // of Write
	writes  sync.Mutex    // one at a time
}

// memoryRoom is how much may wait to be read before the client's output waits.
const memoryRoom = 64 << 10

// DialContext makes a client of the caller: what it writes and reads is as with a connection
// to the gateway, without a socket. It has to be closed.
func (g *Gateway) DialContext(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("gateway: dial: %w", err)
	}
	l := &memoryLink{ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	l.readBy.init()
	l.writeBy.init()
	c, reply := g.admit(l, "memory:0", "memory:0", "memory")
	if c == nil {
		if g.isClosing() {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("gateway: dial: %s", reply[1:len(reply)-2])
	}
	return (*memoryConn)(l), nil
}

func (l *memoryLink) serve(c *client) { l.c = c }

// write is the gateway's side: it gives replies to the client.
func (l *memoryLink) write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, net.ErrClosed
	}
	n := min(max(memoryRoom-(len(l.in)-l.at), 0), len(b))
	l.full = n < len(b)
	if n == 0 {
		return 0, nil
	}
	if l.at == len(l.in) {
		l.in, l.at = l.in[:0], 0
	}
	l.in = append(l.in, b[:n]...)
	signal(l.ready)
	return n, nil
}

// await needs nothing: who reads the last of what write has put there calls, and knew of it with the bytes.
func (l *memoryLink) await() {}

// resume is called with locks of the client's held, so that another goroutine goes on.
func (l *memoryLink) resume() {
	l.c.g.workers.Go(func() {
		l.writes.Lock()
		more := l.c.resume(&l.r)
		l.r.flush()
		l.writes.Unlock()
		if more {
			l.mu.Lock()
			l.stopped = false
			l.mu.Unlock()
			signal(l.room)
		}
	})
}

func (l *memoryLink) close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	l.mu.Unlock()
	signal(l.ready)
	signal(l.room)
	l.c.g.workers.Go(l.c.left)
}

func (l *memoryLink) fd() int { return -1 }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// memoryConn is the client's side.
type memoryConn memoryLink

// Read waits for replies.
func (m *memoryConn) Read(b []byte) (int, error) {
	for {
		past := m.readBy.wait()
		m.mu.Lock()
		switch {
		case m.own:
			m.mu.Unlock()
			signal(m.ready) // for others
			return 0, errClosed("read")
		case isClosed(past):
			m.mu.Unlock()
			return 0, errPast("read")
		}
		if n := copy(b, m.in[m.at:]); n > 0 || len(b) == 0 {
			m.at += n
			left := len(m.in) > m.at
			if !left && cap(m.in) > segment {
				m.in, m.at = nil, 0
			}
			full := m.full && !left
			if full {
				m.full = false
			}
			m.mu.Unlock()
			if left {
				signal(m.ready)
			}
			if full {
				m.c.out.writable()
			}
			return n, nil
		}
		closed := m.closed
		m.mu.Unlock()
		if closed {
			signal(m.ready) // for others
			return 0, io.EOF
		}
		select {
		case <-m.ready:
		case <-past:
		}
	}
}

// Write hands requests to the gateway, and waits while it takes none.
func (m *memoryConn) Write(b []byte) (int, error) {
	for {
		past := m.writeBy.wait()
		if isClosed(past) && !m.closedHere() {
			return 0, errPast("write")
		}
		m.writes.Lock()
		m.mu.Lock()
		stopped, closed, own := m.stopped, m.closed, m.own
		m.mu.Unlock()
		if closed || own {
			m.writes.Unlock()
			signal(m.room)
			if own {
				return 0, errClosed("write")
			}
			return 0, &net.OpError{Op: "write", Net: "memory", Err: io.ErrClosedPipe}
		}
		if !stopped {
			break // with writes held
		}
		m.writes.Unlock()
		select {
		case <-m.room:
		case <-past:
		}
	}
	defer m.writes.Unlock()
	m.mu.Lock()
	m.stopped = true // resume may come before input has returned
	m.mu.Unlock()
	more := m.c.input(b, &m.r)
	if more {
		m.mu.Lock()
		m.stopped = false
		m.mu.Unlock()
	}
	m.r.flushTogether()
	return len(b), nil
}

// errPast is a deadline's error.
func errPast(op string) error {
	return &net.OpError{Op: op, Net: "memory", Err: os.ErrDeadlineExceeded}
}

// errClosed is the error of using a connection after its own Close.
func errClosed(op string) error {
	return &net.OpError{Op: op, Net: "memory", Err: net.ErrClosed}
}

// closedHere reports whether the client's side has called Close.
func (m *memoryConn) closedHere() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.own
}

// Close ends the client. Closing again is an error, as it is of a socket.
func (m *memoryConn) Close() error {
	m.mu.Lock()
	again := m.own
	m.own = true
	m.mu.Unlock()
	if again {
		return errClosed("close")
	}
	m.c.out.close()
	signal(m.ready) // where the gateway has closed it before
	return nil
}

func (m *memoryConn) LocalAddr() net.Addr  { return memoryAddr{} }
func (m *memoryConn) RemoteAddr() net.Addr { return memoryAddr{} }

func (m *memoryConn) SetDeadline(t time.Time) error { return m.setDeadlines(t, &m.readBy, &m.writeBy) }

func (m *memoryConn) SetReadDeadline(t time.Time) error { return m.setDeadlines(t, &m.readBy) }

func (m *memoryConn) SetWriteDeadline(t time.Time) error { return m.setDeadlines(t, &m.writeBy) }

func (m *memoryConn) setDeadlines(t time.Time, of ...*deadline) error {
	if m.closedHere() {
		return errClosed("set")
	}
	for _, d := range of {
		d.set(t)
	}
	return nil
}

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "respool" }

// deadline closes a channel at a time that may be changed.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	past  chan struct{}
	at    time.Time
}

func (d *deadline) init() { d.past = make(chan struct{}) }

// set moves the deadline; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if isClosed(d.past) {
		d.past = make(chan struct{})
	}
	d.at = t
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	switch {
	case wait <= 0:
		close(d.past)
	case d.timer == nil:
		d.timer = time.AfterFunc(wait, d.ring)
	default:
		d.timer.Reset(wait)
	}
}

// ring is the timer's; the deadline may have been moved meanwhile.
func (d *deadline) ring() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() || isClosed(d.past) {
		return
	}
	if wait := time.Until(d.at); wait > 0 {
		d.timer.Reset(wait)
		return
	}
	close(d.past)
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.past
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
