// Package discovery performs the I/O for sentinel machines: it dials sentinels, sends queries, receives pushes, and
// sets timers. It makes no decisions. It uses data nodes only through Nodes.
//
// Sentinels owns up to three goroutines for each socket. A Service owns one for its machine and one for each node
// that it verifies. All have ended when Close returns.
package discovery

import (
	"context"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
)

// Conn is a connection to a sentinel after its handshake. *wire.Conn is a Conn.
type Conn interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	Interrupt()                 // makes blocked and later reads and writes return
	Linger(limit time.Duration) // closes, and blocks until the other side has closed as well, at most for limit
	Abort()                     // closes at once; cuts Linger short
}

// Config configures Sentinels.
type Config struct {
	// Dial opens a connection with its handshake. ctx limits it. The end of cut cuts the cleanup after a failed dial
	// short.
	Dial         func(ctx, cut context.Context, addr string) (Conn, error)
	QueryTimeout time.Duration // limit of each dial, each Role and the reply to a ping; 0: 1 s
	LingerLimit  time.Duration // limit of the wait for a sentinel to close its side
	PingEvery    time.Duration // longest interval of pings on subscriptions; without a reply within QueryTimeout the subscription closes; 0: 10 s
}

// Sentinels are the connections to a set of sentinels: at most two to each address, for any number of services. A
// silent connection may count for LingerLimit in addition to its replacement. All methods are safe for concurrent
// use.
type Sentinels struct {
	cfg    Config
	ctx    context.Context // of all dials
	cancel context.CancelFunc
	cut    context.Context // its end cuts lingering short
	cutNow context.CancelFunc
	wg     sync.WaitGroup // of links
	ended  chan struct{}  // closed when the first Close has finished

	mu       sync.Mutex
	links    map[place]*link
	leaving  map[place]*link // silent links whose place may belong to another link already
	services map[*Service]struct{}
	closed   bool
}

// place identifies one socket: an address and a kind of link.
type place struct {
	addr string
	kind sentinel.Link
}

// New returns a set without connections.
func New(cfg Config) *Sentinels {
	if cfg.PingEvery <= 0 {
		cfg.PingEvery = 10 * time.Second
	}
	if cfg.QueryTimeout <= 0 {
		cfg.QueryTimeout = time.Second
	}
	s := &Sentinels{cfg: cfg, links: map[place]*link{}, leaving: map[place]*link{}, services: map[*Service]struct{}{}, ended: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.cut, s.cutNow = context.WithCancel(context.Background())
	return s
}

// Watch starts a machine. After Close it returns a stopped Service.
func (s *Sentinels) Watch(cfg sentinel.Config, nodes Nodes) *Service {
	w := newService(s, cfg, nodes)
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.services[w] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		w.stopped = true
		close(w.done)
		return w
	}
	w.enqueue(sentinel.Start{})
	go w.run()
	return w
}

// Close stops all services and closes all sockets. When it returns, no socket and no goroutine is left. It returns
// ctx's error if it had to cut something. Further calls wait for the same end.
func (s *Sentinels) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	var services []*Service
	for w := range s.services {
		services = append(services, w)
	}
	s.mu.Unlock()
	for _, w := range services {
		w.halt()
	}
	for _, w := range services {
		<-w.done
	}
	if first {
		s.mu.Lock()
		for _, l := range s.links {
			l.closeLocked()
		}
		s.mu.Unlock()
		go func() {
			s.wg.Wait()
			s.cancel()
			s.cutNow()
			close(s.ended)
		}()
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	left := len(s.links)+len(s.leaving) > 0 // no more follow: all services have stopped
	s.mu.Unlock()
	if !left {
		<-s.ended
		return nil
	}
	s.cutNow()
	<-s.ended
	return ctx.Err()
}

// Sockets returns the number of sockets to each sentinel: dialing, open and closing.
func (s *Sentinels) Sockets() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for p := range s.links {
		n[p.addr]++
	}
	for p, l := range s.leaving {
		if s.links[p] != l {
			n[p.addr]++
		}
	}
	return n
}
