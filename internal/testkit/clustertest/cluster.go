//go:build unix

package clustertest

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Config configures a cluster. The zero value is three primaries with one replica each.
type Config struct {
	Primaries   int           // default 3
	Replicas    int           // of each primary; default 1; negative: none
	NodeTimeout time.Duration // default 1 s
	Password    string        // of the default user
	Users       []string      // ACL rules: "user alice on >secret ~* +@all"; "user" is optional
	TLS         bool          // for clients, the bus and replication; a plain port exists too
	TLSOnly     bool          // TLS without a plain port
	Args        []string      // further arguments of each node: "--key", "value"

	// Hostnames are the names that the nodes announce, in order of their start. Beyond the last
	// name, they repeat from the first. Redirects, maps and URL then name hosts instead of addresses.
	// With TLS, the certificate of a node is valid for its name only. A client needs a dialer for
	// names other than localhost. Needs Redis 7.0.
	Hostnames []string

	// Relays makes clients, and the replicas of a node, reach the node through Node.Relay.
	Relays bool

	// BusRelays makes the nodes reach each other's bus through Node.Bus. Partition needs both kinds
	// of relays.
	BusRelays bool
}

// Cluster is a running cluster. Methods that change the cluster are for one goroutine at a time.
// The others are safe for concurrent use.
type Cluster struct {
	t         testing.TB
	cfg       Config
	authority *testkit.Authority // nil: no TLS

	mu      sync.Mutex
	started int     // nodes so far
	nodes   []*Node // members
	watches []*Watch
}

// Slots is the number of slots of a cluster.
const Slots = testkit.Slots

// Start starts a cluster and returns when all nodes agree on it: see WaitHealthy.
func Start(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	if cfg.Primaries == 0 {
		cfg.Primaries = 3
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.NodeTimeout == 0 {
		cfg.NodeTimeout = time.Second
	}
	cfg.TLS = cfg.TLS || cfg.TLSOnly
	c := &Cluster{t: t, cfg: cfg}
	if len(cfg.Hostnames) > 0 && !redistest.ServerVersion(t).Since(7, 0) {
		t.Fatalf("start a cluster: %v announces no hostnames: want Redis 7.0 or later", redistest.ServerVersion(t))
	}
	if cfg.TLS {
		c.authority = testkit.NewAuthority(t)
	}
	c.create()
	return c
}

// Nodes are the members of the cluster, in order of their start. They include dead nodes.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// servers are the servers of all members.
func (c *Cluster) servers() []*redistest.Server {
	var servers []*redistest.Server
	for _, n := range c.Nodes() {
		servers = append(servers, n.Server)
	}
	return servers
}

// reachable are the nodes that run and are neither paused nor isolated.
func (c *Cluster) reachable() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *Node) bool { return !n.Responsive() || n.isolated })
}

// Node returns the member with an address that clients use, or nil.
func (c *Cluster) Node(addr string) *Node {
	nodes := c.Nodes()
	if i := slices.IndexFunc(nodes, func(n *Node) bool { return n.Addr() == addr }); i >= 0 {
		return nodes[i]
	}
	return nil
}

// Addrs returns the addresses that clients use, such as Addrs(c.Primaries()).
func Addrs(nodes []*Node) []string {
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// URL is the URL of the cluster for a client, with all nodes, the password and the CA. Each of keys is
// key=value.
func (c *Cluster) URL(keys ...string) string {
	var hosts []string
	for _, n := range c.Nodes() {
		hosts = append(hosts, n.Endpoint())
	}
	u := url.URL{Scheme: "redis+cluster", Host: strings.Join(hosts, ",")}
	if c.cfg.Password != "" {
		u.User = url.UserPassword("", c.cfg.Password)
	}
	query := url.Values{}
	if c.cfg.TLS {
		u.Scheme = "rediss+cluster"
		query.Set("ssl_ca_certs", c.Nodes()[0].CAFile())
	}
	for _, pair := range keys {
		key, value, _ := strings.Cut(pair, "=")
		query.Set(key, value)
	}
	u.RawQuery = query.Encode()
	return u.String()
}
