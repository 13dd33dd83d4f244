package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// maxHandshakeReply is the maximum size of a reply during the handshake, in bytes: HELLO's reply has about 200.
const maxHandshakeReply = 64 << 10

// step is one command of the handshake.
type step struct {
	args  []any
	fatal func(code string) bool // the error codes that end the handshake; nil: all
}

func never(string) bool { return false }

// unready reports whether the code means that the server does not serve commands yet, so that a connection to it is
// useless.
func unready(code string) bool {
	return code == "LOADING" || code == "NOAUTH" || code == "MASTERDOWN"
}

// handshake logs in and sets up the connection: in one round trip if the server knows HELLO, else in two. A bare
// handshake sends only the necessary commands.
func (c *Conn) handshake(ctx context.Context, cfg *Config, bare bool) error {
	if cfg.Nobody {
		return c.greetAsNobody(bare)
	}
	user, password := cfg.Username, cfg.Password
	if cfg.Credentials != nil {
		var expires time.Time
		var err error
		if user, password, expires, err = cfg.Credentials(ctx); err != nil {
			return fmt.Errorf("get credentials: %w", err)
		}
		c.SetExpires(expires)
	}
	if cfg.Protocol != 2 && !bare {
		err := c.hello(cfg, user, password)
		switch {
		case err == nil:
			return nil
		case !lacksHello(err):
			return explain(err, password != "")
		case cfg.Protocol == 3:
			return fmt.Errorf("the server refuses RESP3, which protocol=3 requires: omit protocol, or set 2: %w", err)
		case hungUp(err):
			return err // RESP2 needs a new connection
		}
	}
	values, err := c.exchange(steps2(cfg, user, password, bare))
	if err != nil {
		return explain(err, password != "")
	}
	c.SetProtocol(2)
	if !bare {
		c.introduced(cfg.Peer, values[len(values)-2])
	}
	return nil
}

// introduced records the reply to HELLO or CLIENT ID.
func (c *Conn) introduced(p *Peer, v resp.Value) {
	switch v.Kind {
	case resp.Map, resp.Array:
		c.server, c.id = serverFacts(v)
		p.greet(&v)
	case resp.Integer:
		c.id = v.Int
	default:
		p.greet(nil)
	}
}

// greetAsNobody verifies that a server accepts connections. The server may refuse commands without a login.
func (c *Conn) greetAsNobody(bare bool) error {
	hello := []any{"HELLO"}
	if bare {
		hello = []any{"PING"}
	}
	values, err := c.exchange([]step{{args: hello, fatal: never}})
	if err != nil {
		return err
	}
	c.SetProtocol(2)
	if !isError(values[0].Kind) {
		c.server, c.id = serverFacts(values[0])
		return nil
	}
	se := serverError(values[0])
	if se.Code == "NOAUTH" {
		c.unauthenticated = se
	}
	if se.Code != "NOAUTH" && se.Code != "WRONGPASS" && endsHandshake(se) {
		return explain(se, false)
	}
	return nil
}

// Ask sends commands in one write and returns the server's refusal of each, or nil. Only Config.Introduced may call
// it. It blocks for the replies.
func (c *Conn) Ask(commands [][]any) (refusals []error, err error) {
	steps := make([]step, len(commands))
	for i, args := range commands {
		steps[i] = step{args: args, fatal: never}
	}
	values, err := c.exchange(steps)
	if err != nil {
		return nil, err
	}
	refusals = make([]error, len(values))
	for i, v := range values {
		switch {
		case isError(v.Kind):
			refusals[i] = serverError(v)
		case commands[i][0] == "HELLO":
			c.server, c.id = serverFacts(v)
		}
	}
	return refusals, nil
}

