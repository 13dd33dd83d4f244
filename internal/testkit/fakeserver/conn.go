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
)

// Conn is a client's connection as the server sees it. Its fields belong to the goroutine that
// serves it, except for the writing half.
type Conn struct {
	ID int // from 1, in the order in which connections came

	s        *Server
	conn     net.Conn
	r        *bufio.Reader
	user     string
	in       bool // it is authenticated
	protocol int
	name     string
	db       int
	pending  strings.Builder // replies that are not written yet
	held     string          // a reply that the next one overtakes
	closing  bool

	subscribed, shards map[string]struct{} // channels and patterns, and those of shards

	writing sync.Mutex // guards writes to conn
}

// maxArgument bounds what one argument may claim to hold.
const maxArgument = 1 << 26

var errProtocol = errors.New("fakeserver: protocol error")

func (c *Conn) run() {
	if c.s.cfg.Accept != nil {
		c.s.cfg.Accept(c)
	}
	for !c.closing {
		args, err := c.command()
		if err != nil {
			break
		}
		if len(args) > 0 {
			c.serve(args)
		}
	}
	c.flush()
	c.conn.Close()
	c.s.mu.Lock()
	delete(c.s.conns, c)
	c.s.mu.Unlock()
}

// Close closes the connection once what is pending is written.
func (c *Conn) Close() { c.closing = true }

// Pending reports whether replies to earlier commands are still to be written.
func (c *Conn) Pending() bool { return c.pending.Len() > 0 }

// Send appends text to the replies that are pending.
func (c *Conn) Send(text string) { c.pending.WriteString(text) }

// Flush writes the replies that are pending.
func (c *Conn) Flush() { c.flush() }

func (c *Conn) flush() {
	if c.pending.Len() == 0 {
		return
	}
	text := c.pending.String()
	c.pending.Reset()
	c.write(text)
}

// write writes text; that the client is gone shows at the next read.
func (c *Conn) write(text string) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, _ = io.WriteString(c.conn, text)
}

// command reads one, in RESP or inline.
func (c *Conn) command() ([]string, error) {
	line, err := c.line()
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
		if line, err = c.line(); err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(strings.TrimPrefix(line, "$"))
		if err != nil || size < 0 || size > maxArgument {
			return nil, errProtocol
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return nil, err
		}
		args = append(args, string(b[:size]))
	}
	return args, nil
}

func (c *Conn) line() (string, error) {
	line, err := c.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// serve answers one command.
func (c *Conn) serve(args []string) {
	c.s.mu.Lock()
	c.s.seen = append(c.s.seen, args)
	c.s.mu.Unlock()
	reply, ok := "", false
	if c.s.cfg.Answer != nil {
		reply, ok = c.s.cfg.Answer(c, args)
	}
	if !ok {
		reply = c.reply(args)
	}
	c.emit(args, reply)
}

// Bulk is a bulk string.
func Bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// Int is an integer.
func Int(n int) string { return fmt.Sprintf(":%d\r\n", n) }

// Array is an array of replies.
func Array(elems ...string) string {
	return fmt.Sprintf("*%d\r\n", len(elems)) + strings.Join(elems, "")
}

// Nil is the absent value of c's protocol.
func (c *Conn) Nil() string {
	if c.protocol == 3 {
		return "_\r\n"
	}
	return "$-1\r\n"
}

// Map is a map of replies, key by key: an array in RESP2.
func (c *Conn) Map(pairs ...string) string {
	if c.protocol == 3 {
		return fmt.Sprintf("%%%d\r\n", len(pairs)/2) + strings.Join(pairs, "")
	}
	return Array(pairs...)
}
