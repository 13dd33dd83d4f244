// Package sentinel decides which nodes are the primary and the replicas of a service that Redis Sentinels monitor. It
// is a pure state machine: a driver passes events with their times to Step and performs the returned actions.
//
// The package does no I/O, starts no goroutines, sets no timers and reads no clock. Every decision can be repeated
// from a transcript. It does not choose nodes for commands. It knows connections to data nodes only from the driver's
// events.
//
// A sentinel's answer about a primary is a claim. It counts if the sentinel flags the node as a master that is not
// down, knows enough other sentinels, and reports a newer config epoch than the last accepted one. Then the machine
// queries the node. A new epoch begins only if the node answers that it is a master. The node's answer alone, or a
// push alone, does not begin one.
package sentinel

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	maxSentinels = 16 // maximum number, unless more are configured
	maxReplicas  = 64 // maximum number
	maxTargets   = 4  // maximum number of addresses under verification
	maxTries     = 20 // maximum number of ROLE queries of one target

	// disputeFor is how long a majority must repeat a claim that is not newer than the last accepted one. Sentinels
	// inform each other of a failover within 2 s.
	disputeFor   = 5 * time.Second
	disputePause = time.Second
)

// Config configures a Machine. Times of 0 have defaults.
type Config struct {
	Name      string   // of the service
	Sentinels []string // host:port, in order of preference
	MinOther  int      // minimum number of other sentinels that a sentinel must know
	Replicas  bool     // find replicas as well

	// MaxReplicaLag excludes replicas that lack writes older than this. 0: no limit; otherwise the machine queries
	// the primary and the replicas for their offsets every half of it.
	MaxReplicaLag time.Duration

	Poll         time.Duration // interval of queries while all is well, random from 0.75 to 1.25 of it; default 10 s
	QueryTimeout time.Duration // limit of each query and each dial; default 1 s
	BackoffBase  time.Duration // first pause after a failure, default 20 ms; pauses are drawn from their upper half
	BackoffCap   time.Duration // longest pause; default 1 s

	// HoldFor limits how long writes are held back while a replica is promoted. 0: never held back.
	HoldFor time.Duration

	// MapAddr maps an address that a sentinel reports. It must be pure. nil: no mapping. Configured addresses are
	// never mapped.
	MapAddr func(string) string

	Rand *rand.Rand // for random pauses; nil: a random seed
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&c.Poll, 10*time.Second)
	set(&c.QueryTimeout, time.Second)
	set(&c.BackoffBase, 20*time.Millisecond)
	set(&c.BackoffCap, max(time.Second, c.BackoffBase))
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.MapAddr == nil {
		c.MapAddr = func(addr string) string { return addr }
	}
	return c
}

// Machine is the state of one service. It is not safe for concurrent use.
type Machine struct {
	step
	started bool
	wakeAt  time.Duration // the last returned Wake

	peers  roster
	asking [kinds]int
	sweep  sweep
	pollAt time.Duration // start of the next sweep
	fails  int           // consecutive sweeps without a usable sentinel

	epoch       uint64
	primary     string // the last accepted one, as reported by the sentinels
	configEpoch int64  // its config epoch
	known       bool   // primary is the current primary
	abandoned   bool   // it is not, because a sentinel named another one
	doubt       doubt
	settled     time.Duration // time of the last doubt
	heldUntil   time.Duration // 0: writes are not held back
	holdAgain   time.Duration // earliest time of the next hold
	targets     targets
	dispute     *dispute

	replicas replicas

	cause     string // cause of the search for a primary, for the next epoch
	changed   time.Duration
	last      string // cause of the last change
	report    string // text of the last Lost
	malformed uint64
}

// New returns a machine that has not started. It copies c.Sentinels and removes duplicates.
func New(c Config) *Machine {
	m := &Machine{step: step{cfg: c.withDefaults()}, wakeAt: -1}
	for _, addr := range c.Sentinels {
		if m.peers.at(addr) == nil {
			m.peers = append(m.peers, &peer{addr: addr, configured: true})
		}
	}
	return m
}

// Step processes an event at time now, measured from any fixed moment. It returns the actions, in order. Time that
// runs backwards counts as unchanged. It ignores events that answer nothing, and events before Start.
func (m *Machine) Step(now time.Duration, e Event) []Action {
	m.now = max(m.now, now)
	m.out = nil
	if _, ok := e.(Start); ok && !m.started {
		m.started = true
		m.pollAt = m.now
	}
	if !m.started {
		return nil
	}
	m.handle(e)
	m.expire()
	m.expireHold()
	m.settle()
	return m.out
}

func (m *Machine) handle(e Event) {
	switch e := e.(type) {
	case SentinelUp:
		m.linkUp(e)
	case SentinelDown:
		m.linkDown(e)
	case Answer:
		m.answered(e)
	case Push:
		m.pushed(e)
	case Evidence:
		m.evidence(e)
	}
}

// settle adapts links and queries to the current needs.
func (m *Machine) settle() {
	// Decisions of a sweep or dispute may open and close links, which may end a sweep. Each pass removes a peer from
	// a queue, so the number of passes is small.
	for range 2*len(m.peers) + 4 {
		before := len(m.out)
		m.settleSweep()
		m.settleDispute()
		m.probeTargets()
		m.probePrimary()
		m.probeReplicas()
		m.settleLinks()
		m.settleQueries()
		if len(m.out) == before {
			break
		}
	}
	m.tellReplicas()
	if at := m.nextWake(); at != m.wakeAt {
		m.wakeAt = at
		m.do(Wake{At: at})
	}
}

// nextWake returns the earliest time at which the machine must act without an event.
func (m *Machine) nextWake() time.Duration {
	var times []time.Duration
	add := func(at time.Duration) {
		if at > m.now {
			times = append(times, at)
		}
	}
	for _, p := range m.peers {
		for _, at := range m.times(p) {
			add(at)
		}
	}
	if !m.sweep.active {
		add(m.pollAt)
	}
	add(m.sweep.hedgeAt)
	if m.dispute != nil {
		add(m.dispute.nextAt)
	}
	for _, t := range m.targets {
		add(t.probe.time())
	}
	add(m.doubt.probe.time())
	add(m.heldUntil)
	for _, at := range m.replicas.times() {
		add(at)
	}
	if len(times) == 0 {
		return m.now + m.cfg.Poll
	}
	return slices.Min(times)
}
