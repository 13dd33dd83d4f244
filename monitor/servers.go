package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// Servers are the servers that options lead to: one server, the primary and the replicas of a service of Sentinel, or
// the nodes of a cluster.
type Servers struct {
	Name    string // of the service or of the cluster; empty: one server
	List    []Server
	Cluster *ClusterMap // nil: not a cluster
}

// Server is one of these servers.
type Server struct {
	Addr    string          // host:port; "node ID" for a node of a cluster whose address is unknown
	Options respool.Options // for connections to this server alone
	Err     error           // why nobody can connect to it; nil: somebody may

	hostname string // host:port with the hostname that a node of a cluster announces; empty: none
}

// nodeOf returns the client of c for the server. A cluster may announce hostnames to c, and then c knows the node by its
// hostname.
func (s *Server) nodeOf(c *respool.Client) *respool.Client {
	if st := c.Stats().Cluster; st != nil && s.hostname != "" {
		for _, addr := range st.Primaries {
			if host, _, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host) == nil {
				return c.Node(s.hostname)
			}
		}
	}
	return c.Node(s.Addr)
}

// errNoAddr reports a node that lost its address.
var errNoAddr = errors.New("the cluster does not know its address")

// FindServers returns the servers that options lead to. It opens no connection for one server. Otherwise it asks the
// sentinels, or the nodes in the options of a cluster, and closes its connections before it returns. The servers of a
// service are in the order primary, replicas; those of a cluster in the order of their slots, each primary with its
// replicas after it. It blocks until the servers are known; ctx and the options limit the wait.
func FindServers(ctx context.Context, opt respool.Options) (*Servers, error) {
	s := &Servers{Name: placeName(&opt)}
	switch {
	case opt.Cluster != nil:
		m, err := FindCluster(ctx, opt)
		if err != nil {
			return nil, err
		}
		s.Cluster, s.List = m, m.servers(opt)
	case opt.Sentinel != nil:
		opt := opt
		opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
		c, err := respool.New(opt)
		if err != nil {
			return nil, err
		}
		defer closeClient(c)
		if err := c.Warm(ctx); err != nil {
			return nil, err
		}
		addrs := serviceAddrs(c.Stats().Service)
		replicas, err := sentinelReplicas(ctx, opt) // the client asks for them later
		if err != nil {
			return nil, err
		}
		for _, addr := range replicas {
			if !slices.Contains(addrs, addr) {
				addrs = append(addrs, addr)
			}
		}
		for _, addr := range addrs {
			s.List = append(s.List, Server{Addr: addr, Options: serverOptions(opt, addr)})
		}
	default:
		s.List = []Server{{Addr: cmp.Or(opt.Addr, "localhost:6379"), Options: opt}}
	}
	return s, nil
}

// placeName returns the name of the servers together; empty for a single server.
func placeName(o *respool.Options) string {
	if o.Cluster != nil {
		return "cluster of " + o.Cluster.Addrs[0]
	}
	return o.Service
}

// serviceAddrs are the addresses of the nodes of a service, the primary first.
func serviceAddrs(s *respool.ServiceStats) (addrs []string) {
	if s.Primary != "" {
		addrs = append(addrs, s.Primary)
	}
	add := func(addr string) {
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	for _, addr := range s.Replicas {
		add(addr)
	}
	for _, left := range s.Excluded {
		add(left.Addr)
	}
	return addrs
}

// sentinelReplicas asks the sentinels, one after the other, for the replicas of a service.
func sentinelReplicas(ctx context.Context, opt respool.Options) (addrs []string, err error) {
	for _, addr := range opt.Sentinel.Addrs {
		var list []respool.Reply
		if list, err = askSentinel(ctx, opt, addr); err != nil {
			continue
		}
		for _, one := range list {
			fields, err := one.Map()
			if err != nil {
				return nil, fmt.Errorf("sentinel %s: SENTINEL REPLICAS: %w", addr, err)
			}
			ip, _ := fields["ip"].Text()
			port, _ := fields["port"].Text()
			replica := net.JoinHostPort(ip, port)
			if opt.Sentinel.MapAddr != nil {
				replica = opt.Sentinel.MapAddr(replica)
			}
			addrs = append(addrs, replica)
		}
		return addrs, nil
	}
	return nil, fmt.Errorf("no sentinel reports the replicas of %s: %w", opt.Service, err)
}

func askSentinel(ctx context.Context, opt respool.Options, addr string) ([]respool.Reply, error) {
	c, err := respool.New(SentinelServer(opt, addr))
	if err != nil {
		return nil, err
	}
	defer closeClient(c)
	return c.Do(ctx, "SENTINEL", "REPLICAS", opt.Service).Array()
}

// SentinelServer returns options for a connection to one sentinel, as to a server.
func SentinelServer(of respool.Options, addr string) respool.Options {
	s := of.Sentinel
	return respool.Options{
		Addr: addr, TLS: s.TLS, TLSFiles: s.TLSFiles, Username: s.Username, Password: s.Password, Credentials: s.Credentials, Dialer: s.Dialer,
		MaxConnections: 1, ConnectTimeout: s.Timeout,
	}
}

// servers are the members of a cluster, each primary before its replicas. Primaries without slots follow, then failed
// nodes.
func (m *ClusterMap) servers(opt respool.Options) (list []Server) {
	order := func(n *ClusterNode) int {
		owner := n
		if n.Primary != "" {
			owner = m.byID(n.Primary)
		}
		switch {
		case n.Failed || owner == nil:
			return 2 * ClusterSlots
		case len(owner.ranges) == 0:
			return ClusterSlots
		}
		return owner.ranges[0][0]
	}
	nodes := make([]*ClusterNode, len(m.Nodes))
	for i := range m.Nodes {
		nodes[i] = &m.Nodes[i]
	}
	slices.SortFunc(nodes, func(a, b *ClusterNode) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(min(1, len(a.Primary)), min(1, len(b.Primary))), strings.Compare(a.Name(), b.Name()))
	})
	for _, n := range nodes {
		s := Server{Addr: n.Name(), Options: n.Options(opt)}
		if n.Addr == "" {
			s.Err = errNoAddr
		} else if n.Hostname != "" {
			_, port := n.Announced()
			if s.hostname = net.JoinHostPort(n.Hostname, port); opt.Cluster.MapAddr != nil {
				s.hostname = opt.Cluster.MapAddr(s.hostname)
			}
		}
		list = append(list, s)
	}
	return list
}

