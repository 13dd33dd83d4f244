package fakeserver

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// ClusterConfig configures a fake cluster. The zero value is three primaries without replicas.
type ClusterConfig struct {
	Primaries int    // default 3; each owns an equal range of slots
	Replicas  int    // of each primary
	Node      Config // of each node, without Unix and Answer

	// QueryDelay is how long a node waits before it replies to a query of the map: CLUSTER SLOTS,
	// SHARDS, NODES or INFO.
	QueryDelay time.Duration

	// Answer, if set, is Config.Answer of each node.
	Answer func(node int, c *Conn, args []string) (reply string, ok bool)
}

// Cluster is a fake cluster in one process. All nodes share one map, which the test changes, and one
// set of keys. A node redirects clients for slots of other nodes with MOVED. A replica serves GET after
// READONLY. There are no half-moved slots. Its methods are safe for concurrent use.
type Cluster struct {
	delay time.Duration
	nodes []*Server

	mu           sync.Mutex
	owners       [testkit.Slots]int // node; -1: none
	primaries    []int              // of each node; -1: the node is a primary
	announced    []string
	epoch        int
	down         bool
	queries      []Query
	inFlight     int
	mostInFlight int
}

// Query is a query of the map, and when it arrived.
type Query struct {
	At   time.Time
	Node int
	Name string // SLOTS, SHARDS, NODES or INFO
}

// member is the place of a server in its cluster.
type member struct {
	cluster *Cluster
	index   int
}

// StartCluster starts a cluster. It closes the cluster at the end of the test. The primaries are the
// first nodes; then come the replicas of each, in turn.
func StartCluster(t testing.TB, cfg ClusterConfig) *Cluster {
	t.Helper()
	if cfg.Primaries == 0 {
		cfg.Primaries = 3
	}
	c := &Cluster{delay: cfg.QueryDelay, epoch: cfg.Primaries}
	keys := &store{data: map[string]string{}}
	for i := range cfg.Primaries * (1 + cfg.Replicas) {
		node := cfg.Node
		if cfg.Answer != nil {
			node.Answer = func(c *Conn, args []string) (string, bool) { return cfg.Answer(i, c, args) }
		}
		s := start(t, node, keys, &member{c, i})
		addr, primary := s.Addr(), -1
		if node.Memory {
			addr = fmt.Sprintf("node-%d:6379", i)
		}
		if i >= cfg.Primaries {
			primary = (i - cfg.Primaries) / cfg.Replicas
		}
		c.nodes, c.announced, c.primaries = append(c.nodes, s), append(c.announced, addr), append(c.primaries, primary)
	}
	for slot := range c.owners {
		c.owners[slot] = slot * cfg.Primaries / testkit.Slots
	}
	return c
}

// Nodes returns the servers of all nodes.
func (c *Cluster) Nodes() []*Server { return c.nodes }

// Addrs returns the announced addresses of all nodes.
func (c *Cluster) Addrs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.announced)
}

// Dial connects in memory to the node that announces the address.
func (c *Cluster) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	i := slices.Index(c.Addrs(), addr)
	if i < 0 {
		return nil, fmt.Errorf("dial a fake cluster: no node announces %s", addr)
	}
	return c.nodes[i].Dial(ctx, network, addr)
}

// Announce changes the address in the map and in redirects. An empty host is allowed.
func (c *Cluster) Announce(node int, addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.announced[node] = addr
}

// Assign moves the slots from first to last to a node, in a new epoch. Node -1 leaves them without an
// owner.
func (c *Cluster) Assign(node, first, last int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for slot := first; slot <= last; slot++ {
		c.owners[slot] = node
	}
	c.epoch++
}

// Owner returns the owner of a slot, or -1.
func (c *Cluster) Owner(slot int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owners[slot]
}

// Promote makes a replica the primary of its shard, in a new epoch. The old primary becomes its
// replica.
func (c *Cluster) Promote(replica int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.primaries[replica]
	for slot, owner := range c.owners {
		if owner == old {
			c.owners[slot] = replica
		}
	}
	for i, primary := range c.primaries {
		if primary == old {
			c.primaries[i] = replica
		}
	}
	c.primaries[old], c.primaries[replica] = replica, -1
	c.epoch++
}

// SetDown makes all nodes report that the cluster is down and refuse commands with keys.
func (c *Cluster) SetDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// Queries returns the queries of the map so far.
func (c *Cluster) Queries() []Query {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.queries)
}

// MostInFlight returns the largest number of queries of the map that were in flight at one time. Set
// QueryDelay so that queries overlap.
func (c *Cluster) MostInFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mostInFlight
}

// Accepted returns the number of connections to all nodes so far.
func (c *Cluster) Accepted() int { return c.sum((*Server).Accepted) }

// Open returns the number of open connections to all nodes.
func (c *Cluster) Open() int { return c.sum((*Server).Open) }

// Count returns the number of commands that all nodes received with this name, in any case.
func (c *Cluster) Count(name string) int {
	return c.sum(func(s *Server) int { return s.Count(name) })
}

func (c *Cluster) sum(count func(*Server) int) (total int) {
	for _, s := range c.nodes {
		total += count(s)
	}
	return total
}

// query records a query of the map and waits for the delay. The caller calls end after the reply is
// made.
func (c *Cluster) query(node int, name string) (end func()) {
	c.mu.Lock()
	c.queries = append(c.queries, Query{time.Now(), node, name})
	c.inFlight++
	c.mostInFlight = max(c.mostInFlight, c.inFlight)
	c.mu.Unlock()
	if c.delay > 0 {
		<-time.After(c.delay)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.inFlight--
	}
}

// id is the node ID.
func id(node int) string { return fmt.Sprintf("%040x", node+1) }

// splitLocked returns the announced host and port of a node.
func (c *Cluster) splitLocked(node int) (host string, port int) {
	host, text, _ := net.SplitHostPort(c.announced[node])
	port, _ = strconv.Atoi(text)
	return host, port
}

// slotRange is a range of slots with one owner.
type slotRange struct{ owner, first, last int }

func (c *Cluster) rangesLocked() (ranges []slotRange) {
	for slot, owner := range c.owners {
		if n := len(ranges); n > 0 && ranges[n-1].owner == owner && ranges[n-1].last == slot-1 {
			ranges[n-1].last = slot
		} else if owner >= 0 {
			ranges = append(ranges, slotRange{owner, slot, slot})
		}
	}
	return ranges
}

// shardLocked returns a primary and its replicas.
func (c *Cluster) shardLocked(primary int) []int {
	nodes := []int{primary}
	for i, p := range c.primaries {
		if p == primary {
			nodes = append(nodes, i)
		}
	}
	return nodes
}
