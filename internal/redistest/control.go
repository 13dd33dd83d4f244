//go:build unix

package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// client is the least that asks a server something: RESP2, one command at a time.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

// askLimit bounds a control command.
const askLimit = 30 * time.Second

// serverError is an error that the server sent.
type serverError string

func (e serverError) Error() string { return string(e) }

func (s *Server) dial() (*client, error) {
	conn, err := net.DialTimeout("tcp", s.PlainAddr(), askLimit)
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
	return c, nil
}

// close returns when the server has closed its side too, so that it does not
// count the connection any more.
func (c *client) close() {
	if c == nil {
		return
	}
	_ = c.conn.SetDeadline(time.Now().Add(time.Second))
	if c.conn.(*net.TCPConn).CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.conn)
	}
	c.conn.Close()
}

func (c *client) do(args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if err := c.conn.SetDeadline(time.Now().Add(askLimit)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		return "", err
	}
	return c.read()
}

// read reads a reply as text: the elements of an array stand in lines.
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
	for i := range parts {
		if parts[i], err = c.read(); err != nil {
			return "", err
		}
	}
	return strings.Join(parts, "\n"), nil
}

// TryDo runs a command on the control connection, which is kept open and
// opened again when needed.
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

// Do is TryDo for what must succeed.
func (s *Server) Do(args ...string) string {
	s.t.Helper()
	text, err := s.TryDo(args...)
	if err != nil {
		s.t.Errorf("redis-server: %s: %v", strings.Join(args, " "), err)
	}
	return text
}

// Info gives a section of INFO as a map.
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

func connected(info string) (int, error) {
	return strconv.Atoi(fields(info)["connected_clients"])
}

// ClientCount is how many connections the server counts, without those of
// this package.
func (s *Server) ClientCount() int {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := s.tryLocked("INFO", "clients")
	if err != nil {
		s.t.Errorf("count connections: %v", err)
		return 0
	}
	n, err := connected(info)
	if err != nil {
		s.t.Errorf("count connections: %v", err)
	}
	return n - 1 - s.watches
}

// WaitClients waits until the server counts n connections.
func (s *Server) WaitClients(t testing.TB, n int, within time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		got := s.ClientCount()
		if got == n {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the server counts %d connections: want %d", got, n)
			return
		}
	}
}

// ClientWatch samples how many connections the server counts.
type ClientWatch struct {
	s    *Server
	stop chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	peak int
	n    int
}

// sampleEvery is the time between two samples of a watch.
const sampleEvery = 2 * time.Millisecond

// WatchClients begins to sample INFO clients, on a connection of its own.
// While the server is down it samples nothing.
func (s *Server) WatchClients() *ClientWatch {
	w := &ClientWatch{s: s, stop: make(chan struct{})}
	w.done.Go(w.run)
	return w
}

func (w *ClientWatch) run() {
	var c *client
	defer func() { w.drop(c) }()
	for {
		select {
		case <-w.stop:
			return
		case <-time.After(sampleEvery):
		}
		c = w.sample(c)
	}
}

// sample asks once. The lock keeps this package's own connections from
// changing in number meanwhile.
func (w *ClientWatch) sample(c *client) *client {
	s := w.s
	s.mu.Lock()
	if c == nil {
		var err error
		if c, err = s.dial(); err != nil {
			s.mu.Unlock()
			return nil
		}
		s.watches++
	}
	own := s.watches
	if s.control != nil {
		own++
	}
	info, err := c.do("INFO", "clients")
	s.mu.Unlock()
	if err != nil {
		w.drop(c)
		return nil
	}
	if n, err := connected(info); err == nil {
		w.mu.Lock()
		w.peak = max(w.peak, n-own)
		w.n++
		w.mu.Unlock()
	}
	return c
}

func (w *ClientWatch) drop(c *client) {
	if c == nil {
		return
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	c.close()
	w.s.watches--
}

// Peak is the most connections seen so far, without those of this package.
func (w *ClientWatch) Peak() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peak
}

// Stop ends the sampling and gives the peak.
func (w *ClientWatch) Stop() int {
	close(w.stop)
	w.done.Wait()
	if w.n == 0 {
		w.s.t.Error("the watch took no sample")
	}
	return w.Peak()
}
