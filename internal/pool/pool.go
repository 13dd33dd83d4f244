// Package pool keeps the connections to one node within a bound. Its ledger
// counts every socket from before its dial until the server has closed its
// side; its lanes are shared by all callers, its dedicated conns are lent to
// one at a time, and those who wait are served in order by direct hand-off.
// Within the one bound, conns work for several keys: users, databases and
// protocols, which take turns where there are not enough conns for all.
// It knows nothing of commands, nor of which node is the right one.
//
// A pool owns its dials, its recasts, its checks, its timers and its lanes; all have ended
// when Close returns.
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

// The errors of a pool, beside those of the wire.
var (
	ErrClosed    = errors.New("the client is closed")
	ErrExhausted = errors.New("no connection was free")
)

// Config of a pool. Every field is set: defaults are the client's.
type Config struct {
	Addr string
	// Dial makes a connection of a key under ctx; the end of cut cuts short
	// what it still does to leave nothing behind after it failed.
	Dial func(ctx, cut context.Context, key Identity) (*wire.Conn, error)
	// SwitchIdentity turns a clean conn, which nobody else uses and on which nothing is
	// due, into one of another key, and leaves nothing due. ctx ends with
	// Suspend and Close. After an error the conn is closed. nil: conns are
	// never recast, but closed, and others dialed in their place.
	SwitchIdentity func(ctx context.Context, l *lane.Lane, from, to Identity) error
	// Restore makes a conn in a state that nobody knows, on which nothing is due, one of its key again,
	// and leaves nothing due. ctx ends with Suspend and Close. After an error the conn is closed. nil: such conns
	// are always closed.
	Restore func(ctx context.Context, l *lane.Lane, k Identity) error
	Lane    lane.Config // OnDead and OnClosed are the pool's

	Max         int // sockets
	Lanes       int // shared ones among them, at most, of each key
	MinIdle     int // dedicated ones kept ready, of the zero key
	MaxWaiters  int // 0: no limit
	WaitTimeout time.Duration
	IdleTimeout time.Duration // 0: never
	MaxLifetime time.Duration // 0: for ever
	HealthCheck time.Duration // conns that were quiet for so long are pinged; 0: never
	StaleAfter  time.Duration // idle conns that were quiet for so long are pinged before they are lent; 0: never

	DialParallel int           // dials under way at most
	DialRate     float64       // dials a second, with a burst of Max
	BackoffBase  time.Duration // after the first failure in a row
	BackoffCap   time.Duration // at most

	LeakThreshold time.Duration // 0: no detection
	OnEvent       func(Event)   // nil: none

	Suspended bool            // the pool takes nobody before Resume
	OnTrouble func(err error) // told of failed dials and of conns that broke; nil: none. It must not block
	// OnDisowned is told of users, other than the zero key's, whom the server refuses and who have no conn. Wanted
	// reports whether to ask the server about a user who has lost the last conn. nil: neither. They must not block.
	OnDisowned func(user string)
	Wanted     func(user string) bool
}

// class says what a slot of the ledger is used for.
type class uint8

const (
	shared class = iota
	idle
	dedicated
	subscribed
	preparing // is checked before it is lent, is restored, or becomes one of another key
	doubted   // is checked since another conn's silence casts doubt on it
	closing
	classes
)

func (c class) String() string {
	return [...]string{"lane", "idle", "dedicated", "subscription", "idle", "idle", "closing"}[c]
}

// Pool is the set of connections to one node.
type Pool struct {
	cfg    Config
	cut    context.Context // ends when lingering is no longer wanted
	cutNow context.CancelFunc

	zero Subpool // of the zero key

	mu          sync.Mutex
	max         int
	members     map[*lane.Lane]*member
	count       [classes]int          // members by class
	groups      map[Identity]*Subpool // those in use, and zero
	lanes       []*member             // class shared, of all groups, those that drain included
	stack       []*member             // class idle, of all groups, the last one used on top
	dials       context.Context       // of all dials and recasts since the last Suspend
	cancel      context.CancelFunc
	dialing     int
	errands     int             // goroutines that recast or check conns
	inquiring   bool            // one of them asks about silent lanes
	inquired    time.Time       // when that was done last
	probing     int             // sockets of Probe
	dialsSince  time.Time       // when dialing was 0 last
	watchers    []chan struct{} // closed at the next change
	laneLine    []*Subpool      // those with lane waiters, in the order of their first ones
	waitConn    waitQueue       // of all groups
	waiting     int             // for lanes and conns, of all groups
	awaiting    int             // in AwaitMoving, of all groups
	needs       []*waiter       // room for needsLocked
	pass        uint64          // tells one look at all groups from the next
	waiters     sync.Pool       // of *waiter
	expiry      *time.Timer     // of those who wait too long
	expiring    bool            // expiry is set
	seq         uint64
	backoff     backoff
	refusals    map[scope]*refusal // of identities; maxRefusals at most
	lastRefused scope
	wake        *time.Timer // serves again when a dial is allowed
	wakeAt      time.Time   // when it does; zero: it is not set
	reaper      *time.Timer
	started     bool // MinIdle is kept from the first use on
	suspended   bool
	generation  int         // how often it was suspended
	cutoff      *time.Timer // of what is left of a generation that is over
	closed      bool
	empty       chan struct{} // closed when the pool is closed, the ledger empty and all is told
	emptied     bool
	later       []func() // done by unlock, in order
	running     int      // callers of unlock that do so now
	statistic   counters
}

