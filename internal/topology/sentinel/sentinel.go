// Package sentinel decides who is primary and who is replica of a service that
// Redis Sentinels watch over. It is a pure state machine: a driver tells it what
// happened and when, by Step, and does what the returned actions say.
//
// The package does no I/O, starts no goroutines, sets no timers and reads no clock, so
// that every decision can be repeated from a transcript. It does not choose a node for
// a command, and it knows nothing of connections to data nodes but what the driver
// reports of them.
//
// What it believes: a sentinel's word about a primary is a claim. It counts when the sentinel
// flags the node as a master that is not down, knows enough other sentinels, and its config epoch is
// newer than the one accepted last. Then the node itself is asked, and only if it
// says that it is a master a new epoch begins. The node's word alone, or that of a
// push alone, begins nothing.
package sentinel

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	maxSentinels = 16 // known at a time, unless more are configured
	maxReplicas  = 64 // known at a time
	maxTargets   = 4  // addresses under verification at a time
	maxSamples   = 32 // offsets of the primary that are remembered
	maxTries     = 20 // ROLE queries of one target that it may deny

	// disputeFor is how long a majority has to stand by a claim that is not newer than what
	// was accepted last. Sentinels tell each other of a failover within 2 s.
	disputeFor   = 5 * time.Second
	disputePause = time.Second
)

// Config is what a Machine needs to know. Times that are 0 get their defaults.
type Config struct {
	Name      string   // of the service
	Sentinels []string // host:port, in the order in which they are tried
	MinOther  int      // other sentinels that the one answering must know
	Replicas  bool     // whether replicas are wanted at all

	// MaxReplicaLag leaves out replicas that lack what the primary had written so long
	// ago. 0 means no limit; otherwise primary and replicas are asked for their offsets
	// every half of it.
	MaxReplicaLag time.Duration

	Poll         time.Duration // between two looks at a sentinel while all is well, drawn from 0.75 to 1.25 of it; 10 s
	QueryTimeout time.Duration // for each query and each dial; 1 s
	BackoffBase  time.Duration // the first pause after a failure, 20 ms; pauses are drawn from their upper half
	BackoffCap   time.Duration // to which pauses double; 1 s

	// HoldFor bounds how long writes are held while a replica is promoted. 0: they are not.
	HoldFor time.Duration

	// MapAddr gives the address to use for one that a sentinel tells. It must be
	// pure. nil leaves them as they are. Configured addresses are never mapped.
	MapAddr func(string) string

	Rand *rand.Rand // for jitter; nil takes a seed at random
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
	cfg     Config
	started bool
	now     time.Duration
	seq     uint64 // the last number given to a dial or a query
	out     []Action
	wakeAt  time.Duration // the last Wake that was given out

	peers  []*peer // in the order in which they are tried
	asking [kinds]int
	sweep  sweep
	pollAt time.Duration // when the next sweep begins
	fails  int           // sweeps in a row without any use

	epoch       uint64
	primary     string // accepted last, as the sentinels tell it
	configEpoch int64  // under which it was accepted
	known       bool   // whether primary is believed to be primary now
	abandoned   bool   // it is not, since a sentinel told of another one
	doubt       doubt
	settled     time.Duration // when the last doubt was
	heldUntil   time.Duration // 0: writes are not held
	holdAgain   time.Duration // not before
	targets     []*target
	dispute     *dispute

	replicas replicas

	cause     string // why a primary is looked for, for the next epoch
	changed   time.Duration
	last      string // the cause of the last change
	report    string // the text of the last Lost
	malformed uint64
}

// New gives a machine that has not been started. It keeps its own copy of
// c.Sentinels, and leaves out those that are there twice.
func New(c Config) *Machine {
	m := &Machine{cfg: c.withDefaults(), wakeAt: -1}
	for _, addr := range c.Sentinels {
		if m.peerAt(addr) == nil {
			m.peers = append(m.peers, &peer{addr: addr, configured: true})
		}
	}
	return m
}

// Step takes an event that happened at now, measured from any fixed moment, and
// gives what is to be done about it, in this order. Time that runs backwards
// stands still. Events that answer nothing that was asked, or that come before Start, do nothing.
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

// settle brings what is under way in line with what is wanted.
func (m *Machine) settle() {
	// What a sweep or a dispute decides may open and close links, and that in turn may
	// end a sweep. Each pass takes a peer off a queue, so that there are few.
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

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) nextSeq() uint64 {
	m.seq++
	return m.seq
}

// pause gives the pause after n failures in a row.
func (m *Machine) pause(n int) time.Duration {
	d := m.cfg.BackoffCap
	if n < 20 {
		d = min(d, m.cfg.BackoffBase<<n)
	}
	return d/2 + time.Duration(m.cfg.Rand.Int64N(int64(d/2)+1))
}

// pollPause gives the time until the next look at a sentinel.
func (m *Machine) pollPause() time.Duration {
	return m.cfg.Poll*3/4 + time.Duration(m.cfg.Rand.Int64N(int64(m.cfg.Poll/2)+1))
}

// nextWake is the earliest time at which something is to be done without an event.
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
