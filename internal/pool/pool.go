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
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/budget"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// The errors of a pool, in addition to those of package wire.
var (
	ErrClosed    = errors.New("the client is closed")
	ErrExhausted = errors.New("no connection was free")
)

// Destination is where the connections of a pool lead.
type Destination struct {
	Addr string
	// Dial opens a connection of an identity. ctx limits it. The end of cut cuts the cleanup after a failed dial
	// short.
	Dial func(ctx, cut context.Context, id Identity) (*wire.Conn, error)
}

// Config configures a pool. The caller sets every field, including the defaults.
type Config struct {
	Addr string // Move changes it
	// Dial is Destination.Dial. Move and Renew change it.
	Dial func(ctx, cut context.Context, id Identity) (*wire.Conn, error)
	// SwitchIdentity switches a conn to another identity. The conn has no pending reply before and after it, and
	// nobody else uses it. ctx ends with Suspend and Close. After an error the conn is closed. nil: the pool closes
	// such a conn and dials another one.
	SwitchIdentity func(ctx context.Context, l *lane.Lane, from, to Identity) error
	// Restore returns a conn in an unknown state to its identity. The conn has no pending reply before and after it.
	// ctx ends with Suspend and Close. After an error the conn is closed. nil: such conns are always closed.
	Restore func(ctx context.Context, l *lane.Lane, k Identity) error
	Lane    lane.Config // the pool sets OnDead, OnClosed and OnSuspect

	Max         int            // sockets
	Budget      *budget.Budget // of the sockets of several pools; nil: none
	Lanes       int            // lanes, of each identity
	MinIdle     int            // idle conns kept ready, of the zero identity
	MaxWaiters  int            // 0: no limit
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
	// OnDisowned receives users, other than that of the zero identity, that have no conn, when the server refuses one.
	// Wanted reports whether a user has clients: then the pool requests a conn after the server has closed the user's
	// last one. nil: neither. They must not block.
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
	dialTo atomic.Pointer[Destination]
	cut    context.Context // its end cuts lingering short
	cutNow context.CancelFunc

	zero    Subpool // of the zero identity
	readers Subpool // of the same user, for reads from a replica

	waiters   sync.Pool    // of *waiter
	mostLanes atomic.Int32 // laneLimit, for callers without the lock

	mu sync.Mutex

	ledger

	// Who waits, and what may be dialed for them.
	line            waitLine
	awaiting        int             // calls of AwaitMoving, of all subpools
	awaitingCallers int             // of awaiting, those that the statistics count
	watchers        []chan struct{} // closed at the next change
	expiry          alarm           // ends waits that exceed WaitTimeout
	refusals        refusals
	users           userChecks
	wake            alarm     // serves again when a dial may be allowed
	needs           []*waiter // buffer of needsLocked
	pass            uint64    // number of the current pass over all subpools
	started         bool      // MinIdle applies from the first use on

	// The goroutines and timers.
	dials      context.Context // of all dials and switches since the last Suspend
	cancel     context.CancelFunc
	goroutines int // that switch or check conns
	inquiry    inquiry
	reaper     *time.Timer
	calls      callQueue // made by unlock

	suspended  bool
	generation int    // number of suspensions
	retired    [2]int // number of calls of Retire that met dials in flight, by mode
	cutoff     alarm  // closes the remaining conns of a suspended generation
	closed     bool
	empty      chan struct{} // closed when the pool is closed, the ledger is empty and all events are delivered
	emptied    bool

	// The places that the pool has of a budget.
	share    *budget.Share // nil: no budget
	terms    budget.Terms
	reported budget.State
	wanting  bool // a caller waits for another place
	unserved int  // callers without a conn
	optional bool // no place is guaranteed: see Guarantee

	statistic counters
}

// New returns a pool. It opens no connection.
func New(cfg Config) *Pool {
	p := &Pool{cfg: cfg, empty: make(chan struct{})}
	p.dialTo.Store(&Destination{cfg.Addr, cfg.Dial})
	p.ledger.init(&cfg)
	p.zero.init(p, Identity{})
	p.readers.init(p, Identity{Replica: true})
	p.refusals.init(cfg.BackoffBase)
	p.users.init()
	p.inquiry.pool = p
	p.expiry.call, p.wake.call, p.cutoff.call = p.expire, p.serveAgain, p.cutOff
	p.enlistLocked(&p.zero)
	p.enlistLocked(&p.readers)
	p.suspended = cfg.Suspended
	p.newDialsLocked()
	p.joinBudget()
	p.cut, p.cutNow = context.WithCancel(context.Background())
	p.mu.Lock()
	p.startReaperLocked()
	p.unlock()
	return p
}

// Shared is Subpool.Shared of the zero identity.
func (p *Pool) Shared(ctx context.Context) (*lane.Lane, error) { return p.zero.Shared(ctx) }

// Acquire is Subpool.Acquire of the zero identity.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) { return p.zero.Acquire(ctx) }

// AcquireSubscriber is Subpool.AcquireSubscriber of the zero identity.
func (p *Pool) AcquireSubscriber(ctx context.Context) (*Conn, error) {
	return p.zero.AcquireSubscriber(ctx)
}

// Resize changes the bound. If n is lower, it closes idle conns at once, drains lanes down to one, and closes leased
// conns when they are returned.
func (p *Pool) Resize(n int) {
	p.mu.Lock()
	p.limit = n
	p.applyLimitLocked()
	p.serveLocked()
	p.unlock()
}

// applyLimitLocked sets how many places may be taken now.
func (p *Pool) applyLimitLocked() {
	if p.allowed = p.limit - p.claims; p.share != nil {
		p.applyTermsLocked(p.share.Terms())
	}
}

// SetLanes changes the maximum number of lanes of each identity. Lanes beyond it drain, and become idle conns.
func (p *Pool) SetLanes(n int) {
	p.mu.Lock()
	defer p.unlock()
	p.laneLimit = n
	for _, c := range p.lanes {
		if !c.draining && c.subpool.open > n {
			p.drainLocked(c, "")
		}
	}
	for _, g := range p.subpools {
		g.laneWanted = min(g.laneWanted, max(0, n-g.open))
	}
	p.serveLocked()
}