// counters only rise.
type counters struct {
	dials, dialFailures, closed, condemned uint64
	waits, waitsInVain, refused            uint64
	waited, longestWait                    time.Duration
	leaks, recasts                         uint64
}

// New makes a pool; it dials nothing.
func New(cfg Config) *Pool {
	p := &Pool{cfg: cfg, max: cfg.Max, members: map[*lane.Lane]*member{}, empty: make(chan struct{})}
	p.zero.init(p, Identity{})
	p.groups, p.refusals = map[Identity]*Subpool{}, map[scope]*refusal{}
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

// usedLocked is the number of slots taken: what the server may count.
func (p *Pool) usedLocked() int { return len(p.members) + p.dialing + p.probing }

// liveLocked is the number of conns that work.
func (p *Pool) liveLocked() int { return len(p.members) - p.count[closing] }

// moveLocked changes a member's class.
func (p *Pool) moveLocked(c *member, to class) {
	p.count[c.class]--
	c.group.count[c.class]--
	c.group.count[to]++
	if to == closing {
		c.was = c.class
	}
	c.class = to
	p.count[to]++
	if to == closing {
		p.forgetLocked(c.group)
	}
}

// Shared is Group.Shared for the zero key.
func (p *Pool) Shared(ctx context.Context) (*lane.Lane, error) { return p.zero.Shared(ctx) }

// Acquire is Group.Acquire for the zero key.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) { return p.zero.Acquire(ctx) }

// AcquireSubscriber is Group.AcquireSubscriber for the zero key.
func (p *Pool) AcquireSubscriber(ctx context.Context) (*Conn, error) {
	return p.zero.AcquireSubscriber(ctx)
}

// Stats is the state of a pool at one moment, and what it counted so far. A
// conn that is recast, or checked before it is lent, counts as dialing.
type Stats struct {
	Addr                                     string
	Max, Dialing, Lanes, Idle, Dedicated     int
	Subscribed, Closing, Waiting, RepliesDue int
	Dials, DialFailures, Closed, FailedLanes uint64
	Waits, FailedWaits                       uint64
	Refused                                  uint64 // callers that got the server's refusal of their identity
	Waited, LongestWait                      time.Duration
	Leaks, Recasts                           uint64
	Groups                                   int   // keys with conns or waiters
	LastDialError                            error // of the node
	LastRefusal                              error // of an identity
}

// Sockets is how many of the bound are taken: what the server may count.
func (s *Stats) Sockets() int {
	return s.Dialing + s.Lanes + s.Idle + s.Dedicated + s.Subscribed + s.Closing
}

// Add takes the numbers of another pool into the sum.
func (s *Stats) Add(o *Stats) {
	for _, p := range []struct{ sum, one *int }{
		{&s.Dialing, &o.Dialing}, {&s.Lanes, &o.Lanes}, {&s.Idle, &o.Idle}, {&s.Dedicated, &o.Dedicated},
		{&s.Subscribed, &o.Subscribed}, {&s.Closing, &o.Closing}, {&s.Waiting, &o.Waiting}, {&s.RepliesDue, &o.RepliesDue},
		{&s.Groups, &o.Groups},
	} {
		*p.sum += *p.one
	}
	for _, p := range []struct{ sum, one *uint64 }{
		{&s.Dials, &o.Dials}, {&s.DialFailures, &o.DialFailures}, {&s.Closed, &o.Closed}, {&s.FailedLanes, &o.FailedLanes},
		{&s.Leaks, &o.Leaks}, {&s.Recasts, &o.Recasts}, {&s.Waits, &o.Waits}, {&s.FailedWaits, &o.FailedWaits}, {&s.Refused, &o.Refused},
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

// Stats takes a snapshot. It does not block but for the pool's lock.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.statistic
	due := 0
	for _, c := range p.lanes {
		due += max(0, c.lane.Depth())
	}
	groups := len(p.groups)
	if !p.zero.usedLocked() {
		groups--
	}
	return Stats{
		Addr: p.cfg.Addr, Max: p.max, Dialing: p.dialing + p.count[preparing] + p.probing, Lanes: p.count[shared], Idle: p.count[idle] + p.count[doubted],
		Dedicated: p.count[dedicated], Subscribed: p.count[subscribed], Closing: p.count[closing],
		Waiting: p.waiting + p.awaiting, RepliesDue: due, Groups: groups,
		Dials: s.dials, DialFailures: s.dialFailures, Closed: s.closed, FailedLanes: s.condemned,
		Waits: s.waits, FailedWaits: s.waitsInVain, Waited: s.waited, LongestWait: s.longestWait,
		Refused: s.refused, Leaks: s.leaks, Recasts: s.recasts,
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

// Resize changes the bound. Downwards it closes idle conns at once, drains
// lanes down to one, and closes lent conns as they come back.
func (p *Pool) Resize(n int) {
	p.mu.Lock()
	p.max = n
	p.serveLocked()
	p.unlock()
}
