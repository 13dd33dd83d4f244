// Package readers keeps track of which replicas of a cluster may take reads. It asks them for their roles, by the rules of
// package replica: all regularly, and those on which a connection broke until they answer that they are healthy.
//
// It does not choose among the usable replicas, and does not know which slots they have.
//
// Run is the only goroutine that lasts. The queries that it starts have ended when it returns.
package readers

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/replica"
	"github.com/seed-2b0d76a6/respool/resp"
)

const (
	// checkEvery is the interval of the queries of a replica while all is well.
	checkEvery = 10 * time.Second

	// Pauses between two queries of a replica that is not healthy. They double, and each is drawn from its upper half.
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// Config configures a Set.
type Config struct {
	// MaxLag excludes replicas that lack writes older than this; 0: no limit. All nodes are asked every half of it, and a
	// replica is excluded until its first answer.
	MaxLag time.Duration
	// Ask sends ROLE to a node and waits for the reply. ctx limits it.
	Ask func(ctx context.Context, addr string) (resp.Value, error)
	// Timeout limits each query.
	Timeout time.Duration
	// Changed is called when other replicas are usable. It must not block.
	Changed func()
}

// Shard is a primary with its replicas, by their addresses.
type Shard struct {
	Primary  string
	Replicas []string
}

// Excluded is a replica that takes no reads, and the reason.
type Excluded struct{ Addr, Reason string }

// Set is the replicas of a cluster. All methods are safe for concurrent use.
type Set struct {
	cfg     Config
	began   time.Time
	wake    chan struct{} // capacity 1
	queries sync.WaitGroup

	mu    sync.Mutex
	nodes map[string]*node
}

// node is a replica, or with MaxLag a primary.
type node struct {
	primary string // of a replica; empty: the node is a primary
	health  replica.Health
	offsets replica.Offsets // of a primary

	asking bool
	askAt  time.Time
	fails  int // queries without a healthy answer since the last one
	doubts int // an answer to a query from before the last doubt does not count
}

// New returns a set without replicas.
func New(cfg Config) *Set {
	return &Set{cfg: cfg, began: time.Now(), wake: make(chan struct{}, 1), nodes: map[string]*node{}}
}

// Use sets the primaries and their replicas. The set keeps what it knows about those that it has already.
func (s *Set) Use(shards []Shard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.nodes
	s.nodes = map[string]*node{}
	keep := func(addr, primary string) {
		n := old[addr]
		if n == nil || (n.primary == "") != (primary == "") {
			n = &node{askAt: time.Now()}
			if s.cfg.MaxLag == 0 {
				n.askAt = n.askAt.Add(rand.N(checkEvery))
			}
		}
		n.primary = primary
		s.nodes[addr] = n
	}
	for _, shard := range shards {
		if s.cfg.MaxLag > 0 {
			keep(shard.Primary, "")
		}
		for _, addr := range shard.Replicas {
			keep(addr, shard.Primary)
		}
	}
	s.rouse()
}

// Doubt excludes a replica until it answers that it is healthy, and for at least a time.
func (s *Set) Doubt(addr string, least time.Duration) {
	s.mu.Lock()
	n := s.nodes[addr]
	news := n != nil && n.primary != "" && n.health.Doubt()
	if news {
		n.fails, n.askAt = 0, time.Now().Add(least)
		n.doubts++
	}
	s.mu.Unlock()
	if news {
		s.rouse()
		s.cfg.Changed()
	}
}

// Usable reports whether a replica may take reads.
func (s *Set) Usable(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[addr]
	return n != nil && n.primary != "" && s.reason(n) == ""
}

// Excluded returns the replicas that take no reads, sorted by address.
func (s *Set) Excluded() (list []Excluded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, n := range s.nodes {
		if n.primary == "" {
			continue
		}
		if reason := s.reason(n); reason != "" {
			list = append(list, Excluded{addr, reason})
		}
	}
	slices.SortFunc(list, func(a, b Excluded) int { return strings.Compare(a.Addr, b.Addr) })
	return list
}

// reason returns why a replica takes no reads, or "".
func (s *Set) reason(n *node) string {
	if reason := n.health.Reason(s.cfg.MaxLag > 0); reason != "" {
		return reason
	}
	return n.health.Trouble()
}

// Run asks the nodes at their times until ctx ends.
func (s *Set) Run(ctx context.Context) {
	defer s.queries.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(s.askDue(ctx))
	}
}

func (s *Set) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// askDue starts the queries that are due. It returns the time until the next one.
func (s *Set) askDue(ctx context.Context) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, wait := time.Now(), checkEvery
	for addr, n := range s.nodes {
		switch left := n.askAt.Sub(now); {
		case n.asking:
		case left > 0:
			wait = min(wait, left)
		default:
			n.asking = true
			doubts := n.doubts
			s.queries.Go(func() { s.ask(ctx, addr, n, doubts) })
		}
	}
	return wait
}

// ask asks one node.
func (s *Set) ask(ctx context.Context, addr string, n *node, doubts int) {
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	v, err := s.cfg.Ask(limited, addr)
	if ctx.Err() != nil {
		return
	}
	role := replica.Role{}
	if err == nil {
		role = replica.RoleOf(v)
	} else if role.Problem = "it gave no answer"; topology.LocalError(err) != nil {
		role.Problem = err.Error()
	}
	if s.answered(n, doubts, role) {
		s.cfg.Changed()
	}
	s.rouse()
}

// answered processes the answer of a node. It reports whether other replicas are usable.
func (s *Set) answered(n *node, doubts int, role replica.Role) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(s.began)
	if n.asking = false; doubts != n.doubts {
		return false
	}
	n.askAt = time.Now().Add(s.interval())
	if n.primary == "" {
		if role.Is("master") {
			n.offsets.Add(now, role.Offset)
		}
		return false
	}
	before := s.reason(n)
	var lag time.Duration
	if p := s.nodes[n.primary]; p != nil {
		lag = p.offsets.Lag(now, role.Offset)
	}
	n.health.Answered(role, lag, s.cfg.MaxLag)
	after := s.reason(n)
	if after == "" {
		n.fails = 0
	} else {
		pause := min(firstPause<<min(n.fails, 10), lastPause)
		n.fails++
		n.askAt = time.Now().Add(min(s.interval(), pause/2+rand.N(pause/2)))
	}
	return (before == "") != (after == "")
}

// interval returns the interval of the queries of healthy nodes.
func (s *Set) interval() time.Duration {
	if s.cfg.MaxLag == 0 {
		return checkEvery
	}
	return min(checkEvery, max(s.cfg.MaxLag/2, 100*time.Millisecond))
}
