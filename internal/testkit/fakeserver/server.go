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

// Config says what server to play. The zero value is Redis 7.0 without a password, on a port.
type Config struct {
	Version  Version
	Password string            // of the user default; empty: none is needed
	Users    map[string]string // further users, and their passwords
	TLS      *tls.Config       // nil: none
	Unix     string            // the path of a socket to listen on instead of a port

	// Memory leaves out the listener: connections are made by Dial alone.
	Memory bool

	// Hello takes HELLO's place if it is set: HelloSilent, HelloClosed, or a reply.
	Hello string

	// Answer gives the reply to a command instead of the server's own one. It returns false
	// where that stands. An empty reply is none at all. It is called by many connections at once.
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

// What Config.Hello may be beside a reply.
const (
	HelloSilent = "silent" // no reply, ever
	HelloClosed = "closed" // the connection is closed
)

// Server is a server that plays one of a version. Its methods are safe for concurrent use.
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
	data     map[string]string
	faults   []fault
}

// Start starts a server, which ends with the test.
func Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Version == (Version{}) {
		cfg.Version = Redis70
	}
	s := &Server{cfg: cfg, conns: map[*Conn]struct{}{}, passes: map[string]string{"default": cfg.Password}, data: map[string]string{}}
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

// Close ends the server and its connections, and waits for their goroutines.
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

// CloseConns ends the connections, as a server does that lost all clients.
func (s *Server) CloseConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.conn.Close()
	}
}

// Addr is where the server listens: host:port, or the path of the socket.
func (s *Server) Addr() string {
	if s.listener == nil {
		return "memory"
	}
	return s.listener.Addr().String()
}

// Version is the one that is played.
func (s *Server) Version() Version { return s.cfg.Version }

// Dial connects in memory, whatever the address.
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

// take serves a connection on a goroutine, unless the server has ended.
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

// SetPassword changes a user's password, as CONFIG SET requirepass and ACL SETUSER do: those who are in stay in.
func (s *Server) SetPassword(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passes[user] = password
}

// admits reports whether user may come in with password, as a version does before it looks at anything else.
func (s *Server) admits(user, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	want, known := s.passes[user]
	return known && (want == password || want == "")
}

// Commands are those that came, in order, the arguments of each joined by spaces.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, args := range s.seen {
		lines = append(lines, strings.Join(args, " "))
	}
	return lines
}

// Count is how many of the commands that came have this name.
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

// Accepted is how many connections have come.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Open is how many connections are open.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Send writes text to each open connection, unasked.
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

// SendLast writes text, unasked, to the connection accepted last.
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

// flushing reads from a connection. What is pending is written before a read that may block, as
// a server does that has taken all it was sent.
type flushing struct{ c *Conn }

func (f flushing) Read(b []byte) (int, error) {
	f.c.Flush()
	return f.c.conn.Read(b)
}

var _ io.Reader = flushing{}