// hello switches to RESP3. Its error is a *helloError if the server refuses HELLO itself.
func (c *Conn) hello(cfg *Config, user, password string) error {
	values, err := c.exchange(steps3(cfg, user, password))
	switch {
	case err != nil && len(values) > 0 && isError(values[0].Kind):
		refusal := serverError(values[0])
		if endsHandshake(refusal) {
			return err
		}
		return &helloError{err: refusal, hungUp: hungUp(err)}
	case err != nil && len(values) == 0 && hungUp(err):
		return &helloError{err: err, hungUp: true}
	case err != nil:
		return err
	case values[0].Kind == resp.Array: // it knows HELLO and stays with RESP2
		return &helloError{err: errors.New("the server replied to HELLO 3 in RESP2")}
	case values[0].Kind != resp.Map:
		return fmt.Errorf("not a Redis server: it replied to HELLO with a %v", values[0].Kind)
	}
	c.SetProtocol(3)
	c.introduced(cfg.Peer, values[0])
	return nil
}

// helloError is a server's refusal of HELLO, whatever its text.
type helloError struct {
	err    error
	hungUp bool // it also closed the connection
}

func (e *helloError) Error() string { return e.err.Error() }

func (e *helloError) Unwrap() error { return e.err }

// lacksHello reports whether the server may still support RESP2.
func lacksHello(err error) bool {
	var he *helloError
	return errors.As(err, &he)
}

// endsHandshake reports whether an error reply to HELLO concerns the login or the state of the server. RESP2 would
// receive the same. NOPERM is not among these: a user may lack permission only for HELLO.
func endsHandshake(e *resp.ServerError) bool {
	switch e.Code {
	case "WRONGPASS", "NOAUTH", "LOADING", "MASTERDOWN", "DENIED", "BUSY":
		return true
	}
	return strings.Contains(e.Message, "max number of clients") || e.Message == "invalid password" ||
		strings.HasPrefix(e.Message, "Client names")
}

// answered reports whether the server stated an error that does not concern HELLO.
func answered(err error) bool {
	var se *resp.ServerError
	return errors.As(err, &se) && !lacksHello(err)
}

// errHungUp is the error of a connection that the server closed during the handshake.
var errHungUp = errors.New("the server closed the connection")

