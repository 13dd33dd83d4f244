// Package wire is one connection to a server: dial, TLS, handshake, and a close after which the server has forgotten
// the connection. It has no queues and knows no callers or pools. It owns no goroutine that outlives a call.
package wire

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one connection after its handshake. One goroutine may read while another writes. Neither half may be used
// by two goroutines at once.
type Conn struct {
	nc              net.Conn
	addr            string
	protocol        atomic.Int32
	expires         atomic.Int64 // Unix nanoseconds; 0: never
	server          string
	id              int64
	unauthenticated error  // the refusal of a HELLO without a login
	leftover        []byte // bytes read after the handshake's last reply
	heard           bool   // the server sent something
	try             *trier // nil: not available
}

func newConn(nc net.Conn, addr string) *Conn {
	c := &Conn{nc: nc, addr: addr}
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn: // no wrappers: their Write may do more
		if raw, err := nc.(syscall.Conn).SyscallConn(); err == nil {
			c.try = newTrier(raw)
		}
	}
	return c
}

// Addr returns the dialed address.
func (c *Conn) Addr() string { return c.addr }

// Protocol returns the RESP version, 2 or 3, of the handshake or of a later HELLO.
func (c *Conn) Protocol() int { return int(c.protocol.Load()) }

// SetProtocol records that HELLO has changed the protocol.
func (c *Conn) SetProtocol(n int) { c.protocol.Store(int32(n)) }

// Server returns the server's version in the reply to HELLO, or "".
func (c *Conn) Server() string { return c.server }

// Unauthenticated returns the server's refusal of the HELLO of a Config with Nobody because of the lacking login, or nil.
func (c *Conn) Unauthenticated() error { return c.unauthenticated }

// ID returns the server's number of the connection, or 0 if it is unknown. It does not change.
func (c *Conn) ID() int64 { return c.id }

// Read reads into b. It blocks until bytes arrive.
func (c *Conn) Read(b []byte) (int, error) {
	if len(c.leftover) > 0 {
		n := copy(b, c.leftover)
		c.leftover = c.leftover[n:]
		return n, nil
	}
	return c.nc.Read(b)
}

// Write writes all of b. It blocks until the socket has accepted it.
func (c *Conn) Write(b []byte) (int, error) { return c.nc.Write(b) }

// CanTry reports whether TryRead and TryWrite work on this connection. They work on plain sockets, not on TLS, whose
// records cannot be written in part.
func (c *Conn) CanTry() bool { return c.try != nil }

// Descriptor returns the file descriptor of the socket, or -1 if CanTry is false. It is valid until Linger or Abort.
func (c *Conn) Descriptor() int {
	if c.try == nil {
		return -1
	}
	return c.try.descriptor
}

// TryRead reads the available bytes without blocking. Zero without an error means that there are none yet. CanTry
// must be true.
func (c *Conn) TryRead(b []byte) (int, error) {
	if len(c.leftover) > 0 {
		return c.Read(b)
	}
	return c.try.tryRead(b)
}

// TryWrite writes as much of b as the socket accepts without blocking. A short count without an error means that the
// socket is full. CanTry must be true.
func (c *Conn) TryWrite(b []byte) (int, error) { return c.try.tryWrite(b) }

// past is a deadline in the past.
var past = time.Unix(1, 0)

// InterruptRead makes a blocked Read, and later ones, return with a timeout, until ResumeRead.
func (c *Conn) InterruptRead() { _ = c.nc.SetReadDeadline(past) }

// ResumeRead ends InterruptRead.
func (c *Conn) ResumeRead() { _ = c.nc.SetReadDeadline(time.Time{}) }

// InterruptWrite makes a blocked Write, and all later ones, return with a timeout.
func (c *Conn) InterruptWrite() { _ = c.nc.SetWriteDeadline(past) }

// Interrupt makes blocked and later reads and writes return with a timeout.
func (c *Conn) Interrupt() { _ = c.nc.SetDeadline(past) }

// Abort closes at once. The server may count the connection for a moment longer.
func (c *Conn) Abort() { _ = c.socket().Close() }

// socket returns the connection below TLS. The close of TLS is a record in the stream and may block; the close of TCP
// is the one that counts.
func (c *Conn) socket() net.Conn {
	if t, ok := c.nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c.nc
}

// Linger closes both sides: it half-closes, reads to the end for at most limit, and closes. It blocks until then.
// Abort cuts it short. With a limit of 0 it closes at once. No other goroutine may read or write.
func (c *Conn) Linger(limit time.Duration) {
	defer c.nc.Close()
	if limit <= 0 {
		return
	}
	if c.nc.SetDeadline(time.Now().Add(limit)) != nil {
		return
	}
	socket := c.socket()
	if t, ok := c.nc.(*tls.Conn); ok {
		_ = t.CloseWrite() // fails after an interrupted write
	}
	half, ok := socket.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_, _ = io.CopyBuffer(io.Discard, onlyReader{socket}, make([]byte, 4096))
}

// onlyReader hides WriterTo, which would allocate a larger buffer.
type onlyReader struct{ io.Reader }
