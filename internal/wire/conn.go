// Package wire is one connection to a server: it dials, speaks TLS, shakes
// hands, and closes so that the server has forgotten the connection before
// its slot is used again. It starts no goroutine of its own and knows nothing
// of callers, queues or pools.
package wire

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one handshaken connection. One goroutine may read while another
// writes; neither half may be used by two at once.
type Conn struct {
	nc       net.Conn
	addr     string
	protocol atomic.Int32
	expires  atomic.Int64 // unix nanoseconds; 0: never
	server   string
	id       int64
	leftover []byte // read behind the handshake's last reply
	try      *trier // nil: not to be had
}

func newConn(nc net.Conn, addr string) *Conn {
	c := &Conn{nc: nc, addr: addr}
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn: // nothing that wraps one, whose Write may do more
		if raw, err := nc.(syscall.Conn).SyscallConn(); err == nil {
			c.try = newTrier(raw)
		}
	}
	return c
}

// Addr is the address as it was dialed.
func (c *Conn) Addr() string { return c.addr }

// Protocol is 2 or 3, as agreed in the handshake, or since.
func (c *Conn) Protocol() int { return int(c.protocol.Load()) }

// SetProtocol takes note that HELLO has changed it.
func (c *Conn) SetProtocol(n int) { c.protocol.Store(int32(n)) }

// Server is the server's version as HELLO told it, or empty.
func (c *Conn) Server() string { return c.server }

// ID is the number that the server has given the connection, or 0 where it did not tell.
// It stays the same as long as the connection does.
func (c *Conn) ID() int64 { return c.id }

// Read reads into b, blocking until there is something.
func (c *Conn) Read(b []byte) (int, error) {
	if len(c.leftover) > 0 {
		n := copy(b, c.leftover)
		c.leftover = c.leftover[n:]
		return n, nil
	}
	return c.nc.Read(b)
}

// Write writes all of b, blocking.
func (c *Conn) Write(b []byte) (int, error) { return c.nc.Write(b) }

// CanTry reports whether TryRead and TryWrite work on this connection: on
// plain sockets, not on TLS, whose records cannot be passed on in part.
func (c *Conn) CanTry() bool { return c.try != nil }

// Descriptor is the number of the socket, or -1 where CanTry is false. It is
// valid until Linger or Abort.
func (c *Conn) Descriptor() int {
	if c.try == nil {
		return -1
	}
	return c.try.descriptor
}

// TryRead reads what is there, without waiting. Zero without an error means
// that there is nothing yet.
func (c *Conn) TryRead(b []byte) (int, error) {
	if len(c.leftover) > 0 {
		return c.Read(b)
	}
	return c.try.tryRead(b)
}

// TryWrite writes as much of b as the socket takes without blocking. A short
// count without an error means that the socket is full.
func (c *Conn) TryWrite(b []byte) (int, error) { return c.try.tryWrite(b) }

// past is a deadline that has always passed.
var past = time.Unix(1, 0)

// InterruptRead makes a blocked Read return with a timeout, and those that
// follow, until ResumeRead.
func (c *Conn) InterruptRead() { _ = c.nc.SetReadDeadline(past) }

// ResumeRead lets reads block again.
func (c *Conn) ResumeRead() { _ = c.nc.SetReadDeadline(time.Time{}) }

// InterruptWrite makes a blocked Write return with a timeout, and all that
// follow.
func (c *Conn) InterruptWrite() { _ = c.nc.SetWriteDeadline(past) }

// Interrupt makes blocked reads and writes return.
func (c *Conn) Interrupt() { _ = c.nc.SetDeadline(past) }

// Abort closes at once; the server may count the connection a moment longer.
func (c *Conn) Abort() { _ = c.socket().Close() }

// socket is the connection below TLS. TLS says goodbye inside the stream,
// which may take its time; the end that counts is TCP's.
func (c *Conn) socket() net.Conn {
	if t, ok := c.nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c.nc
}

// Linger closes so that the server has closed as well when it returns: it
// half-closes, reads to the end for at most limit, and closes. Abort cuts it
// short.
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
		_ = t.CloseWrite() // fails after a write that was cut
	}
	half, ok := socket.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_, _ = io.CopyBuffer(io.Discard, onlyReader{socket}, make([]byte, 4096))
}

// onlyReader hides WriterTo, which would bring a larger buffer.
type onlyReader struct{ io.Reader }
