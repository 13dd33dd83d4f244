package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// streamLink serves a connection by goroutines: one reads, and another one writes while
// there is something.
type streamLink struct {
	conn net.Conn
	c    *client
	room chan struct{} // capacity 1: the client may keep less than before
	over chan struct{} // closed with the connection

	mu      sync.Mutex
	closed  bool   // nothing is read any more, or written once the writer has ended
	todo    []byte // what the writer writes
	writing bool
	unwatch func() bool // ends the watch for the gateway's end, which cuts the last write
}

// Sizes of a read, in bytes: an idle connection holds the smaller one.
const (
	idleRead = 512
	fullRead = 32 << 10
)

func (g *Gateway) greetStream(conn net.Conn, at net.Addr) {
	addr, laddr := addresses(conn, at)
	l := &streamLink{conn: conn, room: make(chan struct{}, 1), over: make(chan struct{})}
	c, reply := g.admit(l, addr, laddr, hostOf(addr))
	if c == nil {
		g.workers.Go(func() { refuse(conn, reply) }) // it may take a handshake
		return
	}
	g.workers.Go(l.readLoop)
}

func (l *streamLink) serve(c *client) { l.c = c }

func (l *streamLink) readLoop() {
	defer l.c.left()
	if !l.shakeHands() {
		l.c.out.close()
		return
	}
	var r round
	idle := make([]byte, idleRead)
	for {
		buf := l.c.room(idle)
		n, err := l.conn.Read(buf)
		l.take(buf[:n], &r)
		for full := []byte(nil); err == nil && n >= idleRead; {
			// It has more to say than fits: that memory is not held while it says nothing.
			if full == nil {
				full = make([]byte, fullRead)
			}
			buf = l.c.room(full)
			_ = l.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			if n, err = l.conn.Read(buf); isTimeout(err) {
				err = nil
			}
			_ = l.conn.SetReadDeadline(time.Time{})
			l.take(buf[:n], &r)
		}
		if err != nil || !l.awaitRoom() {
			break
		}
	}
	l.c.ended()
	<-l.over
}

// shakeHands begins TLS within the time of a request: who does not speak holds no place.
func (l *streamLink) shakeHands() bool {
	conn, ok := l.conn.(*tls.Conn)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(l.c.g.ctx, l.c.g.settings.Load().RequestTimeout)
	defer cancel()
	return conn.HandshakeContext(ctx) == nil
}

// take hands bytes to the client, which keeps what it can't take yet: reading goes on,
// so that the connection's end is seen.
func (l *streamLink) take(b []byte, r *round) {
	if len(b) > 0 {
		l.c.input(b, r)
		r.flush()
	}
}

// keepRest is how much a client that takes no more may keep before it is not read any more.
const keepRest = 64 << 10

// awaitRoom waits until the client keeps little. It is false when the connection is closed.
func (l *streamLink) awaitRoom() bool {
	for l.c.kept() > keepRest {
		select {
		case <-l.room:
		case <-l.over:
			return false
		}
	}
	return true
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
		l.unwatch()
		l.hangUp(err)
		l.c.g.lastWrites.Done()
	case err != nil:
		l.c.out.close()
	default:
		l.c.out.writable()
	}
}

// await needs nothing: the end of a write calls.
func (l *streamLink) await() {}

// resume is called with the client's lock held, so that another goroutine goes on.
func (l *streamLink) resume() {
	l.c.g.workers.Go(func() {
		var r round
		l.c.resume(&r)
		r.flush()
		signal(l.room)
	})
}

// lastWrite bounds what is still written once the connection is to be closed. A shutdown waits for it; it is cut when
// the gateway ends.
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
		l.c.g.lastWrites.Add(1)
		l.unwatch = context.AfterFunc(l.c.g.ctx, func() { _ = l.conn.SetDeadline(time.Now()) })
		return
	}
	_ = l.conn.Close()
}

// hangUp closes the connection after its last write. TLS says no goodbye in the middle of a record that was cut: its
// reader would take that for an attack.
func (l *streamLink) hangUp(cut error) {
	conn := l.conn
	if secure, ok := conn.(*tls.Conn); ok && cut != nil {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

func (l *streamLink) fd() int { return -1 }
