package netio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ErrClosed is the error of a Server, and of its gateway, after the shutdown.
var ErrClosed = errors.New("gateway: it is shut down")

// acceptWarnEvery is the least time between two log lines about failures to accept.
const acceptWarnEvery = 10 * time.Second

// Server accepts connections and serves them by links. All methods are safe for concurrent use.
type Server struct {
	host       Host
	servers    sync.WaitGroup // accept loops
	lastWrites sync.WaitGroup // writes to clients that have left
	loopCount  int

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	loops     []*loop // of plain sockets; empty before the first one
	closing   bool
}

// NewServer returns a server for a host, with a number of event loops.
func NewServer(h Host, loops int) *Server {
	return &Server{host: h, loopCount: loops, listeners: map[net.Listener]struct{}{}}
}

// Serve accepts clients until StopAccepting, and then returns nil. If another party closes l, it returns that error and
// its clients stay. It owns l. Event loops serve plain TCP and unix sockets where the system has epoll; goroutines
// serve all other connections, such as TLS.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		_ = l.Close()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.servers.Add(1)
	s.mu.Unlock()
	defer s.servers.Done()
	defer func() {
		_ = l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	var warned time.Time
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			s.serveConn(conn, l.Addr())
			continue
		}
		switch {
		case s.isClosing():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("gateway: accept: %w", err)
		}
		// The error may pass, for example if the process has no free file descriptor.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if now := time.Now(); now.Sub(warned) >= acceptWarnEvery {
			warned = now
			s.host.Log().Warn("accept failed: the gateway retries", "listener", l.Addr().String(), "error", err.Error())
		}
		select {
		case <-time.After(pause):
		case <-s.host.Context().Done():
			return nil
		}
	}
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// StopAccepting closes the listeners. Clients stay.
func (s *Server) StopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for l := range s.listeners {
		_ = l.Close()
	}
}

// AwaitLastWrites waits until the last writes to clients that have left are complete, or until ctx ends.
func (s *Server) AwaitLastWrites(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.lastWrites.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the event loops and waits for them and for the accept loops. All clients have left before, and StopAccepting
// and the end of the host's context come before too.
func (s *Server) Close() {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		l.stop()
	}
	s.servers.Wait()
}

// serveConn serves a connection that a listener at an address has accepted.
func (s *Server) serveConn(conn net.Conn, at net.Addr) {
	if !s.serveSocket(conn, at) {
		s.serveStream(conn, at)
	}
}

// addresses returns the ends of a connection as CLIENT LIST shows them. For a unix socket whose file was moved only the
// listener knows the path.
func addresses(conn net.Conn, at net.Addr) (addr, localAddr string) {
	if conn.RemoteAddr().Network() == "unix" {
		return at.String() + ":0", at.String() + ":0"
	}
	return conn.RemoteAddr().String(), conn.LocalAddr().String()
}

// refuse writes an error reply, if the connection takes it at once, and closes the connection.
func refuse(conn net.Conn, reply []byte) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Millisecond))
	_, _ = conn.Write(reply)
	_ = conn.Close()
}
