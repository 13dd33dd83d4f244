//go:build unix

package redistest

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// client is a minimal client: RESP2, one command at a time.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

// askLimit limits a control command.
const askLimit = 30 * time.Second

// serverError is an error reply.
type serverError string

func (e serverError) Error() string { return string(e) }

// dial connects and names the connection.
func (s *Server) dial() (*client, error) {
	s.dialsBegun.Add(1)
	defer s.dialsEnded.Add(1)
	var conn net.Conn
	var err error
	if dialer := (&net.Dialer{Timeout: askLimit}); s.cfg.TLSOnly {
		conn, err = tls.DialWithDialer(dialer, "tcp", s.Addr(), s.TLSConfig())
	} else {
		conn, err = dialer.Dial("tcp", s.PlainAddr())
	}
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReader(conn)}
	if s.cfg.Password != "" {
		if _, err := c.do("AUTH", s.cfg.Password); err != nil {
			c.close()
			return nil, err
		}
	}
	_, _ = c.do("CLIENT", "SETNAME", ownName) // if an ACL forbids it, no test looks for the name
	return c, nil
}

// ownName is the client name of this package's connections.
const ownName = "redistest"

// close returns after the server has closed its side too, so that the server no longer counts the
// connection.
func (c *client) close() {
	if c == nil {
		return
	}
	_ = c.conn.SetDeadline(time.Now().Add(time.Second))
	if c.conn.(interface{ CloseWrite() error }).CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.conn)
	}
	c.conn.Close()
}

func (c *client) do(args ...string) (string, error) {
	if err := c.send(args); err != nil {
		return "", err
	}
	return c.read()
}

// send sends commands in one write.
func (c *client) send(commands ...[]string) error {
	var b strings.Builder
	for _, args := range commands {
		fmt.Fprintf(&b, "*%d\r\n", len(args))
		for _, a := range args {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(askLimit)); err != nil {
		return err
	}
	_, err := io.WriteString(c.conn, b.String())
	return err
}

// read reads a reply as text, with one line for each element of an array. An error element is the
// error of the reply.
func (c *client) read() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("redistest: empty reply")
	}
	rest := line[1:]
	switch line[0] {
	case '+', ':':
		return rest, nil
	case '-':
		return "", serverError(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 {
		return "", err
	}
	if line[0] == '$' {
		b := make([]byte, n+2)
		_, err := io.ReadFull(c.r, b)
		return string(b[:n]), err
	}
	parts := make([]string, n)
	var refused error
	for i := range parts {
		parts[i], err = c.read()
		if errors.As(err, new(serverError)) {
			refused = err // the later elements must be read too
		} else if err != nil {
			return "", err
		}
	}
	return strings.Join(parts, "\n"), refused
}

// TryDo runs a command on the control connection. It opens the connection if needed and keeps it
// open.
func (s *Server) TryDo(args ...string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tryLocked(args...)
}

func (s *Server) tryLocked(args ...string) (string, error) {
	if s.control == nil {
		c, err := s.dial()
		if err != nil {
			return "", err
		}
		s.control = c
	}
	text, err := s.control.do(args...)
	if err != nil && !errors.As(err, new(serverError)) {
		s.control.close()
		s.control = nil
	}
	return text, err
}

// TryAll runs commands as one pipeline on the control connection, and returns their replies. The error is the first one.
func (s *Server) TryAll(commands ...[]string) (replies []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control == nil {
		if s.control, err = s.dial(); err != nil {
			return nil, err
		}
	}
	broken := s.control.send(commands...)
	for i := 0; i < len(commands) && broken == nil; i++ {
		text, failed := s.control.read()
		switch {
		case errors.As(failed, new(serverError)):
			err = cmp.Or(err, fmt.Errorf("%s: %w", strings.Join(commands[i], " "), failed))
		case failed != nil:
			broken = failed
		}
		replies = append(replies, text)
	}
	if broken != nil {
		s.control.close()
		s.control = nil
		return nil, broken
	}
	return replies, err
}

// Do is TryDo for a command that must succeed.
func (s *Server) Do(args ...string) string {
	s.t.Helper()
	text, err := s.TryDo(args...)
	if err != nil {
		s.t.Errorf("redis-server: %s: %v", strings.Join(args, " "), err)
	}
	return text
}

// Info returns a section of INFO as a map.
func (s *Server) Info(section string) map[string]string {
	s.t.Helper()
	return fields(s.Do("INFO", section))
}

func fields(info string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(info) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[key] = value
		}
	}
	return m
}

// ClientCount is the number of connections that the server counts, without the one of this package.
func (s *Server) ClientCount() int {
	s.t.Helper()
	n, err := s.count()
	if err != nil {
		s.t.Errorf("count connections: %v", err)
		return 0
	}
	return n
}

// count asks on the control connection, the only one of this package. The server counts the connection
// that it replies on, so count subtracts exactly one.
func (s *Server) count() (int, error) {
	info, err := s.TryDo("INFO", "clients")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(fields(info)["connected_clients"])
	return n - 1, err
}

// WaitClients waits until the server counts n connections. It fails the test after the time limit.
func (s *Server) WaitClients(t testing.TB, n int, within time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		got, err := s.count()
		if err == nil && got == n {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the server counts %d connections (error: %v): want %d", got, err, n)
			return
		}
	}
}
