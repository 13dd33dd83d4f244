// Package lane lets many callers share one connection: they append their
// commands to one buffer, one flush carries everybody's bytes, and replies
// are handed out in the order of the queue. It frames replies and never
// decodes them. It knows nothing of limits on connections, of dialing or of
// other lanes: that is the pool's.
//
// A lane owns one goroutine for its whole life, the background reader, and
// starts a writer when a socket is full or cannot be written in part (TLS).
// Both have ended when Config.OnClosed is called.
package lane

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// ErrDraining refuses a request to a lane that takes no more: it was not sent
// and may go elsewhere.
var ErrDraining = errors.New("the lane is draining")

// Config bounds a lane. It may be shared by many and is not changed.
type Config struct {
	ReplyTimeout time.Duration // a caller's wait for a reply; 0: its ctx alone
	StallLimit   time.Duration // nothing moved for so long while replies are due: condemned; 0: never
	SuspectAfter time.Duration // nothing moved for so long while replies are due: suspicious, and newcomers avoid the lane after half of it; 0: never
	Window       int           // replies that may be due
	WindowBytes  int           // bytes of commands whose replies are due
	ReplyLimit   int64         // bytes of one reply; 0: no limit
	LingerLimit  time.Duration // for the server to close its side too

	// OnSuspect is called when nothing has moved for SuspectAfter while replies were due, and
	// again each time as much has passed. It must not block.
	OnSuspect func(l *Lane)
	// OnDead is called once, when the lane has become unusable, with the cause.
	OnDead func(l *Lane, cause error)
	// OnClosed is called once, when the socket is closed and no goroutine is left.
	OnClosed func(l *Lane)
}

// role says who reads.
type role uint8

const (
	nobody     role = iota // the queue is empty
	caller                 // a caller that was alone, for itself
	background             // the lane's goroutine
	driven                 // the driver's loop
)

// Lane is one connection shared by any number of callers. All methods are
// safe for concurrent use.
type Lane struct {
	// Set once, and read by all.
	cfg    *Config
	conn   *wire.Conn
	Born   time.Time
	bgWake chan struct{} // capacity 1: the background reader has the read half, or the lane is dead
	wrWake chan rest     // capacity 1: bytes for the writer goroutine
	wrDone chan struct{} // closed when the writer goroutine has ended
	gone   chan struct{} // closed with the lane's death
	abort  chan struct{} // closed by Abort: no lingering
	hands  chan struct{} // capacity 1: full while a sink takes what does not end its request

	telling sync.WaitGroup // of goroutines that tell sinks of failures

	usedAt   atomic.Int64 // unix nanoseconds of the last tick that saw activity
	heardAt  atomic.Int64 // and of the last one that saw bytes come
	requests sync.Pool    // of *request

	// What each command changes, together: its processor has to fetch it from
	// the one that ran the last command.
	_        [cacheLine]byte
	mu       sync.Mutex
	depth    atomic.Int32 // replies due, and avoid; a hint for those who choose a lane
	reading  role
	flushing bool
	draining bool
	retired  bool // nothing may be written any more
	pushOnly bool
	silence  silence // for how long nothing has moved: newcomers go elsewhere unless it is usual
	wbuf     []byte  // encoded and not yet offered to the socket
	queue    ring
	due      int    // replies due, the sum of want at enqueue time less what came
	dueBytes int    // bytes that the requests in the queue take of the window
	queued   uint64 // bytes appended since the lane began
	expect   int    // callers whose replies came with the last read and who may be about to send again
	granted  load   // window room promised to waiters and not yet used
	dead     error  // cause of the end

	// What changes more rarely, under mu.
	clock    clock
	scanner  ctxScanner
	window   waitList
	spare    []byte // the other buffer, while no flush is under way
	offered  uint64 // bytes the socket was offered, or took where that is known
	shallow  int    // replies in a row that the background reader read for a lone caller
	reserved int    // places promised by Reserve
	owner    any    // whom it serves; nil: its holder
	drained  func() // called once the lane has nothing left, while draining
	kicked   bool   // InterruptRead was called and not yet taken back
	writing  bool   // the writer goroutine was started
	onPush   func(frame []byte)
	driver   Driver // who reads, or shall; nil: the lane itself
	alone    alone  // each command looks at the first fields of it
	proof    proof  // and of this

	_       [cacheLine]byte
	in      input         // owned by whoever reads
	bytesIn atomic.Uint64 // bytes read
}

// cacheLine keeps what different processors write apart. Some fetch two lines
// of 64 bytes at a time.
const cacheLine = 128

// New takes conn over and starts the lane's reader.
func New(conn *wire.Conn, cfg *Config) *Lane {
	l := &Lane{
		cfg: cfg, conn: conn, Born: time.Now(),
		bgWake: make(chan struct{}, 1), wrWake: make(chan rest, 1),
		wrDone: make(chan struct{}), gone: make(chan struct{}), abort: make(chan struct{}),
		hands: make(chan struct{}, 1),
	}
	l.in.scanner.Limit = cfg.ReplyLimit
	l.in.poll.init(conn)
	l.proof.init()
	l.usedAt.Store(l.Born.UnixNano())
	l.heardAt.Store(l.Born.UnixNano())
	l.mu.Lock()
	l.startClockLocked()
	l.mu.Unlock()
	go l.readLoop()
	return l
}

