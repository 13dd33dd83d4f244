// Package faultnet is a relay that injects network faults, for tests and benchmarks. It forwards
// connections over TCP or a unix socket. It can delay bytes, stall, drop everything, reset in the
// middle of a frame, half-close and read slowly.
package faultnet

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Relay forwards connections to a target. All methods are safe for concurrent use. They act on open
// and new connections, unless their comments say otherwise.
type Relay struct {
	done     sync.WaitGroup
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	accepted atomic.Int64

	mu        sync.Mutex
	listener  net.Listener
	target    string
	links     map[*link]struct{}
	closed    bool
	delay     time.Duration
	jitter    time.Duration
	stalled   [2]chan struct{} // per direction: closed by Resume; nil: not stalled
	stalling  chan struct{}    // for StallAfter: closed by Resume; nil: not stalled
	refuse    bool
	blackhole bool
	block     func(client string) bool // nil: blocks no client
	slow      int                      // bytes per second from the client; 0: no limit
}

// The two directions of a connection.
const (
	toServer = iota
	toClient
)

// Start is Open for a test. It closes the relay at the end of the test.
func Start(t testing.TB, target string) *Relay {
	t.Helper()
	r, err := Open(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// StartUnix is Start for a relay that listens on a unix socket. It connects to the target over TCP.
func StartUnix(t testing.TB, path, target string) *Relay {
	t.Helper()
	r, err := open("unix", path, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Open listens on a free port of 127.0.0.1 and forwards to target until Close.
func Open(target string) (*Relay, error) { return open("tcp", "127.0.0.1:0", target) }

func open(network, addr, target string) (*Relay, error) {
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: l, target: target, links: map[*link]struct{}{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.done.Go(func() { r.accept(l) })
	return r, nil
}

// Addr is the address that clients connect to.
func (r *Relay) Addr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listener.Addr().String()
}

// Move changes the address to another free port of 127.0.0.1. The old address refuses connections, and
// the open connections are reset.
func (r *Relay) Move() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return errors.Join(net.ErrClosed, l.Close())
	}
	r.listener.Close()
	r.listener = l
	r.done.Go(func() { r.accept(l) })
	r.mu.Unlock()
	r.CutAll()
	return nil
}

// SetTarget changes the target of new connections.
func (r *Relay) SetTarget(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = addr
}

// Close resets every connection, drops the bytes held back, and waits for the goroutines.
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

// Accepted is the number of connections so far, including refused ones.
func (r *Relay) Accepted() int64 { return r.accepted.Load() }

// Delay delays every byte by d and up to jitter more, in each direction. It keeps the order and does
// not limit the throughput.
func (r *Relay) Delay(d, jitter time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay, r.jitter = d, jitter
}

// Stall stops forwarding in both directions until Resume. Nothing is lost.
func (r *Relay) Stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stallLocked(toServer)
	r.stallLocked(toClient)
}

// StallReplies stops forwarding to the client until Resume.
func (r *Relay) StallReplies() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stallLocked(toClient)
}

// StallAfter stops forwarding to the client of each open connection after n more bytes, even in the
// middle of a frame.
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

// Resume ends Stall, StallReplies and StallAfter.
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

// resumption returns the channel that Resume closes to end StallAfter.
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

// Swallow makes the path of the open connections dead, while TCP stays alive: the relay acknowledges
// all bytes and half-closes and forwards none. New connections work.
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

// CutAfter resets each open connection after n more bytes to its client, even in the middle of a
// frame.
func (r *Relay) CutAfter(n int64) {
	for _, l := range r.open() {
		l.cutAfter(n)
	}
}

// HalfClose ends the direction to the client on each open connection. The relay still forwards the
// bytes from the client.
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

// SlowReader limits the bytes per second that the relay reads from each client. 0 means no limit.
func (r *Relay) SlowReader(bytesPerSecond int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = bytesPerSecond
}

// Refuse makes the relay close new connections at once.
func (r *Relay) Refuse(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = on
}

// Block separates some clients from the target: the relay acknowledges the bytes of their open and new
// connections, and forwards none. blocked decides by the address of the client's socket; the relay
// calls it on several goroutines. Another call replaces the block, and nil ends it. Then the
// connections that are no longer blocked are reset.
func (r *Relay) Block(blocked func(client string) bool) {
	r.mu.Lock()
	r.block = blocked
	r.mu.Unlock()
	for _, l := range r.open() {
		l.applyBlock(blocked)
	}
}

func (r *Relay) blocker() func(client string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.block
}

// Origin returns the address of the client's socket for an open connection of the relay to the
// target. from is the relay's end of that connection.
func (r *Relay) Origin(from string) (client string, ok bool) {
	for _, l := range r.open() {
		if l.server != nil && l.server.LocalAddr().String() == from {
			return l.client.RemoteAddr().String(), true
		}
	}
	return "", false
}

// Blackhole makes the relay accept new connections and send nothing on them.
func (r *Relay) Blackhole(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blackhole = on
}

func (r *Relay) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
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
	l.applyBlock(r.blocker())
	if !blackhole && !l.blocked.Load() {
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
	l.applyBlock(r.blocker()) // it may have changed meanwhile
	l.run()
	r.mu.Lock()
	delete(r.links, l)
	r.mu.Unlock()
}
