package monitor

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Client is one line of CLIENT LIST. Fields that the server does not tell are zero.
type Client struct {
	ID                int64
	Addr, LocalAddr   string
	Name              string
	User              string
	Lib, LibVersion   string
	Command           string // the last one, with its subcommand after a |
	Flags             string // as Redis writes them: N none, b blocked, P in pub/sub, S replica, M primary, x in MULTI, ...
	Age, Idle         time.Duration
	DB                int
	Subscriptions     int // channels, patterns and shard channels
	Queued            int // commands in MULTI; -1: not in one
	Watched           int
	Protocol          int // 0 where it is not told
	QueryBuffer       int64
	OutputMemory      int64
	TotalMemory       int64
	Commands          int64 // run so far, where that is told
	BytesIn, BytesOut int64
}

// Blocked reports whether it waits in a command that blocks.
func (c *Client) Blocked() bool { return strings.Contains(c.Flags, "b") }

// Replication reports whether it is a replica or the primary of the server.
func (c *Client) Replication() bool { return strings.ContainsAny(c.Flags, "SM") }

// Subscribed reports whether it receives messages.
func (c *Client) Subscribed() bool { return c.Subscriptions > 0 || strings.Contains(c.Flags, "P") }

// Host is the address without its port.
func (c *Client) Host() string {
	if host, _, err := net.SplitHostPort(c.Addr); err == nil {
		return host
	}
	return c.Addr
}

// Service tells whose connection it is: by the name's first part, where names
// are service:instance:pool, else by the library, else by the host.
func (c *Client) Service() string {
	if c.Name != "" {
		service, _, _ := strings.Cut(c.Name, ":")
		return cmp.Or(service, c.Name)
	}
	if c.Lib != "" {
		return "(" + c.Lib + ")"
	}
	return "(" + c.Host() + ")"
}

// longestLine bounds a line of CLIENT LIST: names and users are limited by
// memory alone, but nobody means them to be that long.
const longestLine = 64 << 10

// ClientWriter takes the text of CLIENT LIST in pieces of any size and hands each
// client to a function. It holds one line at a time. Lines that are too
// long are cut; those without an id are passed over.
type ClientWriter struct {
	fn   func(Client) error
	line []byte // what has come of a line that is not whole
	err  error  // of fn
}

// NewClientWriter makes one. Once fn has returned an error it is not called
// any more, and Write returns that error.
func NewClientWriter(fn func(Client) error) *ClientWriter { return &ClientWriter{fn: fn} }

// Write takes the next piece.
func (w *ClientWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && w.err == nil; {
		i := bytes.IndexByte(rest, '\n')
		piece := rest
		if i >= 0 {
			piece = rest[:i]
		}
		if i < 0 || len(w.line) > 0 {
			w.line = append(w.line, piece[:min(len(piece), longestLine-len(w.line))]...)
			piece = w.line
		}
		if i < 0 {
			break
		}
		w.take(piece[:min(len(piece), longestLine)])
		w.line, rest = w.line[:0], rest[i+1:]
	}
	return len(p), w.err
}

// Close takes what came behind the last line's end.
func (w *ClientWriter) Close() error {
	if len(w.line) > 0 && w.err == nil {
		w.take(w.line)
		w.line = nil
	}
	return w.err
}

func (w *ClientWriter) take(line []byte) {
	if c, ok := parseClient(string(line)); ok {
		w.err = w.fn(c)
	}
}

// EachClient reads the text of CLIENT LIST and hands each client to fn, until
// one returns an error, which is returned.
func EachClient(r io.Reader, fn func(Client) error) error {
	w := NewClientWriter(fn)
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// parseClient reads key=value pairs with spaces between them. A word without a =
// belongs to the value before it: the path of a unix socket may hold spaces.
func parseClient(line string) (c Client, ok bool) {
	key, value := "", ""
	for word := range strings.SplitSeq(strings.TrimRight(line, "\r\n"), " ") {
		k, v, pair := strings.Cut(word, "=")
		if !pair || k == "" {
			value += " " + word
			continue
		}
		ok = c.set(key, value) || ok
		key, value = k, v
	}
	return c, c.set(key, value) || ok
}

// set takes a field, and reports whether it was the id.
func (c *Client) set(key, value string) bool {
	number := func() int64 {
		n, _ := strconv.ParseInt(value, 10, 64)
		return n
	}
	switch key {
	case "id":
		n, err := strconv.ParseInt(value, 10, 64)
		c.ID = n
		return err == nil
	case "addr":
		c.Addr = value
	case "laddr":
		c.LocalAddr = value
	case "name":
		c.Name = value
	case "user":
		c.User = value
	case "lib-name":
		c.Lib = value
	case "lib-ver":
		c.LibVersion = value
	case "cmd":
		c.Command = value
	case "flags":
		c.Flags = value
	case "age":
		c.Age = seconds(number())
	case "idle":
		c.Idle = seconds(number())
	case "db":
		c.DB = int(number())
	case "sub", "psub", "ssub":
		c.Subscriptions += int(max(0, number()))
	case "multi":
		c.Queued = int(number())
	case "watch":
		c.Watched = int(number())
	case "resp":
		c.Protocol = int(number())
	case "qbuf":
		c.QueryBuffer = number()
	case "omem":
		c.OutputMemory = number()
	case "tot-mem":
		c.TotalMemory = number()
	case "tot-cmds":
		c.Commands = number()
	case "tot-net-in":
		c.BytesIn = number()
	case "tot-net-out":
		c.BytesOut = number()
	}
	return false
}

// seconds bounds what a server claims, so that sums of it do not overflow.
func seconds(n int64) time.Duration {
	const century = 100 * 365 * 24 * 3600
	return time.Duration(min(max(n, 0), century)) * time.Second
}
