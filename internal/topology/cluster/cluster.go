// Package cluster decides which nodes own the slots of a Redis Cluster. It is a pure state machine: a driver passes
// events with their times to Step and performs the returned actions.
//
// The package does no I/O, starts no goroutines, sets no timers and reads no clock. Every decision can be repeated
// from a transcript. It does not choose nodes for commands and does not follow redirects.
//
// The map comes from the answers of nodes to CLUSTER INFO and CLUSTER SLOTS. An answer counts if its cluster_state is
// ok and its cluster_current_epoch is not below the last accepted one. A MOVED reply patches the map at once. Equal
// epochs do not prove that an answer is newer than a patch, so a patch outlives answers that contradict it for
// patchFor.
package cluster

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// patchFor is how long a patch outlives answers that contradict it. Nodes inform each other of a new owner within
	// milliseconds, unless one of them is isolated.
	patchFor = 2 * time.Second

	// lowerAfter is how long all answers must have an epoch below the last accepted one until the highest of them
	// counts: the node with the higher epoch left the cluster before others learned of it. An isolated primary cannot
	// wait so long: its state becomes fail after cluster-node-timeout, 15 s by default.
	lowerAfter = time.Minute

	maxTries  = 3  // maximum number of primaries, and of replicas, that one round queries
	maxSilent = 2  // number of primaries without an answer in time after which a round queries the seeds
	maxSeeds  = 16 // maximum number of addresses of seeds that one round queries
	maxFresh  = 4  // maximum number of nodes that a round queries first
	maxAsked  = 64 // maximum number of nodes that ASK replies added
)

// Config configures a Machine. Times of 0 have defaults.
type Config struct {
	Seeds []string // host:port, in order of preference
	TLS   bool     // connections use TLS; only for the texts of errors, because nodes announce the port of this kind

	// MapAddr maps an address that a node reports, such as behind NAT. It must be pure. nil: no mapping. Seeds are
	// never mapped.
	MapAddr func(string) string

	Poll         time.Duration // interval of queries while all is well; default 30 s
	QueryTimeout time.Duration // limit of each query and each lookup of the seeds; default 1 s
	MinInterval  time.Duration // minimum time between queries, except after one that found no usable map; default 1 s
	MaxInterval  time.Duration // maximum of the interval that doubles while patches prove right; default 10 s
	Jitter       time.Duration // random delay of a query; default 500 ms

	Rand *rand.Rand // for random delays; nil: a random seed
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&c.Poll, 30*time.Second)
	set(&c.QueryTimeout, time.Second)
	set(&c.MinInterval, time.Second)
	set(&c.MaxInterval, max(10*time.Second, c.MinInterval))
	set(&c.Jitter, 500*time.Millisecond)
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return c
}

// Machine is the state of one cluster. It is not safe for concurrent use.
type Machine struct {
	cfg     Config
	started bool
	now     time.Duration
	seq     uint64 // the last Seq
	out     []Action
	wakeAt  time.Duration // the last returned Wake

	current *Map
	epoch   uint64        // of the last accepted answer
	changed [Slots]uint64 // by slot: version of the map that changed its owner
	patches map[int]*patch
	asked   map[string]ask // nodes that ASK replies named

	// promoted holds the replicas that MOVED replies promoted since the last accepted answer, with their old
	// primaries.
	promoted map[string]string

	round    round
	turn     int // number of rounds
	queried  time.Duration
	interval time.Duration            // between queries that MOVED causes
	dueMoved due                      // the round that MOVED replies request, interval after the last query or later
	dueOther due                      // the round that other causes request, MinInterval after the last query or later
	pollAt   time.Duration            // the round without a cause
	fresh    []Node                   // nodes that the next round queries first
	doubts   map[string]time.Duration // time of the last evidence that a node is unreachable or loading

	belowSince time.Duration // time of the first answer with a lower epoch since the last accepted one
	below      bool
	lost       string // text of the last Lost; empty after Found
	err        *Error
	view       View // its counters and the data on the last change
}

// due is the earliest time of a requested round.
type due struct {
	set bool
	at  time.Duration
}

// New returns a machine that has not started. It copies c.Seeds and removes duplicates.
func New(c Config) *Machine {
	m := &Machine{
		cfg: c.withDefaults(), wakeAt: -1, patches: map[int]*patch{}, promoted: map[string]string{}, asked: map[string]ask{},
		doubts: map[string]time.Duration{},
	}
	m.interval = m.cfg.MinInterval
	m.cfg.Seeds = nil
	for _, addr := range c.Seeds {
		if !slices.Contains(m.cfg.Seeds, addr) {
			m.cfg.Seeds = append(m.cfg.Seeds, addr)
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
	m.settle()
	if at := m.nextWake(); at != m.wakeAt {
		m.wakeAt = at
		m.do(Wake{At: at})
	}
	return m.out
}

func (m *Machine) handle(e Event) {
	switch e := e.(type) {
	case Resolved:
		m.resolved(e)
	case Answer:
		m.answered(e)
	case Moved:
		m.moved(e)
	case Ask:
		m.ask(e)
	case Evidence:
		m.evidence(e)
	}
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) nextSeq() uint64 {
	m.seq++
	return m.seq
}

func (m *Machine) jitter() time.Duration {
	return time.Duration(m.cfg.Rand.Int64N(int64(m.cfg.Jitter) + 1))
}

// nextWake returns the earliest time at which the machine must act without an event.
func (m *Machine) nextWake() time.Duration {
	if m.round.active {
		return m.round.flight.due
	}
	return m.nextRound()
}

// publish replaces the map.
func (m *Machine) publish(next *Map, cause string) {
	before := m.current
	if before == nil {
		before = &Map{}
	}
	for _, slot := range before.changes(next) {
		m.changed[slot] = next.Version
	}
	m.current = next
	m.view.Changed, m.view.Cause = m.now, cause
	m.do(NewMap{Map: next, Cause: cause})
}

// report emits a Lost, unless its text equals that of the last one. nil emits a Found after a Lost.
func (m *Machine) report(err *Error) {
	m.err = err
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == m.lost {
		return
	}
	m.lost = text
	if err == nil {
		m.do(Found{})
		return
	}
	m.do(Lost{Err: err})
}
