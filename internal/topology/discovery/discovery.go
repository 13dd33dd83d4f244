// Package discovery does the I/O that sentinel machines decide on: it dials
// sentinels, carries queries and pushes, and sets timers. It decides nothing
// itself, and knows nothing of data nodes but what Nodes does for it.
//
// Sentinels owns up to three goroutines for each socket, a Service one for its
// machine and one for each node that it verifies; all have ended when Close
// returns.
package discovery

import (
	"context"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
)

// Conn is a handshaken connection to a sentinel; *wire.Conn is one.
type Conn interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	Interrupt()                 // makes blocked reads and writes return, now and later
	Linger(limit time.Duration) // closes, and returns when the other side has closed as well, or after limit
	Abort()                     // closes at once; cuts Linger short
}

// Config of Sentinels.
type Config struct {
	// Dial makes a connection under ctx, with its handshake; the end of cut cuts
	// short what it still does to leave nothing behind after it failed.
	Dial         func(ctx, cut context.Context, addr string) (Conn, error)
	QueryTimeout time.Duration // bounds each dial, each Role and the wait for the reply to a ping; 0: 1 s
	LingerLimit  time.Duration // for a sentinel to close its side too
	PingEvery    time.Duration // of subscriptions, at most; a ping without a reply within QueryTimeout ends them; 0: 10 s
}

// Sentinels are the connections to a set of sentinels: two at most to each
// address, however many services are watched through them. A connection that fell silent may
// be counted for LingerLimit beside the one that replaces it. All methods are
// safe for concurrent use.
type Sentinels struct {
	cfg    Config
	ctx    context.Context // of all dials
	cancel context.CancelFunc
	cut    context.Context // ends when lingering is no longer wanted
	cutNow context.CancelFunc
	wg     sync.WaitGroup // of links
	ended  chan struct{}  // closed when the first Close is done

	mu       sync.Mutex
	links    map[place]*link
	leaving  map[place]*link // silent ones whose place may be another one's already
	services map[*Service]struct{}
	closed   bool
}

// place is what there is one socket for.
type place struct {
	addr string
	kind sentinel.Link
}

// New makes a set without any connection.
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

// Watch starts a machine. After Close it gives a Service that has stopped.
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

// Close stops all services and closes all sockets. When it returns none is
// left, and no goroutine. It returns ctx's error if something had to be cut.
// Closing again waits for the same end.
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
	left := len(s.links)+len(s.leaving) > 0 // no more come: all services are done
	s.mu.Unlock()
	if !left {
		<-s.ended
		return nil
	}
	s.cutNow()
	<-s.ended
	return ctx.Err()
}

// Sockets gives how many there are to each sentinel: dialing, open and closing.
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