// Conn gives the connection's facts: address, protocol, server.
func (l *Lane) Conn() *wire.Conn { return l.conn }

// Depth is the number of replies due, and -1 of a dead lane. It is a hint,
// read without a lock.
func (l *Lane) Depth() int {
	if d := l.depth.Load(); d >= 0 {
		return int(d &^ (avoid | silent))
	}
	return -1
}

// Load is Depth, and more than any depth while the lane is to be avoided: newcomers
// would have to wait there, or the server does not answer on it. It is a hint, read without a lock.
func (l *Lane) Load() int { return int(l.depth.Load()) }

// Avoided reports whether newcomers are better off elsewhere. It is a hint, read without a lock.
func (l *Lane) Avoided() bool { return l.Load() >= avoid }

// Silent reports whether newcomers are better off elsewhere since nothing moves here. It is a hint, read without a lock.
func (l *Lane) Silent() bool { return l.Load() >= avoid|silent }

// The bits of Lane.depth that say so.
const (
	avoid  = 1 << 30
	silent = 1 << 29
)

// callersDueLocked counts the replies due without the one to a token, for which nobody waits, unless it is the only one.
func (l *Lane) callersDueLocked() int {
	if l.proof.pending && l.due > 1 {
		return l.due - 1
	}
	return l.due
}

// publishDepthLocked shows those who choose a lane what is due.
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

// UsedAt is when the lane was last seen in use, to within a tick.
func (l *Lane) UsedAt() time.Time { return time.Unix(0, l.usedAt.Load()) }

// Touch counts as use: for a lane that is lent.
func (l *Lane) Touch() { l.usedAt.Store(time.Now().UnixNano()) }

// Err is the cause of the lane's end, or nil while it lives.
func (l *Lane) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// OnPush makes fn receive push frames on the reader's goroutine; the frame is
// valid during the call. With only, every frame that nobody waits for counts
// as a push: so it is on a RESP2 connection with subscriptions.
func (l *Lane) OnPush(fn func(frame []byte), only bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onPush, l.pushOnly = fn, only
	if only && l.reading == nobody && l.dead == nil {
		l.giveLocked()
	}
}

// Reserve promises a place to one request, so that draining waits for it.
// It must be followed by a request with Options.Reserved, or by Unreserve.
func (l *Lane) Reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return false
	}
	l.reserved++
	return true
}

// Unreserve takes a promise back.
func (l *Lane) Unreserve() {
	l.mu.Lock()
	l.reserved--
	l.unlockDrained()
}

// Drain refuses further requests and calls fn, once, when nothing is left: at
// once if so. A lane that dies first never calls it. Undrain ends the state.
func (l *Lane) Drain(fn func()) {
	l.mu.Lock()
	if l.dead != nil {
		l.mu.Unlock()
		return
	}
	l.draining, l.drained = true, fn
	l.window.refuse(ErrDraining)
	l.alone.waiting.refuse(ErrDraining)
	l.unlockDrained()
}

// Undrain lets requests in again, but not to a retired lane. From now on the lane
// serves owner, and those who name none, and is proven to be in step by form.
func (l *Lane) Undrain(owner any, form Proof) {
	l.mu.Lock()
	l.owner = owner
	l.proveByLocked(form)
	l.alone.forbidden = false // its waiters have left with the draining
	if !l.retired {
		l.draining, l.drained = false, nil
	}
	l.mu.Unlock()
}

// unlockDrained unlocks mu, lets the next request that has to be alone go, and calls
// drained if that is due.
func (l *Lane) unlockDrained() {
	l.nextAloneLocked()
	var fn func()
	if l.draining && l.queue.n == 0 && l.reserved == 0 && l.granted.replies == 0 && l.dead == nil {
		fn, l.drained = l.drained, nil
	}
	l.mu.Unlock()
	if fn != nil {
		fn()
	}
}

// Fail ends the lane: whoever waits gets cause, the connection is closed.
// It does not wait for that; OnClosed tells.
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
	offered := l.offered
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
	l.due, l.dueBytes = 0, 0
	l.depth.Store(-1)
	l.window.failAll(cause)
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

	// The lane is out of the callers' sight before they look for another one.
	if l.cfg.OnDead != nil {
		l.cfg.OnDead(l, cause)
	}
	for _, o := range orphans {
		o.q.finish(done, o.err)
	}
}

// orphan is a request whose reply does not come any more, and why.
type orphan struct {
	q   *request
	err error
}

// Abort cuts a dead lane's lingering short.
func (l *Lane) Abort() {
	l.Fail(wire.ErrClosed)
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.abort:
	default:
		close(l.abort)
		if l.reading != driven { // else the socket is closed after Release: its number may be another's at once
			l.conn.Abort()
		}
	}
}

func (l *Lane) failure(op string, sent bool, err error) error {
	return &wire.Error{Op: op, Addr: l.conn.Addr(), Sent: sent, Err: err}
}

// ended says why ctx ended, without the cost of asking while it has not.
func ended(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// Done is closed with the lane's death; Err tells the cause.
func (l *Lane) Done() <-chan struct{} { return l.gone }
