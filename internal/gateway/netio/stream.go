package netio

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// streamLink serves a connection with goroutines: one reads, and another one writes while there are replies.
type streamLink struct {
	stays
	srv  *Server
	conn net.Conn
	c    Client
	out  *Output
	room chan struct{} // capacity 1: the client may keep less than before
	over chan struct{} // closed with the connection

	mu      sync.Mutex
	closed  bool        // no read follows, and no write after the present one
	todo    []byte      // the bytes that the writer writes
	writing bool        // the writer runs
	unwatch func() bool // ends the wait for the end of the host, which interrupts the last write
}

// Sizes of a read in bytes. An idle connection holds the smaller buffer.
const (
	idleRead = 512
	fullRead = 32 << 10
)

func (s *Server) serveStream(conn net.Conn, at net.Addr) {
	addr, localAddr := addresses(conn, at)
	l := &streamLink{srv: s, conn: conn, room: make(chan struct{}, 1), over: make(chan struct{})}
	c, reply := s.host.Admit(l, 0, addr, localAddr)
	if c == nil {
		s.host.Go(func() { refuse(conn, reply) }) // it may take a handshake
		return
	}
	s.host.Go(l.readLoop)
}

func (l *streamLink) serve(c Client, out *Output) { l.c, l.out = c, out }

func (l *streamLink) readLoop() {
	defer l.c.Left()
	if !l.handshake() {
		l.out.Close()
		return
	}
	var batch FlushBatch
	idle := make([]byte, idleRead)
	for {
		buf := l.c.Room(idle)
		n, err := l.conn.Read(buf)
		l.take(buf[:n], &batch)
		for full := []byte(nil); err == nil && n >= idleRead; {
			// The client sends more than fits. An idle client does not hold the larger buffer.
			if full == nil {
				full = make([]byte, fullRead)
			}
			buf = l.c.Room(full)
			_ = l.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			if n, err = l.conn.Read(buf); isTimeout(err) {
				err = nil
			}
			_ = l.conn.SetReadDeadline(time.Time{})
			l.take(buf[:n], &batch)
		}
		if err != nil || !l.awaitRoom() {
			break
		}
	}
	l.c.Ended()
	<-l.over
}

// handshake runs the TLS handshake within its timeout, so that a silent connection does not hold a place.
func (l *streamLink) handshake() bool {
	conn, ok := l.conn.(*tls.Conn)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(l.srv.host.Context(), l.srv.host.HandshakeTimeout())
	defer cancel()
	return conn.HandshakeContext(ctx) == nil
}

// take passes bytes to the client, which keeps those that it cannot process yet. The link reads on, so that it sees the
// end of the connection.
func (l *streamLink) take(b []byte, f *FlushBatch) {
	if len(b) > 0 {
		l.c.Input(b, f)
		f.Flush()
	}
}

// keepRest is how many bytes a client may keep before the link stops reading.
const keepRest = 64 << 10

// awaitRoom waits until the client keeps at most keepRest bytes. It returns false if the connection is closed.
func (l *streamLink) awaitRoom() bool {
	for l.c.Kept() > keepRest {
		select {
		case <-l.room:
		case <-l.over:
			return false
		}
	}
	return true
}

// write takes one piece as a whole, and no other one until that is written.
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
		l.todo = bytes.Clone(b) // the caller reuses a small piece
	}
	l.srv.host.Go(l.writeOnce)
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
		l.unwatch()
		l.hangUp(err)
		l.srv.lastWrites.Done()
	case err != nil:
		l.out.Close()
	default:
		l.out.writable()
	}
}

// await does nothing: writeOnce calls Output.writable.
func (l *streamLink) await() {}

// resume runs on another goroutine: its caller holds the client's lock.
func (l *streamLink) resume() {
	l.srv.host.Go(func() {
		var batch FlushBatch
		l.c.Resume(&batch)
		batch.Flush()
		signal(l.room)
	})
}

// lastWrite bounds the time of the write in progress when the link is closed. A shutdown waits for that write; the end
// of the host's context interrupts it.
const lastWrite = 5 * time.Second

func (l *streamLink) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	close(l.over)
	if l.writing {
		_ = l.conn.SetDeadline(time.Now().Add(lastWrite))
		_ = l.conn.SetReadDeadline(time.Now())
		l.srv.lastWrites.Add(1)
		l.unwatch = context.AfterFunc(l.srv.host.Context(), func() { _ = l.conn.SetDeadline(time.Now()) })
		return
	}
	_ = l.conn.Close()
}

// hangUp closes the connection after its last write. If that write was interrupted within a TLS record, it sends no
// close_notify: the peer would report a corrupt record.
func (l *streamLink) hangUp(cut error) {
	conn := l.conn
	if secure, ok := conn.(*tls.Conn); ok && cut != nil {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

func (l *streamLink) descriptor() int { return -1 }

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