// hungUp reports whether the server closed the connection.
func hungUp(err error) bool {
	var he *helloError
	if errors.As(err, &he) && he.hungUp {
		return true
	}
	return errors.Is(err, errHungUp) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func steps3(cfg *Config, user, password string) []step {
	hello := []any{"HELLO", 3}
	if user != "" || password != "" {
		if user == "" {
			user = "default"
		}
		hello = append(hello, "AUTH", user, password)
	}
	if cfg.ClientName != "" {
		hello = append(hello, "SETNAME", cfg.ClientName)
	}
	return append([]step{{args: hello}}, commonSteps(cfg)...)
}

func steps2(cfg *Config, user, password string, bare bool) []step {
	var s []step
	switch {
	case user != "": // the password may be empty
		s = append(s, step{args: []any{"AUTH", user, password}})
	case password != "":
		s = append(s, step{args: []any{"AUTH", password}})
	}
	if bare {
		return append(s, neededSteps(cfg)...)
	}
	if cfg.ClientName != "" {
		s = append(s, step{args: []any{"CLIENT", "SETNAME", cfg.ClientName}, fatal: never})
	}
	s = append(s, commonSteps(cfg)...)
	who := step{args: []any{"CLIENT", "ID"}, fatal: never}
	if cfg.Peer.Greeting() != nil {
		who.args = []any{"HELLO"} // the server knows it, and its reply contains more
	}
	last := len(s) - 1
	return append(s[:last], who, s[last])
}

func commonSteps(cfg *Config) []step {
	var s []step
	if cfg.LibName != "" {
		s = append(s,
			step{args: []any{"CLIENT", "SETINFO", "LIB-NAME", cfg.LibName}, fatal: never},
			step{args: []any{"CLIENT", "SETINFO", "LIB-VER", cfg.LibVersion}, fatal: never})
	}
	return append(s, neededSteps(cfg)...)
}

func neededSteps(cfg *Config) []step {
	var s []step
	if cfg.DB != 0 {
		s = append(s, step{args: []any{"SELECT", cfg.DB}})
	}
	if cfg.ReadOnly {
		s = append(s, step{args: []any{"READONLY"}})
	}
	// A loading server answers HELLO but refuses PING.
	return append(s, step{args: []any{"PING"}, fatal: unready})
}

// closedError is the server's last error before it closed the connection.
type closedError struct{ said *resp.ServerError }

func (e *closedError) Error() string { return e.said.Error() + " (and it closed the connection)" }

// Unwrap returns the server's error and errHungUp.
func (e *closedError) Unwrap() []error { return []error{e.said, errHungUp} }

// exchange sends all steps in one write and reads one reply for each. It reads all replies and returns the first
// fatal error.
func (c *Conn) exchange(steps []step) ([]resp.Value, error) {
	var out []byte
	for _, s := range steps {
		var err error
		if out, err = resp.AppendCommand(out, s.args); err != nil {
			return nil, err
		}
	}
	if _, err := c.nc.Write(out); err != nil {
		// A server that refuses states the reason before it closes: read that first.
		v, rerr := c.readValues(1)
		if rerr == nil && isError(v[0].Kind) {
			return v, &closedError{serverError(v[0])}
		}
		if alert(rerr) {
			return nil, rerr
		}
		return nil, err
	}
	values, err := c.readValues(len(steps))
	if len(values) == 1 && isError(values[0].Kind) && hungUp(err) {
		// An unrequested error is the reason for the close.
		return values, &closedError{serverError(values[0])}
	}
	for i, v := range values {
		if !isError(v.Kind) {
			continue
		}
		if e := serverError(v); steps[i].fatal == nil || steps[i].fatal(e.Code) {
			return values, e
		}
	}
	return values, err
}

// readValues reads n replies and keeps the bytes after them.
func (c *Conn) readValues(n int) ([]resp.Value, error) {
	scanner := resp.Scanner{Limit: maxHandshakeReply}
	var values []resp.Value
	buf := c.leftover // of the previous exchange
	c.leftover = nil
	chunk := make([]byte, 4096)
	start, scanned := 0, 0
	for len(values) < n {
		m, done, err := scanner.Scan(buf[scanned:])
		if err != nil {
			return values, notRedis(buf[start:], err)
		}
		scanned += m
		if done {
			kind := scanner.Kind()
			v, _, err := resp.Decode(buf[start:scanned])
			if err != nil {
				return values, err
			}
			start = scanned
			if kind != resp.Push {
				values = append(values, v)
			}
			continue
		}
		m, err = c.nc.Read(chunk)
		buf = append(buf, chunk[:m]...)
		c.heard = c.heard || m > 0
		if err != nil && m == 0 {
			if errors.Is(err, io.EOF) {
				err = errHungUp
			}
			return values, c.explainHangUp(err)
		}
	}
	if scanned < len(buf) {
		c.leftover = buf[scanned:]
	}
	return values, nil
}

// alert reports whether err is a TLS alert of the other side.
func alert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

func isError(k resp.Kind) bool { return k == resp.SimpleError || k == resp.BulkError }

// serverError drops the arguments that a server quotes in the error for an unknown command, because they include the
// password.
func serverError(v resp.Value) *resp.ServerError {
	text, _, _ := strings.Cut(string(v.Str), ", with args beginning with")
	return resp.NewServerError(text)
}

// serverFacts returns the server's version and the connection's number from HELLO's reply.
func serverFacts(v resp.Value) (version string, id int64) {
	for i := 0; i+1 < len(v.Elems); i += 2 {
		switch string(v.Elems[i].Str) {
		case "version":
			version = string(v.Elems[i+1].Str)
		case "id":
			id = v.Elems[i+1].Int
		}
	}
	return version, id
}
