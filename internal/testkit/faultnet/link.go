package faultnet

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is a connection from a client and its connection to the target.
type link struct {
	relay          *Relay
	client, server stream // server is nil for Blackhole
	once           sync.Once
	ended          chan struct{}
	halved         atomic.Bool
	swallow        atomic.Bool  // forwards nothing in either direction
	blocked        atomic.Bool  // by Block
	left           atomic.Int64 // bytes to the client until the cut, plus one; 0: no cut
	free           atomic.Int64 // bytes to the client until a stall, plus one; 0: no stall
}

// stream is a TCP or unix connection.
type stream interface {
	net.Conn
	CloseWrite() error
}

// chunk is the bytes of one read, and when they are due.
type chunk struct {
	b   []byte
	due time.Time
}

// fine is the last part of each wait. It uses an exact sleep, since a timer fires up to a millisecond
// late in an idle process.
const fine = 2 * time.Millisecond

// queued is the capacity of the delay line, in chunks.
const queued = 4096

func (l *link) run() {
	if l.server == nil {
		_, _ = io.Copy(io.Discard, l.client)
		l.client.Close()
		return
	}
	var done sync.WaitGroup
	done.Go(func() { l.forward(l.client, l.server, toServer) })
	done.Go(func() { l.forward(l.server, l.client, toClient) })
	done.Wait()
	l.client.Close()
	l.server.Close()
}

// cut resets the connection on both sides.
func (l *link) cut() {
	l.once.Do(func() {
		close(l.ended)
		for _, c := range []stream{l.client, l.server} {
			if c == nil {
				continue
			}
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			c.Close()
		}
	})
}

// isCut reports whether the connection was reset. The bytes held back until then are lost.
func (l *link) isCut() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// applyBlock blocks the connection, or resets it at the end of its block.
func (l *link) applyBlock(blocked func(client string) bool) {
	if blocked != nil && blocked(l.client.RemoteAddr().String()) {
		l.blocked.Store(true)
		l.swallow.Store(true)
	} else if l.blocked.Load() {
		l.cut()
	}
}

func (l *link) cutAfter(n int64) { l.left.Store(n + 1) }

func (l *link) stallAfter(n int64) { l.free.Store(n + 1) }

func (l *link) halfClose() {
	if !l.halved.Swap(true) {
		_ = l.client.CloseWrite()
	}
}

// forward forwards one direction through the delay line until its end.
func (l *link) forward(from, to stream, direction int) {
	line := make(chan chunk, queued)
	var writer sync.WaitGroup
	writer.Go(func() { l.write(to, direction, line) })
	buf := make([]byte, 64<<10)
	for {
		limit := len(buf)
		if slow := l.slow(direction); slow > 0 {
			limit = min(len(buf), max(1, slow/100))
			l.wait(time.Duration(limit) * time.Second / time.Duration(slow))
		}
		n, err := from.Read(buf[:limit])
		if n > 0 {
			line <- chunk{append([]byte(nil), buf[:n]...), time.Now().Add(l.delay())}
		}
		if err != nil {
			break
		}
	}
	close(line)
	writer.Wait()
}

func (l *link) slow(direction int) int {
	if direction != toServer {
		return 0
	}
	l.relay.mu.Lock()
	defer l.relay.mu.Unlock()
	return l.relay.slow
}

func (l *link) delay() time.Duration {
	l.relay.mu.Lock()
	defer l.relay.mu.Unlock()
	d := l.relay.delay
	if l.relay.jitter > 0 {
		d += rand.N(l.relay.jitter)
	}
	return d
}

func (l *link) wait(d time.Duration) {
	if d > fine {
		timer := time.NewTimer(d - fine)
		defer timer.Stop()
		start := time.Now()
		select {
		case <-timer.C:
		case <-l.ended:
			return
		}
		d -= time.Since(start)
	}
	if d > 0 {
		sleep(d)
	}
}

// write writes each chunk at its time. After a failure it drains the line, so that the reader
// never blocks.
func (l *link) write(to stream, direction int, line <-chan chunk) {
	failed := false
	for c := range line {
		if failed {
			continue
		}
		l.wait(time.Until(c.due))
		l.waitWhileStalled(direction)
		failed = l.isCut() || !l.swallow.Load() && !l.pass(to, direction, c.b)
	}
	l.waitWhileStalled(direction)
	if !failed && !l.isCut() && !l.swallow.Load() {
		_ = to.CloseWrite()
	}
}

func (l *link) waitWhileStalled(direction int) {
	for {
		l.relay.mu.Lock()
		stalled := l.relay.stalled[direction]
		l.relay.mu.Unlock()
		if stalled == nil || !l.waitUntil(stalled) {
			return
		}
	}
}

// waitUntil waits for the end of a stall. It returns false if the connection ended first. A nil
// channel means no stall.
func (l *link) waitUntil(resumed <-chan struct{}) bool {
	if resumed == nil {
		return true
	}
	select {
	case <-resumed:
		return true
	case <-l.ended:
		return false
	}
}

// pass writes b, or the part of b before a cut. It returns false if the connection ends.
func (l *link) pass(to stream, direction int, b []byte) bool {
	if direction == toClient {
		if l.halved.Load() {
			return true // the client has read the end
		}
		if left := l.left.Load(); left > 0 {
			if int64(len(b)) >= left-1 {
				_, _ = to.Write(b[:left-1])
				// The bytes must arrive before the reset.
				l.wait(time.Millisecond)
				l.cut()
				return false
			}
			l.left.CompareAndSwap(left, left-int64(len(b)))
		}
	}
	if direction == toClient {
		if b = l.passUntilStall(to, b); l.isCut() {
			return false
		}
	}
	_, err := to.Write(b)
	return err == nil
}

// passUntilStall writes the bytes before a stall, waits until the stall or the connection ends, and
// returns the rest.
func (l *link) passUntilStall(to stream, b []byte) []byte {
	free := l.free.Load()
	if free == 0 {
		return b
	}
	n := min(int64(len(b)), free-1)
	_, _ = to.Write(b[:n])
	l.free.CompareAndSwap(free, free-n)
	if b = b[n:]; len(b) > 0 {
		l.waitUntil(l.relay.resumption())
	}
	return b
}
