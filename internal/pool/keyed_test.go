package pool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// persona is what a fake server remembers of a connection.
type persona struct {
	user string
	db   int
}

// answer is a fake server's reply to a command: it knows one password, nobody
// called mallory, and 16 databases.
func (s *persona) answer(args []string) string {
	switch strings.ToUpper(args[0]) {
	case "AUTH":
		user := args[1]
		if user == "mallory" {
			return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
		}
		if s.user = user; user == "default" {
			s.user = ""
		}
	case "SELECT":
		db, err := strconv.Atoi(args[1])
		if err != nil || db < 0 || db > 15 {
			return "-ERR DB index is out of range\r\n"
		}
		s.db = db
	case "HOLD":
		time.Sleep(5 * time.Second) // of the fake clock
	case "SHOUT":
		return ">1\r\n+a push\r\n+OK\r\n"
	case "WHOAMI":
		return "+" + s.String() + "\r\n"
	}
	return "+OK\r\n"
}

func (s *persona) String() string { return s.user + "/" + strconv.Itoa(s.db) }

// nameOf is what WHOAMI answers on a conn of the key.
func nameOf(k pool.Identity) string { return (&persona{k.User, k.DB}).String() }

// readCommand reads one command, sent as an array of bulk strings.
func readCommand(in *bufio.Reader) ([]string, error) {
	n, err := readLength(in)
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readLength(in)
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func readLength(in *bufio.Reader) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// talk answers commands until the connection ends.
func talk(conn net.Conn) {
	var s persona
	in := bufio.NewReader(conn)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, s.answer(args)); err != nil {
			return
		}
	}
}

// ask sends one command; an error reply is a *resp.ServerError.
func ask(ctx context.Context, l *lane.Lane, opt lane.Options, args ...any) (string, error) {
	frame, err := l.Do(ctx, args, opt)
	if err != nil {
		return "", err
	}
	v, _, err := resp.Decode(frame)
	if err == nil && v.Kind == resp.SimpleError {
		err = resp.NewServerError(string(v.Str))
	}
	return string(v.Str), err
}

// become is a SwitchIdentity of personas.
func become(ctx context.Context, l *lane.Lane, _, to pool.Identity) error {
	user := to.User
	if user == "" {
		user = "default"
	}
	if _, err := ask(ctx, l, lane.Options{}, "AUTH", user, "secret"); err != nil {
		return fmt.Errorf("become another user: %w", err)
	}
	_, err := ask(ctx, l, lane.Options{}, "SELECT", to.DB)
	return err
}

// dialAs makes a Dial of personas.
func dialAs(base *wire.Config) func(ctx, cut context.Context, key pool.Identity) (*wire.Conn, error) {
	return func(ctx, cut context.Context, key pool.Identity) (*wire.Conn, error) {
		cfg := *base
		if cfg.DB = key.DB; key.User != "" {
			cfg.Username, cfg.Password = key.User, "secret"
		}
		return wire.Dial(ctx, cut, &cfg)
	}
}

// town is a keyed server in memory, under the fake clock of synctest.
type town struct {
	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	peak    int
	down    bool
	full    bool          // more clients are refused by the server
	broken  bool          // identity switches fail
	gate    chan struct{} // until it is closed, dials and identity switches do not get on; nil: they do
	hanging int           // dials and identity switches before the gate
	late    time.Duration // from the end of their ctx to theirs
	linger  time.Duration // before the server closes its side
	trouble []error
}

func newTown() *town { return &town{conns: map[net.Conn]struct{}{}} }

// pass waits for the gate, or for ctx.
func (w *town) pass(ctx context.Context) error {
	w.mu.Lock()
	gate := w.gate
	w.hanging++
	w.mu.Unlock()
	defer w.set(func(w *town) { w.hanging-- })
	if gate == nil {
		return nil
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		time.Sleep(w.late)
		return ctx.Err()
	}
}

// before is how many dials and identity switches stand before the gate.
func (w *town) before() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hanging
}

// shut closes the gate, or opens it.
func (w *town) shut(shut bool) {
	w.set(func(w *town) {
		switch {
		case shut && w.gate == nil:
			w.gate = make(chan struct{})
		case !shut && w.gate != nil:
			close(w.gate)
			w.gate = nil
		}
	})
}

func (w *town) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := w.pass(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errRefused
	}
	client, server := net.Pipe()
	w.conns[server] = struct{}{}
	w.peak = max(w.peak, len(w.conns))
	line := &line{client, make(chan struct{})}
	full := w.full
	go func() {
		defer close(line.closed)
		w.serve(server, full)
	}()
	return line, nil
}

// line is a connection whose Close waits for the server's side, as lingering
// does on a real one.
type line struct {
	net.Conn
	closed chan struct{}
}

func (l *line) Close() error {
	err := l.Conn.Close()
	<-l.closed
	return err
}

func (w *town) serve(conn net.Conn, full bool) {
	if full {
		if _, err := readCommand(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "-ERR max number of clients reached\r\n")
		}
	} else {
		talk(conn)
	}
	var linger time.Duration
	w.set(func(w *town) { linger = w.linger })
	time.Sleep(linger)
	w.set(func(w *town) { delete(w.conns, conn) })
	conn.Close()
}

func (w *town) switchIdentity(ctx context.Context, l *lane.Lane, from, to pool.Identity) error {
	if err := w.pass(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	broken := w.broken
	w.mu.Unlock()
	if broken {
		return errors.New("it stays what it is")
	}
	return become(ctx, l, from, to)
}

// set changes the server.
func (w *town) set(change func(w *town)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *town) sockets() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

// kill ends a connection from the server's side.
func (w *town) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.conns {
		conn.Close()
		return
	}
}

func (w *town) config(limit int) pool.Config {
	cfg := (&memory{}).config()
	cfg.Dial = dialAs(&wire.Config{Network: "tcp", Addr: "memory", Protocol: 2, DialFunc: w.dial, ConnectTimeout: 5 * time.Second})
	cfg.SwitchIdentity = w.switchIdentity
	cfg.Max, cfg.WaitTimeout, cfg.DialRate = limit, 24*time.Hour, 100_000
	cfg.OnTrouble = func(err error) { w.set(func(w *town) { w.trouble = append(w.trouble, err) }) }
	return cfg
}
