package netio

import (
	"io"
	"net"
	"os"
	"time"
)

// memoryConn is the client's side of a memoryLink.
type memoryConn memoryLink

// Read waits for replies.
func (m *memoryConn) Read(b []byte) (int, error) {
	for {
		past := m.readBy.wait()
		m.mu.Lock()
		switch {
		case m.own:
			m.mu.Unlock()
			signal(m.ready) // for other readers
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
				m.out.writable()
			}
			return n, nil
		}
		closed := m.closed
		m.mu.Unlock()
		if closed {
			signal(m.ready) // for other readers
			return 0, io.EOF
		}
		select {
		case <-m.ready:
		case <-past:
		}
	}
}

// Write passes requests to the gateway, and waits while it takes none.
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
	m.stopped = true // resume may run before Input returns
	m.mu.Unlock()
	more := m.c.Input(b, &m.batch)
	if more {
		m.mu.Lock()
		m.stopped = false
		m.mu.Unlock()
	}
	m.batch.flushTogether()
	return len(b), nil
}

// errPast is the error of an operation whose deadline has passed.
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
	m.out.Close()
	signal(m.ready) // if the gateway has closed it before
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
