package monitor

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor/internal/process"
)

// Client is one line of CLIENT LIST. Fields that the server does not report are zero.
type Client struct {
	ID                int64
	Addr, LocalAddr   string
	Name              string
	User              string
	Lib, LibVersion   string
	Command           string // the last command, with its subcommand after a |
	Flags             string // as in CLIENT LIST: N none, b blocked, P in pub/sub, S replica, M primary, x in MULTI, ...
	Age, Idle         time.Duration
	DB                int
	Subscriptions     int // channels, patterns and shard channels
	Queued            int // commands in MULTI; -1: not in MULTI
	Watched           int
	Protocol          int // 0 if not reported
	QueryBuffer       int64
	OutputMemory      int64
	TotalMemory       int64
	Commands          int64 // commands so far; 0 if not reported
	BytesIn, BytesOut int64

	Process Process // of a client on this machine: see NameProcesses

	libReported bool // the server reports libraries
}

// Process is a process of this machine. The zero value is unknown.
type Process = process.Process

// NameProcesses sets the processes of clients that run on this machine, on Linux, as far as the user
// of this process may see them. own is the caller's connection to the same server. It reads /proc,
// which takes some milliseconds for each thousand files that the processes have open.
func NameProcesses(own *Client, clients []Client) {
	mine, ok := process.ParseSocket(own.Addr, own.LocalAddr)
	if !ok {
		return
	}
	var sockets []process.Socket
	for i := range clients {
		if s, ok := process.ParseSocket(clients[i].Addr, clients[i].LocalAddr); ok {
			sockets = append(sockets, s)
		}
	}
	found := process.Find(mine, sockets)
	for i := range clients {
		if s, ok := process.ParseSocket(clients[i].Addr, clients[i].LocalAddr); ok {
			clients[i].Process = found[s]
		}
	}
}

// ageClasses are the classes of Client.ageClass.
var ageClasses = []struct {
	below time.Duration
	text  string
}{{time.Minute, "under 1 min"}, {10 * time.Minute, "1 to 10 min"}, {time.Hour, "10 min to 1 h"}, {24 * time.Hour, "1 h to 1 day"}}

func (c *Client) ageClass() string {
	for _, class := range ageClasses {
		if c.Age < class.below {
			return class.text
		}
	}
	return "over 1 day"
}

// Blocked reports whether the client waits in a blocking command.
func (c *Client) Blocked() bool { return strings.Contains(c.Flags, "b") }

// Replication reports whether the client is a replica of the server, or its primary.
func (c *Client) Replication() bool { return strings.ContainsAny(c.Flags, "SM") }

// Multiplexes reports whether the connection may belong to a client or a gateway of respool: their blocking commands may
// wait without a connection. Servers before 7.2 do not report libraries, so there every connection may, except those of
// the tool.
func (c *Client) Multiplexes() bool {
	return c.Service() != "respool" && (c.Service() == "gateway" || c.Lib == "respool" || !c.libReported)
}

// Subscribed reports whether the client has subscriptions.
func (c *Client) Subscribed() bool { return c.Subscriptions > 0 || strings.Contains(c.Flags, "P") }

// Host returns the address without its port.
func (c *Client) Host() string {
	if host, _, err := net.SplitHostPort(c.Addr); err == nil {
		return host
	}
	return c.Addr
}

// Service returns the owner of the connection: the first part of a name service:instance:pool, else
// the library, else the host.
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

// longestLine is the maximum length of a line of CLIENT LIST. Only memory limits names and users,
// but legitimate ones are shorter.
const longestLine = 64 << 10

// ClientWriter parses the text of CLIENT LIST, in pieces of any size, and passes each client to a
// function. It buffers one line. It truncates longer lines than 64 KiB and skips lines without an
// id. It is not safe for concurrent use.
type ClientWriter struct {
	fn   func(Client) error
	line []byte // the incomplete line
	err  error  // of fn
}

// NewClientWriter returns a writer that calls fn for each client. After an error of fn, it does not
// call fn again, and Write returns that error.
func NewClientWriter(fn func(Client) error) *ClientWriter { return &ClientWriter{fn: fn} }

// Write parses the next piece.
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

// Close parses a last line without a line end.
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

// EachClient reads the text of CLIENT LIST and passes each client to fn. It stops at the first
// error of fn or r, and returns it.
func EachClient(r io.Reader, fn func(Client) error) error {
	w := NewClientWriter(fn)
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// parseClient reads key=value pairs with spaces between them. A word without a = belongs to the
// value before it, because the path of a Unix socket may contain spaces.
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

// set stores a field, and reports whether it was the id.
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
		c.Lib, c.libReported = value, true
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

// seconds limits a time that the server claims, so that sums do not overflow.
func seconds(n int64) time.Duration {
	const century = 100 * 365 * 24 * 3600
	return time.Duration(min(max(n, 0), century)) * time.Second
}
