package netio

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// memoryLink is a client in the same process, without a socket: its requests are processed on the goroutine that writes
// them, and replies go to the buffer that it reads.
type memoryLink struct {
	stays
	srv     *Server
	c       Client
	out     *Output
	readBy  deadline
	writeBy deadline

	mu      sync.Mutex
	in      []byte // replies; the client reads from at on
	at      int
	full    bool          // the output waits for room
	stopped bool          // writes wait for resume
	closed  bool          // the gateway has closed the connection
	own     bool          // the client's side has called Close
	ready   chan struct{} // capacity 1: in or closed has changed
	room    chan struct{} // capacity 1: stopped or closed has changed
	batch   FlushBatch    // guarded by writes
	writes  sync.Mutex    // held by one write or resume at a time
}

// memoryRoom is how many bytes of replies may wait to be read before the output waits.
const memoryRoom = 64 << 10

// Dial returns a connection in memory. The caller must close it.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("gateway: dial: %w", err)
	}
	l := &memoryLink{srv: s, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	l.readBy.init()
	l.writeBy.init()
	c, reply := s.host.Admit(l, 0, "memory:0", "memory:0")
	if c == nil {
		if len(reply) == 0 {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("gateway: dial: %s", reply[1:len(reply)-2])
	}
	return (*memoryConn)(l), nil
}

func (l *memoryLink) serve(c Client, out *Output) { l.c, l.out = c, out }

// write adds replies to the buffer that the client reads.
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

// await does nothing: the Read that empties the buffer calls Output.writable.
func (l *memoryLink) await() {}

// resume runs on another goroutine: its caller holds locks of the client.
func (l *memoryLink) resume() {
	l.srv.host.Go(func() {
		l.writes.Lock()
		more := l.c.Resume(&l.batch)
		l.batch.Flush()
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
	l.srv.host.Go(l.c.Left)
}

func (l *memoryLink) descriptor() int { return -1 }