func closeClient(c *respool.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	_ = c.Close(ctx)
}

// directory knows the servers to watch.
type directory interface {
	// run searches for the servers until ctx ends.
	run(ctx context.Context)
	// servers returns the servers, and why some are unknown. reported is the best report about a cluster of the servers
	// that answer, if there is one.
	servers(reported *ClusterMap) ([]Server, error)
	// owned returns the number of its own connections to a server.
	owned(addr string) int64
	close()
}

// newDirectory returns the directory of a sampler.
func newDirectory(cfg *SamplerConfig) (directory, error) {
	opt := cfg.Options
	switch {
	case opt.Cluster != nil:
		return &clusterDirectory{opt: opt, shared: cfg.Client, lost: true}, nil
	case opt.Sentinel != nil && cfg.Client != nil:
		return &serviceDirectory{c: cfg.Client, opt: opt, every: cfg.Every, shared: true}, nil
	case opt.Sentinel != nil:
		c, err := respool.New(opt)
		return &serviceDirectory{c: c, opt: opt, every: cfg.Every}, err
	}
	return oneServer{Server{Addr: cmp.Or(opt.Addr, "localhost:6379"), Options: opt}}, nil
}

// oneServer is the directory of a single server.
type oneServer struct{ Server }

func (oneServer) run(context.Context)                            {}
func (o oneServer) servers(*ClusterMap) (list []Server, _ error) { return []Server{o.Server}, nil }
func (oneServer) owned(string) int64                             { return 0 }
func (oneServer) close()                                         {}

// serviceDirectory follows a service through its sentinels.
type serviceDirectory struct {
	c      *respool.Client
	opt    respool.Options
	every  time.Duration
	shared bool // c belongs to somebody else
}

// run calls Warm repeatedly: that keeps the search for the nodes alive, and returns its current error. With a shared client
// that knows its primary, that client's callers do so.
func (d *serviceDirectory) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !d.shared || !d.c.Stats().Service.Known {
			_ = d.c.Warm(ctx)
		}
		pause(ctx, max(d.every, time.Second))
	}
}

func (d *serviceDirectory) servers(*ClusterMap) (list []Server, err error) {
	st := d.c.Stats().Service
	for _, addr := range serviceAddrs(st) {
		list = append(list, Server{Addr: addr, Options: serverOptions(d.opt, addr)})
	}
	return list, st.Err
}

func (d *serviceDirectory) owned(addr string) int64 {
	for _, n := range d.c.Stats().Nodes {
		if n.Addr == addr {
			return int64(n.Sockets())
		}
	}
	return 0
}

func (d *serviceDirectory) close() {
	if !d.shared {
		closeClient(d.c)
	}
}

// clusterDirectory follows a cluster through the reports of its nodes. While none of them reports it, as at the
// beginning, or after all addresses changed, it asks those in the options.
type clusterDirectory struct {
	opt    respool.Options
	shared *respool.Client // asks for the cluster; nil: connections of the directory do

	mu   sync.Mutex
	last *ClusterMap
	lost bool
	err  error // of the last search
}

// searchEvery is the time between two searches for a cluster whose nodes do not answer.
const searchEvery = time.Second

func (d *clusterDirectory) run(ctx context.Context) {
	for ctx.Err() == nil {
		d.mu.Lock()
		lost := d.lost
		d.mu.Unlock()
		if lost {
			m, err := d.find(ctx)
			d.mu.Lock()
			if d.err = err; err == nil && d.lost {
				d.last = m
			}
			d.mu.Unlock()
		}
		pause(ctx, searchEvery)
	}
}

// find asks for the cluster.
func (d *clusterDirectory) find(ctx context.Context) (*ClusterMap, error) {
	if d.shared == nil {
		return FindCluster(ctx, d.opt)
	}
	if err := d.shared.Do(ctx, "PING").Err(); err != nil { // it finds the nodes
		var se *respool.ServerError
		if !errors.As(err, &se) {
			return nil, err
		}
	}
	err := errors.New("no node of the cluster is known")
	for _, addr := range d.shared.Stats().Cluster.Primaries {
		c := d.shared.Node(addr)
		var m *ClusterMap
		m, err = readCluster(ctx, c, d.opt.Cluster.MapAddr)
		_ = c.Close(ctx)
		if err == nil {
			return m, nil
		}
	}
	return nil, err
}

func (d *clusterDirectory) servers(reported *ClusterMap) ([]Server, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = !reported.Known()
	if !d.lost {
		d.last, d.err = reported, nil
	}
	if d.last == nil {
		return nil, d.err
	}
	return d.last.servers(d.opt), d.err
}

func (d *clusterDirectory) owned(string) int64 { return 0 }
func (d *clusterDirectory) close()             {}
