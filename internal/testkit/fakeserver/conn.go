package fakeserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Conn is the server's end of a connection. Its methods are for the goroutine that serves it, unless
// their comments say otherwise.
type Conn struct {
	ID int // 1 for the first connection accepted

	s        *Server
	conn     net.Conn
	r        *bufio.Reader
	user     string
	in       bool // authenticated
	protocol int
	name     string
	db       int
	readonly bool            // READONLY
	pending  strings.Builder // replies not yet written
	held     string          // a reply to be sent after the next one
	closing  bool
	done     chan struct{} // closed after the connection has ended

	subscribed, shards map[string]struct{} // subscribed channels and patterns; shard channels

	writing sync.Mutex // guards writes to conn
}

// maxArgument limits the size of an argument.
const maxArgument = 1 << 26

var errProtocol = errors.New("fakeserver: protocol error")

func (c *Conn) run() {
	defer close(c.done)
	if c.s.cfg.Accept != nil {
		c.s.cfg.Accept(c)
	}
	if c.s.cfg.Script != nil {
		c.s.cfg.Script(c)
	} else {
		c.loop()
	}
	c.Flush()
	c.conn.Close()
	c.s.mu.Lock()
	delete(c.s.conns, c)
	c.s.mu.Unlock()
	if c.s.cfg.Closed != nil {
		c.s.cfg.Closed(c)
	}
}

// loop replies to commands until the connection ends.
func (c *Conn) loop() {
	for !c.closing {
		args, err := c.Command()
		if err != nil {
			return
		}
		if len(args) > 0 {
			c.serve(args)
		}
	}
}

// Done is closed after the server has closed the connection and Config.Closed has returned.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close closes the connection after the pending replies are written.
func (c *Conn) Close() { c.closing = true }

// Cut closes the connection at once. It may be called on any goroutine.
func (c *Conn) Cut() { c.conn.Close() }

// Reset ends a TCP connection with an RST.
func (c *Conn) Reset() {
	_ = c.conn.(*net.TCPConn).SetLinger(0)
	_ = c.conn.Close()
}

// Pending reports whether replies to earlier commands wait to be written.
func (c *Conn) Pending() bool { return c.pending.Len() > 0 }

// Send appends text to the pending replies.
func (c *Conn) Send(text string) { c.pending.WriteString(text) }

// Flush writes the pending replies.
func (c *Conn) Flush() {
	if c.pending.Len() == 0 {
		return
	}
	text := c.pending.String()
	c.pending.Reset()
	c.Write(text)
}

// Write writes text at once, ahead of the pending replies. If the client is gone, the next read
// fails. It may be called on any goroutine.
func (c *Conn) Write(text string) { _ = c.write(text) }

func (c *Conn) write(text string) error {
	if text == "" {
		return nil // on a connection in memory it would wait for a read
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := io.WriteString(c.conn, text)
	return err
}

// Command reads the next command, in RESP or inline, and counts it. The pending replies are
// written first if the read blocks.
func (c *Conn) Command() ([]string, error) {
	args, err := ReadCommand(c.r)
	if err == nil && len(args) > 0 {
		c.s.mu.Lock()
		c.s.seen = append(c.s.seen, args)
		c.s.mu.Unlock()
	}
	return args, err
}

// Next waits for the client's next byte, or its end, and reads nothing.
func (c *Conn) Next() { _, _ = c.r.Peek(1) }

// NextWithin waits for the client's next bytes for at most limit and returns them, or nil if none
// arrive. They are left to be read.
func (c *Conn) NextWithin(limit time.Duration) []byte {
	_ = c.conn.SetReadDeadline(time.Now().Add(limit))
	defer func() { _ = c.conn.SetReadDeadline(time.Time{}) }()
	b, err := c.r.Peek(1)
	if err != nil {
		return nil
	}
	return b
}

// Discard reads until the client ends the connection and returns how many bytes arrived.
func (c *Conn) Discard() int64 {
	n, _ := io.Copy(io.Discard, c.r)
	return n
}

// ReadCommand reads one command, in RESP or inline.
func ReadCommand(r *bufio.Reader) ([]string, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(line, "*") {
		return strings.Fields(line), nil
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n > maxArgument {
		return nil, errProtocol
	}
	var args []string
	for range n {
		if line, err = readLine(r); err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(strings.TrimPrefix(line, "$"))
		if err != nil || size < 0 || size > maxArgument {
			return nil, errProtocol
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args = append(args, string(b[:size]))
	}
	return args, nil
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// serve replies to one command.
func (c *Conn) serve(args []string) {
	reply, ok := "", false
	if c.s.cfg.Answer != nil {
		reply, ok = c.s.cfg.Answer(c, args)
	}
	if !ok {
		reply = c.Reply(args)
	}
	c.emit(args, reply)
}

// Bulk encodes a bulk string.
func Bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// Int encodes an integer.
func Int(n int) string { return fmt.Sprintf(":%d\r\n", n) }

// Array encodes an array of replies.
func Array(elems ...string) string {
	return fmt.Sprintf("*%d\r\n", len(elems)) + strings.Join(elems, "")
}

// Nil encodes a null in the protocol of c.
func (c *Conn) Nil() string {
	if c.protocol == 3 {
		return "_\r\n"
	}
	return "$-1\r\n"
}

// Map encodes a map of alternating keys and values, in RESP2 as an array.
func (c *Conn) Map(pairs ...string) string {
	if c.protocol == 3 {
		return fmt.Sprintf("%%%d\r\n", len(pairs)/2) + strings.Join(pairs, "")
	}
	return Array(pairs...)
}
