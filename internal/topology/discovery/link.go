package discovery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	errClosedBy = errors.New("the sentinel closed the connection")
	errIgnored  = errors.New("the sentinel did not confirm the subscription")
	errUnasked  = errors.New("the sentinel sent a reply that nobody asked for")
	errBroken   = errors.New("the connection was closed with a query of another service unanswered")
	errFlood    = errors.New("the sentinel publishes more than can be taken in")
)

// link is one socket, or its dial. Sentinels.mu guards its fields, except those of its goroutines.
type link struct {
	s      *Sentinels
	at     place
	ctx    context.Context
	cancel context.CancelFunc

	users      []user
	conn       Conn // nil while the dial runs
	closing    bool
	silent     bool   // it was closed because of silence: the sentinel's own close may never arrive
	next       *link  // link to dial when this one's socket is closed
	asked      []user // queries without a reply, in order
	subscribed bool
	unsure     int    // unconfirmed channels
	pings      int    // pings without a reply, on a subscription
	unsent     []byte // bytes for the writer; limited, because a machine has few queries in flight
	reauth     *reauth
	behind     []byte // bytes to send after the reply to AUTH

	// Fields of a subscription.
	pingAt      time.Time // time of the next ping
	judgeAt     time.Time // when it closes if nothing has arrived; zero: no reply is pending
	heardBefore uint64    // bytes read when a reply became pending

	kick  chan struct{} // capacity 1: bytes for the writer
	rearm chan struct{} // capacity 1: judgeAt has changed
	gone  chan struct{} // closed with closing
	heard atomic.Uint64 // bytes read
}

// user is a machine's use of a link, or its query.
type user struct {
	w   *Service
	seq uint64
}

// connect adds a machine to the link of a socket, and dials if necessary.
func (s *Sentinels) connect(w *Service, a sentinel.Connect) {
	at := place{a.Sentinel, a.Link}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		w.enqueue(sentinel.SentinelDown{Seq: a.Seq, Err: context.Canceled})
		return
	}
	l := s.links[at]
	switch {
	case l == nil:
		l = s.newLink(at)
		s.links[at] = l
		s.wg.Go(l.run)
	case l.closing:
		if l.next == nil || l.next.closing { // closed before its dial
			l.next = s.newLink(at)
		}
		l = l.next
	case l.conn != nil:
		w.enqueue(sentinel.SentinelUp{Seq: a.Seq})
	}
	l.users = append(l.users, user{w, a.Seq})
}

func (s *Sentinels) newLink(at place) *link {
	l := &link{s: s, at: at, kick: make(chan struct{}, 1), rearm: make(chan struct{}, 1), gone: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	return l
}

// disconnect removes a machine from a link. It closes a socket without users, and one on which a reply for that
// machine may still arrive.
func (s *Sentinels) disconnect(w *Service, a sentinel.Disconnect) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(s.links[place{a.Sentinel, a.Link}], user{w, a.Seq}, a.Silent)
}

func (s *Sentinels) dropLocked(l *link, u user, silent bool) {
	for ; l != nil; l = l.next {
		if !l.removeLocked(u) {
			continue
		}
		waits := false
		for _, q := range l.asked {
			waits = waits || q.w == u.w
		}
		if waits {
			l.silent = l.silent || silent
			l.failLocked(errBroken)
		}
		if len(l.users) == 0 {
			l.closeLocked()
		}
		return
	}
}

func (l *link) removeLocked(u user) bool {
	for i, x := range l.users {
		if x == u {
			l.users = append(l.users[:i:i], l.users[i+1:]...)
			return true
		}
	}
	return false
}

// leave removes a service from all links.
func (s *Sentinels) leave(w *Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.services, w)
	for _, l := range s.links {
		for ; l != nil; l = l.next {
			for _, u := range slices.Clone(l.users) {
				if u.w == w {
					s.dropLocked(l, u, false)
				}
			}
		}
	}
}

