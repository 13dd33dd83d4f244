// Package faultnet is a relay for connections by TCP or a unix socket that misbehaves on purpose, for tests and benchmarks: it
// delays, stalls, swallows, cuts in the middle of a frame, half-closes and reads slowly.
package faultnet

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Relay forwards connections to a target. All methods are safe for concurrent
// use and act on open connections as well as on new ones.
type Relay struct {
	listener net.Listener
	done     sync.WaitGroup
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	accepted atomic.Int64

	mu        sync.Mutex
	target    string
	links     map[*link]struct{}
	closed    bool
	delay     time.Duration
	jitter    time.Duration
	stalled   [2]chan struct{} // per direction: closed when it may go on; nil: not stalled
	stalling  chan struct{}    // closed when connections go on that StallAfter stopped; nil: there are none
	refuse    bool
	blackhole bool
	slow      int // bytes a second from the client; 0: as they come
}

// The two directions of a connection.
const (
	toServer = iota
	toClient
)

// Start is Open for a test: the relay ends with it.
func Start(t testing.TB, target string) *Relay {
	t.Helper()
	r, err := Open(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// StartUnix is Start for a relay that listens on a unix socket. The target is reached by TCP all the same.
func StartUnix(t testing.TB, path, target string) *Relay {
	t.Helper()
	r, err := open("unix", path, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Open listens on a free port of 127.0.0.1 and forwards to target, until Close.
func Open(target string) (*Relay, error) { return open("tcp", "127.0.0.1:0", target) }

func open(network, addr, target string) (*Relay, error) {
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: l, target: target, links: map[*link]struct{}{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.done.Go(r.accept)
	return r, nil
}

// Addr is where clients connect.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// SetTarget sends new connections elsewhere.
func (r *Relay) SetTarget(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = addr
}

// Close resets every connection, loses what is held back, and waits for the end.
func (r *Relay) Close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		r.cancel()
		r.listener.Close()
	}
	r.mu.Unlock()
	r.CutAll()
	r.done.Wait()
}

// Conns is the number of open connections.
func (r *Relay) Conns() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.links)
}

// Accepted is the number of connections so far, refused ones included.
func (r *Relay) Accepted() int64 { return r.accepted.Load() }

// Delay holds every byte back by d and up to jitter more, in each direction.
// Order is kept and throughput is not limited.
func (r *Relay) Delay(d, jitter time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay, r.jitter = d, jitter
}

// Stall stops forwarding in both directions; nothing is lost. Resume goes on.
func (r *Relay) Stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stallLocked(toServer)
	r.stallLocked(toClient)
}

// StallReplies stops forwarding to the client alone.
func (r *Relay) StallReplies() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stallLocked(toClient)
}

// StallAfter stops forwarding to the client of each open connection after n further bytes,
// in the middle of a frame if they end there.
func (r *Relay) StallAfter(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stalling == nil && !r.closed {
		r.stalling = make(chan struct{})
	}
	for l := range r.links {
		l.stallAfter(n)
	}
}

// Resume undoes Stall, StallReplies and StallAfter.
func (r *Relay) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resumeLocked(toServer)
	r.resumeLocked(toClient)
	if r.stalling == nil {
		return
	}
	for l := range r.links {
		l.free.Store(0)
	}
	close(r.stalling)
	r.stalling = nil
}

// resumption is when connections go on that StallAfter stopped.
func (r *Relay) resumption() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stalling
}

func (r *Relay) stallLocked(direction int) {
	if r.stalled[direction] == nil && !r.closed {
		r.stalled[direction] = make(chan struct{})
	}
}

func (r *Relay) resumeLocked(direction int) {
	if r.stalled[direction] != nil {
		close(r.stalled[direction])
		r.stalled[direction] = nil
	}
}

// Swallow makes the open connections' path a dead one that keeps TCP alive: what either side sends on
// them is acknowledged and goes nowhere, their ends too. New connections work.
func (r *Relay) Swallow() {
	for _, l := range r.open() {
		l.swallow.Store(true)
	}
}

// CutAll resets every open connection.
func (r *Relay) CutAll() {
	for _, l := range r.open() {
		l.cut()
	}
}

// CutAfter resets each open connection after n further bytes to its client,
// in the middle of a frame if they end there.
func (r *Relay) CutAfter(n int64) {
	for _, l := range r.open() {
		l.cutAfter(n)
	}
}

// HalfClose ends the direction to the client on each open connection; what
// the client sends is still forwarded.
func (r *Relay) HalfClose() {
	for _, l := range r.open() {
		l.halfClose()
	}
}

func (r *Relay) open() []*link {
	r.mu.Lock()
	defer r.mu.Unlock()
	var links []*link
	for l := range r.links {
		links = append(links, l)
	}
	return links
}

// SlowReader takes only so many bytes a second from each client; 0 takes them
// as they come.
func (r *Relay) SlowReader(bytesPerSecond int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = bytesPerSecond
}

// Refuse closes new connections at once.
func (r *Relay) Refuse(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = on
}

// Blackhole accepts new connections and never answers on them.
func (r *Relay) Blackhole(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blackhole = on
}

func (r *Relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.accepted.Add(1)
		r.mu.Lock()
		refuse, blackhole, target, closed := r.refuse, r.blackhole, r.target, r.closed
		r.mu.Unlock()
		if refuse || closed {
			conn.Close()
			continue
		}
		r.done.Go(func() { r.serve(conn.(stream), target, blackhole) })
	}
}

func (r *Relay) serve(client stream, target string, blackhole bool) {
	l := &link{relay: r, client: client, ended: make(chan struct{})}
	if !blackhole {
		server, err := new(net.Dialer).DialContext(r.ctx, "tcp", target)
		if err != nil {
			client.Close()
			return
		}
		l.server = server.(stream)
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		l.cut()
		return
	}
	r.links[l] = struct{}{}
	r.mu.Unlock()
	l.run()
	r.mu.Lock()
	delete(r.links, l)
	r.mu.Unlock()
}
