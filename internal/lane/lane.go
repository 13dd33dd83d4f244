// Package lane shares one connection among many callers. Callers append commands to one buffer, one flush carries the
// bytes of all, and the lane distributes replies in the order of its queue. It frames replies and does not decode
// them.
//
// A lane does not limit connections, dial, or choose between lanes: package pool does.
//
// A lane owns the background reader, which runs for its whole life, and a writer, which it starts if a socket is full
// or cannot be written in part (TLS). It also owns short-lived goroutines that report failures to sinks. All have
// ended when Config.OnClosed is called.
package lane

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// ErrDraining is the error of a lane that accepts no requests. The request was not sent, and the caller may use
// another lane.
var ErrDraining = errors.New("the lane is draining")

// Config configures a lane. Many lanes may share it. It must not change.
type Config struct {
	ReplyTimeout time.Duration // limit of the wait for a reply; 0: only the caller's ctx
	StallLimit   time.Duration // the lane fails after this time without progress while replies are pending; 0: never
	SuspectAfter time.Duration // the lane is suspect after this time without progress while replies are pending, and new requests avoid it after half of it; 0: never
	Window       int           // maximum number of pending replies
	WindowBytes  int           // maximum bytes of commands with pending replies
	ReplyLimit   int64         // maximum bytes of one reply; 0: no limit
	LingerLimit  time.Duration // limit of the wait for the server to close its side

	// OnSuspect is called after SuspectAfter without progress while replies are pending, and again after each further
	// SuspectAfter. It must not block.
	OnSuspect func(l *Lane)
	// OnDead is called once, when the lane has failed, with the cause.
	OnDead func(l *Lane, cause error)
	// OnClosed is called once, when the socket is closed and no goroutine of the lane is left. It may run before OnDead,
	// which the goroutine that fails the lane calls.
	OnClosed func(l *Lane)
}

// role states who owns the read half.
type role uint8

const (
	nobody     role = iota // the queue is empty
	caller                 // a caller that was alone reads its own reply
	background             // the lane's goroutine
	driven                 // the driver's loop
)

// Lane is one connection that any number of callers share. All methods are safe for concurrent use.
type Lane struct {
	// Set by New and never changed.
	cfg    *Config
	conn   *wire.Conn
	Born   time.Time
	bgWake chan struct{} // capacity 1: the background reader has the read half, or the lane is dead
	wrWake chan rest     // capacity 1: bytes for the writer goroutine
	wrDone chan struct{} // closed when the writer goroutine has ended
	gone   chan struct{} // closed when the lane fails
	abort  chan struct{} // closed by Abort: no lingering
	hands  chan struct{} // capacity 1: full while a sink receives a part of a request's replies

	telling sync.WaitGroup // goroutines that report failures to sinks

	home     atomic.Int32 // the number of the driver to which the lane belongs; 0: none
	usedAt   atomic.Int64 // Unix nanoseconds of the last tick with activity
	heardAt  atomic.Int64 // Unix nanoseconds of the last tick with received bytes
	requests sync.Pool    // of *request

	// Fields that each command changes are adjacent: a processor fetches them from the one that ran the previous
	// command.
	_        [cacheLine]byte
	mu       sync.Mutex
	depth    atomic.Int32 // pending replies and the bits avoid and silent; a hint for callers that pick a lane
	reading  role
	draining bool
	retired  bool // nothing more may be written
	pushOnly bool
	silence  silence // the last finding about silence
	out      outbox
	queue    ring
	window   window
	expect   int   // callers that received replies of the last read and may send again
	sleeps   bool  // the background reader sleeps without polling, although it could poll
	dead     error // the cause of the failure; nil: none

	// Fields that change less often; mu guards them too.
	clock    clock
	stall    stallClock
	scanner  ctxScanner
	shallow  int    // consecutive replies that the background reader read for a lone caller
	reserved int    // reservations of Reserve
	owner    any    // the owner that requests must name; nil: a holder
	drained  func() // called once when the lane is empty, while draining
	kicked   bool   // InterruptRead was called and not reverted
	roomy    bool   // the background reader has a larger buffer than an idle lane needs
	writing  bool   // the writer goroutine was started
	onPush   func(frame []byte)
	driver   Driver // the driver; nil: none
	alone    alone  // each command reads its first fields
	proof    proof  // each command reads its first fields
	loans    loans

	_       [cacheLine]byte
	in      input         // owned by the current reader
	bytesIn atomic.Uint64 // bytes read
}

