// Package pool limits the connections to one node. Its ledger counts every socket from before its dial until the
// server has closed its side. All callers share the lanes. A dedicated conn is leased to one caller at a time.
// Waiters are served in order, by direct hand-off. Conns work for several identities (user, database, protocol),
// which take turns if there are not enough conns for all.
//
// A pool does not interpret commands and does not choose nodes.
//
// A pool owns its dials, its switches of identity, its checks, its timers and its lanes. All have ended when Close
// returns.
package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// The errors of a pool, in addition to those of package wire.
var (
	ErrClosed    = errors.New("the client is closed")
	ErrExhausted = errors.New("no connection was free")
)

// Config configures a pool. The caller sets every field, including the defaults.
type Config struct {
	Addr string
	// Dial opens a connection of an identity. ctx limits it. The end of cut cuts the cleanup after a failed dial
	// short.
	Dial func(ctx, cut context.Context, id Identity) (*wire.Conn, error)
	// SwitchIdentity switches a conn to another identity. The conn has no pending reply before and after it, and
	// nobody else uses it. ctx ends with Suspend and Close. After an error the conn is closed. nil: the pool closes
	// such a conn and dials another one.
	SwitchIdentity func(ctx context.Context, l *lane.Lane, from, to Identity) error
	// Restore returns a conn in an unknown state to its identity. The conn has no pending reply before and after it.
	// ctx ends with Suspend and Close. After an error the conn is closed. nil: such conns are always closed.
	Restore func(ctx context.Context, l *lane.Lane, k Identity) error
	Lane    lane.Config // the pool sets OnDead, OnClosed and OnSuspect

	Max         int // sockets
	Lanes       int // lanes, of each identity
	MinIdle     int // idle conns kept ready, of the zero identity
	MaxWaiters  int // 0: no limit
	WaitTimeout time.Duration
	IdleTimeout time.Duration // 0: never
	MaxLifetime time.Duration // 0: no limit
	HealthCheck time.Duration // interval without bytes after which conns are pinged; 0: never
	StaleAfter  time.Duration // interval without bytes after which idle conns are pinged before a lease; 0: never

	DialParallel int           // maximum number of dials in flight
	DialRate     float64       // dials per second, with a burst of Max
	BackoffBase  time.Duration // pause after the first consecutive failure
	BackoffCap   time.Duration // maximum pause

	LeakThreshold time.Duration // 0: no detection
	OnEvent       func(Event)   // nil: none

	Suspended bool            // the pool refuses callers until Resume
	OnTrouble func(err error) // receives failed dials and broken conns; nil: none. It must not block
	// OnDisowned receives users, other than that of the zero identity, that the server refuses and that have no conn.
	// Wanted reports whether to request a conn for a user that has lost its last conn. nil: neither. They must not
	// block.
	OnDisowned func(user string)
	Wanted     func(user string) bool
}

// class is the use of a place in the ledger.
type class uint8

const (
	shared class = iota
	idle
	dedicated
	subscribed
	preparing // is checked before a lease, is restored, or switches identity
	doubted   // is checked because another conn is silent
	closing
	classes
)

func (c class) String() string {
	return [...]string{"lane", "idle", "dedicated", "subscription", "idle", "idle", "closing"}[c]
}

