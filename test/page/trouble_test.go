package page

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// status is the status code of a page; 0: there is none.
func status(url string) int {
	r, err := http.Get(url)
	if err != nil {
		return 0
	}
	r.Body.Close()
	return r.StatusCode
}

// service is a service with connections to a server.
type service struct {
	addr, name string
	mu         sync.Mutex
	conns      []net.Conn
}

// newService returns a service without connections. The end of the test closes those that it opens.
func newService(t *testing.T, addr, name string) *service {
	s := &service{addr: addr, name: name}
	t.Cleanup(s.close)
	return s
}

// open opens a connection and names it. It returns nil if the server refuses it or is down.
func (s *service) open() net.Conn {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil
	}
	if _, err := call(conn, "CLIENT", "SETNAME", s.name); err != nil {
		conn.Close()
		return nil
	}
	return conn
}

// hold opens n connections and keeps them.
func (s *service) hold(t *testing.T, n int) {
	t.Helper()
	for range n {
		conn := s.open()
		if conn == nil {
			t.Fatalf("%s was refused", s.name)
		}
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
	}
}

// size is the number of connections that it keeps.
func (s *service) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// answering is the number of connections that still work.
func (s *service) answering() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if _, err := call(c, "PING"); err == nil {
			n++
		}
	}
	return n
}

func (s *service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

// call sends a command, and reads the first line of its reply.
func call(conn net.Conn, args ...string) (string, error) {
	send(conn, args...)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if strings.HasPrefix(line, "-") {
		err = fmt.Errorf("%s", line)
	}
	return line, err
}

func send(conn net.Conn, args ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, _ = conn.Write([]byte(b.String()))
}

// background runs fn at an interval until the end of the test.
func background(t *testing.T, every time.Duration, fn func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fn()
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
}