// cacheLine separates fields that different processors write. Some processors fetch two lines of 64 bytes at a time.
const cacheLine = 128

// New takes ownership of conn and starts the reader.
func New(conn *wire.Conn, cfg *Config) *Lane {
	l := &Lane{
		cfg: cfg, conn: conn, Born: time.Now(),
		bgWake: make(chan struct{}, 1), wrWake: make(chan rest, 1),
		wrDone: make(chan struct{}), gone: make(chan struct{}), abort: make(chan struct{}),
		hands: make(chan struct{}, 1),
	}
	l.in.scanner.Limit = cfg.ReplyLimit
	l.in.poll.init(conn)
	l.stall.init(cfg)
	l.window.limit = load{cfg.Window, cfg.WindowBytes}
	l.proof.init(conn.Server() != "")
	l.usedAt.Store(l.Born.UnixNano())
	l.heardAt.Store(l.Born.UnixNano())
	l.mu.Lock()
	l.startClockLocked()
	l.mu.Unlock()
	go l.readLoop()
	return l
}

// Conn returns the connection. Callers may read its address, protocol and server, but must not use it.
func (l *Lane) Conn() *wire.Conn { return l.conn }

// Depth returns the number of pending replies, or -1 for a failed lane. It is a hint that takes no lock.
func (l *Lane) Depth() int {
	if d := l.depth.Load(); d >= 0 {
		return int(d &^ (avoid | silent))
	}
	return -1
}

// Load is Depth, or more than any depth if new requests should avoid the lane: they would have to wait, or the lane
// is silent. It is a hint that takes no lock.
func (l *Lane) Load() int { return int(l.depth.Load()) }

// Avoided reports whether new requests should use another lane. It is a hint that takes no lock.
func (l *Lane) Avoided() bool { return l.Load() >= avoid }

// Silent reports whether new requests should use another lane because this one makes no progress. It is a hint that
// takes no lock.
func (l *Lane) Silent() bool { return l.Load() >= avoid|silent }

// Bits of Lane.depth.
const (
	avoid  = 1 << 30
	silent = 1 << 29
)

// callersDueLocked returns the pending replies without that to a token, unless it is the only one. No caller waits
// for a token.
func (l *Lane) callersDueLocked() int {
	due := l.window.due.replies
	if l.proof.pending && due > 1 {
		return due - 1
	}
	return due
}

// publishDepthLocked updates depth.
func (l *Lane) publishDepthLocked() {
	d := int32(l.callersDueLocked())
	if l.alone.held {
		d |= avoid
	}
	if l.silence != usual {
		d |= avoid | silent
	}
	l.depth.Store(d)
}

// UsedAt returns the last time of use, with the precision of a tick.
func (l *Lane) UsedAt() time.Time { return time.Unix(0, l.usedAt.Load()) }

// Touch counts as use.
func (l *Lane) Touch() { l.usedAt.Store(time.Now().UnixNano()) }

// Err returns the cause of the lane's failure, or nil.
func (l *Lane) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// OnPush registers fn for push frames. It runs on the reader's goroutine; the frame is valid during the call. With
// only, every unrequested frame counts as a push, as on a RESP2 connection with subscriptions.
func (l *Lane) OnPush(fn func(frame []byte), only bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onPush, l.pushOnly = fn, only
	if only && l.reading == nobody && l.dead == nil {
		l.giveLocked()
	}
}