// ask sends a query of a machine.
func (s *Sentinels) ask(w *Service, a sentinel.Ask) {
	raw, err := resp.AppendCommand(nil, a.Args)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[place{a.Sentinel, sentinel.Command}]
	if err == nil && (l == nil || l.closing || l.conn == nil) {
		err = errClosedBy // its SentinelDown follows
	}
	if err != nil {
		w.enqueue(sentinel.Answer{Seq: a.Seq, Err: err})
		return
	}
	l.asked = append(l.asked, user{w, a.Seq})
	l.submitLocked(raw)
}

// subscribe subscribes to the channels, once on a socket.
func (s *Sentinels) subscribe(_ *Service, a sentinel.Subscribe) {
	args := []any{"SUBSCRIBE"}
	for _, c := range a.Channels {
		args = append(args, c)
	}
	raw, err := resp.AppendCommand(nil, args)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[place{a.Sentinel, sentinel.Subscription}]
	if err != nil || l == nil || l.closing || l.conn == nil || l.subscribed {
		return
	}
	l.expectLocked()
	l.subscribed, l.unsure = true, len(a.Channels)
	l.submitLocked(raw)
}

// check pings a subscription now.
func (s *Sentinels) check(a sentinel.Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.links[place{a.Sentinel, sentinel.Subscription}]; l != nil && !l.closing && l.conn != nil {
		l.pingLocked()
	}
}

// closeLocked starts to close the socket, and fails the requests that wait for it.
func (l *link) closeLocked() {
	if l.closing {
		return
	}
	l.closing = true
	l.cancel()
	close(l.gone)
	if l.conn != nil {
		l.conn.Interrupt()
	}
}

// failLocked reports the loss of the link to all users and closes it.
func (l *link) failLocked(err error) {
	users := l.users
	l.users, l.asked = nil, nil
	for _, u := range users {
		u.w.enqueue(sentinel.SentinelDown{Seq: u.seq, Err: err})
	}
	l.closeLocked()
}

// run is the link's goroutine. It dials, reads and closes.
func (l *link) run() {
	defer l.left()
	ctx, cancel := context.WithTimeout(l.ctx, l.s.cfg.QueryTimeout)
	conn, err := l.s.cfg.Dial(ctx, l.s.cut, l.at.addr)
	cancel()
	if err != nil {
		l.fail(err)
		return
	}
	if l.up(conn) {
		var others sync.WaitGroup
		others.Go(func() { l.write(conn) })
		if l.at.kind == sentinel.Subscription {
			others.Go(l.patrol)
		}
		l.fail(l.read(conn))
		others.Wait()
	}
	l.linger(conn)
}

// linger closes conn, without a wait if the set is closing fast. After silence the close of the other side may never
// arrive: the next dial then waits only briefly.
func (l *link) linger(conn Conn) {
	if l.leave() {
		timer := time.AfterFunc(l.s.cfg.QueryTimeout/10, l.end)
		defer timer.Stop()
	}
	aborted := make(chan struct{})
	stop := context.AfterFunc(l.s.cut, func() {
		defer close(aborted)
		conn.Abort()
	})
	conn.Linger(l.s.cfg.LingerLimit)
	if !stop() {
		<-aborted
	}
}

// leave reports whether the link may give its place to the next link before its socket is closed: it was silent, and
// no other link does so.
func (l *link) leave() bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if !l.silent || l.s.leaving[l.at] != nil {
		return false
	}
	l.s.leaving[l.at] = l
	return true
}

func (l *link) fail(err error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.failLocked(err)
}

// up sets the link's connection, unless the link has no users any more.
func (l *link) up(conn Conn) bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.closing {
		return false
	}
	l.conn = conn
	for _, u := range l.users {
		u.w.enqueue(sentinel.SentinelUp{Seq: u.seq})
	}
	return true
}

// end gives the socket's place to the next link, once.
func (l *link) end() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.s.links[l.at] != l {
		return
	}
	delete(l.s.links, l.at)
	if next := l.next; next != nil && !next.closing && !l.s.closed {
		l.s.links[l.at] = next
		l.s.wg.Go(next.run)
	}
}

// left records that the socket is closed.
func (l *link) left() {
	l.end()
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.s.leaving[l.at] == l {
		delete(l.s.leaving, l.at)
	}
}