// Pool is the set of connections to one node.
type Pool struct {
	cfg    Config
	cut    context.Context // its end cuts lingering short
	cutNow context.CancelFunc

	zero Subpool // of the zero identity

	mu          sync.Mutex
	max         int
	members     map[*lane.Lane]*member
	count       [classes]int          // members by class
	subpools    map[Identity]*Subpool // subpools in use, and zero
	lanes       []*member             // class shared, of all subpools, including draining ones
	stack       []*member             // class idle, of all subpools, the last used on top
	dials       context.Context       // of all dials and switches since the last Suspend
	cancel      context.CancelFunc
	dialing     int
	goroutines  int             // goroutines that switch or check conns
	inquiring   bool            // an inquiry runs
	inquired    time.Time       // end of the last inquiry
	probing     int             // sockets of Probe
	dialsSince  time.Time       // when dialing last rose from 0
	watchers    []chan struct{} // closed at the next change
	laneLine    []*Subpool      // subpools with lane waiters, in the order of their first waiters
	waitConn    waitQueue       // of all subpools
	waiting     int             // for lanes and conns, of all subpools
	awaiting    int             // in AwaitMoving, of all subpools
	needs       []*waiter       // buffer of needsLocked
	pass        uint64          // number of the current pass over all subpools
	waiters     sync.Pool       // of *waiter
	expiry      *time.Timer     // ends waits that exceed WaitTimeout
	expiring    bool            // expiry is set
	seq         uint64
	backoff     backoff
	refusals    map[scope]*refusal // of identities; maxRefusals at most
	lastRefused scope
	wake        *time.Timer // calls serveLocked when a dial is allowed
	wakeAt      time.Time   // when wake fires; zero: it is not set
	reaper      *time.Timer
	started     bool // MinIdle applies from the first use on
	suspended   bool
	generation  int         // number of suspensions
	cutoff      *time.Timer // closes the remaining conns of a suspended generation
	closed      bool
	empty       chan struct{} // closed when the pool is closed, the ledger is empty and all events are delivered
	emptied     bool
	later       []func() // calls that unlock makes, in order
	running     int      // callers of unlock that make such calls now
	statistic   counters
}

// counters never decrease.
type counters struct {
	dials, dialFailures, closed, failedLanes uint64
	waits, failedWaits, refused              uint64
	waited, longestWait                      time.Duration
	leaks, switches                          uint64
}

// New returns a pool. It opens no connection.
func New(cfg Config) *Pool {
	p := &Pool{cfg: cfg, max: cfg.Max, members: map[*lane.Lane]*member{}, empty: make(chan struct{})}
	p.zero.init(p, Identity{})
	p.subpools, p.refusals = map[Identity]*Subpool{}, map[scope]*refusal{}
	p.enlistLocked(&p.zero)
	p.suspended = cfg.Suspended
	p.newDialsLocked()
	p.cut, p.cutNow = context.WithCancel(context.Background())
	p.backoff.init(&cfg)
	p.mu.Lock()
	p.startReaperLocked()
	p.unlock()
	return p
}

// placesTakenLocked returns the number of places taken: the sockets that the server may count.
func (p *Pool) placesTakenLocked() int { return len(p.members) + p.dialing + p.probing }

// liveLocked returns the number of usable conns.
func (p *Pool) liveLocked() int { return len(p.members) - p.count[closing] }

// moveLocked changes a member's class.
func (p *Pool) moveLocked(c *member, to class) {
	p.count[c.class]--
	c.subpool.count[c.class]--
	c.subpool.count[to]++
	if to == closing {
		c.was = c.class
	}
	c.class = to
	p.count[to]++
	if to == closing {
		p.forgetLocked(c.subpool)
	}
}

// Shared is Subpool.Shared of the zero identity.
func (p *Pool) Shared(ctx context.Context) (*lane.Lane, error) { return p.zero.Shared(ctx) }

// Acquire is Subpool.Acquire of the zero identity.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) { return p.zero.Acquire(ctx) }

// AcquireSubscriber is Subpool.AcquireSubscriber of the zero identity.
func (p *Pool) AcquireSubscriber(ctx context.Context) (*Conn, error) {
	return p.zero.AcquireSubscriber(ctx)
}

// Stats is a snapshot of a pool and its counters. A conn that switches identity, or is checked before a lease, counts
// as dialing.
type Stats struct {
	Addr                                     string
	Max, Dialing, Lanes, Idle, Dedicated     int
	Subscribed, Closing, Waiting, RepliesDue int
	Dials, DialFailures, Closed, FailedLanes uint64
	Waits, FailedWaits                       uint64
	Refused                                  uint64 // callers that received the server's refusal of their identity
	Waited, LongestWait                      time.Duration
	Leaks, IdentitySwitches                  uint64
	Subpools                                 int   // identities with conns or waiters
	LastDialError                            error // last failed dial to the node
	LastRefusal                              error // last refusal of an identity
}