// Reserve reserves a place for one request, so that draining waits for it. A request with Options.Reserved, or
// Unreserve, must follow.
func (l *Lane) Reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return false
	}
	l.reserved++
	return true
}

// Unreserve ends a reservation.
func (l *Lane) Unreserve() {
	l.mu.Lock()
	l.reserved--
	l.unlockDrained()
}

// Drain refuses further requests and calls fn once when the lane is empty, at once if it is empty now. fn is not
// called if the lane fails first. Undrain ends the state.
func (l *Lane) Drain(fn func()) {
	l.mu.Lock()
	if l.dead != nil {
		l.mu.Unlock()
		return
	}
	l.draining, l.drained = true, fn
	l.window.waiting.refuse(ErrDraining)
	l.alone.waiting.refuse(ErrDraining)
	l.unlockDrained()
}

// Undrain admits requests again, except on a retired lane. Requests must name owner or no owner. The lane proves its
// order by form.
func (l *Lane) Undrain(owner any, form Proof) {
	l.mu.Lock()
	l.owner = owner
	l.proof.by(form)
	l.alone.forbidden = false // draining has refused its waiters
	if !l.retired {
		l.draining, l.drained = false, nil
	}
	l.mu.Unlock()
}

// unlockDrained unlocks mu, starts the next request of alone, and calls drained if the lane is empty.
func (l *Lane) unlockDrained() {
	l.nextAloneLocked()
	var fn func()
	if l.draining && l.queue.n == 0 && l.reserved == 0 && l.window.granted.replies == 0 && l.dead == nil {
		fn, l.drained = l.drained, nil
	}
	l.mu.Unlock()
	if fn != nil {
		fn()
	}
}

// Fail fails the lane: all waiters get cause, and the connection closes. It does not wait for the close; OnClosed
// reports it.
func (l *Lane) Fail(cause error) {
	l.mu.Lock()
	if l.dead != nil {
		l.mu.Unlock()
		return
	}
	l.dead = cause
	close(l.gone)
	l.clock.stop()
	l.scanner.stop()
	offered := l.out.offered
	orphans := make([]orphan, 0, l.queue.n)
	var posted []failed
	for first := true; l.queue.n > 0; first = false {
		q := l.queue.front().q
		l.queue.pop()
		err := l.failure("read", q.start < offered, blamed(cause, first))
		if q.sink != nil {
			posted = q.fail(posted, done, err)
		} else {
			orphans = append(orphans, orphan{q, err})
		}
	}
	l.window.due = load{}
	l.dropLoansLocked()
	l.depth.Store(-1)
	l.window.waiting.failAll(cause)
	l.alone.waiting.failAll(cause)
	l.tellLocked(posted)
	switch l.reading {
	case nobody:
		l.giveLocked()
	case driven:
		l.driver.Drop(l)
	}
	l.conn.Interrupt()
	l.mu.Unlock()

	// OnDead removes the lane from the pool before its callers look for another one.
	if l.cfg.OnDead != nil {
		l.cfg.OnDead(l, cause)
	}
	for _, o := range orphans {
		o.q.finish(done, o.err)
	}
}

// orphan is a request whose reply will not arrive, and its error.
type orphan struct {
	q   *request
	err error
}

// Abort fails the lane and skips the wait for the server to close its side.
func (l *Lane) Abort() {
	l.Fail(wire.ErrClosed)
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.abort:
	default:
		close(l.abort)
		if l.reading != driven { // else Release closes it first: the descriptor may be reused at once
			l.conn.Abort()
		}
	}
}

func (l *Lane) failure(op string, sent bool, err error) error {
	return &wire.Error{Op: op, Addr: l.conn.Addr(), Sent: sent, Err: err}
}

// ended reports whether ctx has ended. A receive is cheaper than ctx.Err.
func ended(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// Done returns a channel that closes when the lane fails. Err returns the cause.
func (l *Lane) Done() <-chan struct{} { return l.gone }
