package fakeserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Config configures a server. The zero value is Redis 7.0 without a password, on a TCP port.
type Config struct {
	Version  Version
	Password string            // of the default user; empty: no password
	Users    map[string]string // passwords of further users
	TLS      *tls.Config       // nil: no TLS
	Unix     string            // path of a unix socket to listen on, instead of a TCP port

	// Memory starts no listener. Dial and Connect make the connections.
	Memory bool

	// Hello, if set, decides the reply to HELLO: HelloSilent, HelloClosed, or the reply itself.
	Hello string

	// Answer, if set, returns the reply to a command. It returns false to leave the reply to the
	// server. After an empty reply the server sends nothing. All connections call it concurrently.
	Answer func(c *Conn, args []string) (reply string, ok bool)

	// Accept, if set, runs on each new connection before the server reads its first command.
	Accept func(c *Conn)

	// Script, if set, serves each connection instead of the server's loop. The server closes the
	// connection when Script returns.
	Script func(c *Conn)

	// Closed, if set, runs after the server has closed a connection, on the goroutine that
	// served it.
	Closed func(c *Conn)
}

// Values of Config.Hello other than a reply.
const (
	HelloSilent = "silent" // no reply
	HelloClosed = "closed" // the server closes the connection
)

// Server is a fake server. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	listener net.Listener // nil: in memory
	done     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	passes   map[string]string // by user
	conns    map[*Conn]struct{}
	accepted int
	seen     [][]string
	faults   []fault

	store  *store
	member *member // of a cluster; nil: none
}

// store holds the keys.
type store struct {
	mu   sync.Mutex
	data map[string]string
}

// Start starts a server. It closes the server at the end of the test.
func Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	return start(t, cfg, &store{data: map[string]string{}}, nil)
}

func start(t testing.TB, cfg Config, keys *store, in *member) *Server {
	t.Helper()
	if cfg.Version == (Version{}) {
		cfg.Version = Redis70
	}
	s := &Server{cfg: cfg, conns: map[*Conn]struct{}{}, passes: map[string]string{"default": cfg.Password}, store: keys, member: in}
	for user, password := range cfg.Users {
		s.passes[user] = password
	}
	if !cfg.Memory {
		network, addr := "tcp", "127.0.0.1:0"
		if cfg.Unix != "" {
			network, addr = "unix", cfg.Unix
		}
		listener, err := net.Listen(network, addr)
		if err != nil {
			t.Fatalf("start a fake server: %v", err)
		}
		s.listener = listener
		s.done.Go(s.accept)
	}
	t.Cleanup(s.Close)
	return s
}

// Close closes the listener and all connections, and waits for their goroutines.
func (s *Server) Close() {
	if s.listener != nil {
		s.listener.Close()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.CloseConns()
	s.done.Wait()
}

// CloseConns closes all connections. The server accepts new ones.
func (s *Server) CloseConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.conn.Close()
	}
}

// Addr returns the address of the listener: host:port, or the path of the unix socket.
func (s *Server) Addr() string {
	if s.listener == nil {
		return "memory"
	}
	return s.listener.Addr().String()
}

// Version returns the version that the server imitates.
func (s *Server) Version() Version { return s.cfg.Version }

// Dial connects in memory. It ignores the network and the address.
func (s *Server) Dial(context.Context, string, string) (net.Conn, error) {
	client, _, err := s.Connect()
	return client, err
}

// Connect connects in memory and returns both ends.
func (s *Server) Connect() (client net.Conn, server *Conn, err error) {
	ours, theirs := net.Pipe()
	c := s.take(theirs)
	if c == nil {
		return nil, nil, fmt.Errorf("dial a fake server: %w", net.ErrClosed)
	}
	return ours, c, nil
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.take(conn)
	}
}

// take serves a connection on a new goroutine. It returns nil after Close.
func (s *Server) take(conn net.Conn) *Conn {
	if s.cfg.TLS != nil {
		conn = tls.Server(conn, s.cfg.TLS)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return nil
	}
	s.accepted++
	c := &Conn{s: s, conn: conn, ID: s.accepted, user: "default", in: s.cfg.Password == "", protocol: 2,
		done: make(chan struct{}), subscribed: map[string]struct{}{}, shards: map[string]struct{}{}}
	c.r = bufio.NewReader(flushing{c})
	s.conns[c] = struct{}{}
	s.done.Go(c.run)
	return c
}

// SetPassword changes a user's password, like CONFIG SET requirepass and ACL SETUSER. Authenticated
// connections stay authenticated.
func (s *Server) SetPassword(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passes[user] = password
}

// admits reports whether the password is right for the user.
func (s *Server) admits(user, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	want, known := s.passes[user]
	return known && (want == password || want == "")
}

// Commands returns the commands received, in order. Spaces join the arguments of each.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, args := range s.seen {
		lines = append(lines, strings.Join(args, " "))
	}
	return lines
}

// Count returns the number of commands received with this name, in any case.
func (s *Server) Count(name string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, args := range s.seen {
		if strings.EqualFold(args[0], name) {
			n++
		}
	}
	return n
}

// Accepted returns the number of connections so far.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Open returns the number of open connections.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Send writes text to each open connection.
func (s *Server) Send(text string) {
	s.mu.Lock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.Write(text)
	}
}

// SendLast writes text to the connection accepted last.
func (s *Server) SendLast(text string) error {
	s.mu.Lock()
	var last *Conn
	for c := range s.conns {
		if c.ID == s.accepted {
			last = c
		}
	}
	s.mu.Unlock()
	if last == nil {
		return net.ErrClosed
	}
	return last.write(text)
}

// flushing reads from a connection. It writes the pending replies before a read that may block,
// like a server that has read its whole input.
type flushing struct{ c *Conn }

func (f flushing) Read(b []byte) (int, error) {
	f.c.Flush()
	return f.c.conn.Read(b)
}

var _ io.Reader = flushing{}