// Sockets returns how many places of the bound are taken: the sockets that the server may count.
func (s *Stats) Sockets() int {
	return s.Dialing + s.Lanes + s.Idle + s.Dedicated + s.Subscribed + s.Closing
}

// Add adds the numbers of another pool.
func (s *Stats) Add(o *Stats) {
	for _, p := range []struct{ sum, one *int }{
		{&s.Dialing, &o.Dialing}, {&s.Lanes, &o.Lanes}, {&s.Idle, &o.Idle}, {&s.Dedicated, &o.Dedicated},
		{&s.Subscribed, &o.Subscribed}, {&s.Closing, &o.Closing}, {&s.Waiting, &o.Waiting}, {&s.RepliesDue, &o.RepliesDue},
		{&s.Subpools, &o.Subpools},
	} {
		*p.sum += *p.one
	}
	for _, p := range []struct{ sum, one *uint64 }{
		{&s.Dials, &o.Dials}, {&s.DialFailures, &o.DialFailures}, {&s.Closed, &o.Closed}, {&s.FailedLanes, &o.FailedLanes},
		{&s.Leaks, &o.Leaks}, {&s.IdentitySwitches, &o.IdentitySwitches}, {&s.Waits, &o.Waits}, {&s.FailedWaits, &o.FailedWaits}, {&s.Refused, &o.Refused},
	} {
		*p.sum += *p.one
	}
	s.Waited += o.Waited
	s.LongestWait = max(s.LongestWait, o.LongestWait)
	if o.LastDialError != nil {
		s.LastDialError = o.LastDialError
	}
	if o.LastRefusal != nil {
		s.LastRefusal = o.LastRefusal
	}
}

// Stats returns a snapshot. It takes the pool's lock.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.statistic
	due := 0
	for _, c := range p.lanes {
		due += max(0, c.lane.Depth())
	}
	subpools := len(p.subpools)
	if !p.zero.usedLocked() {
		subpools--
	}
	return Stats{
		Addr: p.cfg.Addr, Max: p.max, Dialing: p.dialing + p.count[preparing] + p.probing, Lanes: p.count[shared], Idle: p.count[idle] + p.count[doubted],
		Dedicated: p.count[dedicated], Subscribed: p.count[subscribed], Closing: p.count[closing],
		Waiting: p.waiting + p.awaiting, RepliesDue: due, Subpools: subpools,
		Dials: s.dials, DialFailures: s.dialFailures, Closed: s.closed, FailedLanes: s.failedLanes,
		Waits: s.waits, FailedWaits: s.failedWaits, Waited: s.waited, LongestWait: s.longestWait,
		Refused: s.refused, Leaks: s.leaks, IdentitySwitches: s.switches,
		LastDialError: p.backoff.last, LastRefusal: p.lastRefusalLocked(),
	}
}

// stateLocked describes the pool for errors.
func (p *Pool) stateLocked() string {
	s := fmt.Sprintf("limit %d: %d lanes, %d in use, %d subscriptions, %d idle, %d dialing, %d closing; %d waiting",
		p.max, p.count[shared], p.count[dedicated], p.count[subscribed], p.count[idle]+p.count[doubted], p.dialing+p.count[preparing],
		p.count[closing], p.waiting+p.awaiting)
	if p.dialing > 0 {
		s += fmt.Sprintf("; dialing for %v", time.Since(p.dialsSince).Round(time.Millisecond))
	}
	if p.backoff.last != nil {
		s += "; last dial failed: " + p.backoff.last.Error()
	}
	return s
}

// Resize changes the bound. If n is lower, it closes idle conns at once, drains lanes down to one, and closes leased
// conns when they are returned.
func (p *Pool) Resize(n int) {
	p.mu.Lock()
	p.max = n
	p.serveLocked()
	p.unlock()
}
