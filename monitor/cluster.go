package monitor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// ClusterSlots is the number of slots of a cluster.
const ClusterSlots = 16384

// ClusterMap is a cluster as one of its nodes reports it. It does not change, so concurrent use is safe. The zero value
// is a cluster about which nothing is known.
type ClusterMap struct {
	From  string // the address of the node that reported it; empty: nothing is known
	OK    bool   // the node reports that it serves commands
	Epoch uint64 // the cluster's current epoch; rises with each failover
	Nodes []ClusterNode
}

// ClusterNode is a member of a cluster.
type ClusterNode struct {
	ID       string
	Addr     string // host:port for clients, after ClusterOptions.MapAddr; empty: the cluster does not know the address
	Hostname string // the announced hostname; empty: none
	Primary  string // the ID of the primary, if it is a replica; empty: it is a primary
	Failed   bool   // the cluster agrees that it failed
	Suspect  bool   // the node that reported it cannot reach it
	Slots    int    // slots that it owns

	ranges    [][2]int
	announced string // host:port as other nodes reach it
}

// Known reports whether a node reported the cluster.
func (m *ClusterMap) Known() bool { return m != nil && m.From != "" }

// Node returns the member with an address, or nil.
func (m *ClusterMap) Node(addr string) *ClusterNode {
	if m == nil {
		return nil
	}
	for i := range m.Nodes {
		if m.Nodes[i].Addr == addr && addr != "" {
			return &m.Nodes[i]
		}
	}
	return nil
}

// byID returns the member with an ID, or nil.
func (m *ClusterMap) byID(id string) *ClusterNode {
	for i := range m.Nodes {
		if m.Nodes[i].ID == id {
			return &m.Nodes[i]
		}
	}
	return nil
}

// Name returns the address of the node, or its ID if the address is unknown.
func (n *ClusterNode) Name() string {
	if n.Addr != "" {
		return n.Addr
	}
	return "node " + n.ID[:min(8, len(n.ID))]
}

// Owner returns the node that owns a slot, or nil.
func (m *ClusterMap) Owner(slot int) *ClusterNode {
	for i := range m.Nodes {
		for _, r := range m.Nodes[i].ranges {
			if r[0] <= slot && slot <= r[1] {
				return &m.Nodes[i]
			}
		}
	}
	return nil
}

// OwnedSlots returns the slots that the node owns, in ascending order.
func (n *ClusterNode) OwnedSlots() (slots []int) {
	for _, r := range n.ranges {
		for slot := r[0]; slot <= r[1]; slot++ {
			slots = append(slots, slot)
		}
	}
	slices.Sort(slots)
	return slots
}

// Announced returns the host and the port at which other nodes reach the node, without ClusterOptions.MapAddr.
func (n *ClusterNode) Announced() (host, port string) {
	host, port, _ = net.SplitHostPort(n.announced)
	return host, port
}

// PrimaryOf returns the name of a replica's primary, or "" if the node is a primary.
func (m *ClusterMap) PrimaryOf(n *ClusterNode) string {
	if n.Primary == "" {
		return ""
	}
	if p := m.byID(n.Primary); p != nil {
		return p.Name()
	}
	return "node " + n.Primary[:min(8, len(n.Primary))]
}

// Primaries returns the primaries that own slots and have not failed, in order of their slots.
func (m *ClusterMap) Primaries() (list []*ClusterNode) {
	for i := range m.Nodes {
		if n := &m.Nodes[i]; n.Primary == "" && n.Slots > 0 && !n.Failed {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b *ClusterNode) int { return a.ranges[0][0] - b.ranges[0][0] })
	return list
}

// Replicas returns the replicas of a primary that have not failed.
func (m *ClusterMap) Replicas(primary *ClusterNode) (list []*ClusterNode) {
	for i := range m.Nodes {
		if n := &m.Nodes[i]; n.Primary == primary.ID && !n.Failed && !n.Suspect {
			list = append(list, n)
		}
	}
	return list
}

// WithoutReplica returns the names of the primaries that own slots and have no working replica.
func (m *ClusterMap) WithoutReplica() (names []string) {
	for _, p := range m.Primaries() {
		if len(m.Replicas(p)) == 0 {
			names = append(names, p.Name())
		}
	}
	return names
}

// Uncovered returns the number of slots that no node serves, and the slots as text, such as "0-99, 500". A node that
// the cluster considers failed serves none.
func (m *ClusterMap) Uncovered() (n int, text string) {
	var served [ClusterSlots]bool
	for _, p := range m.Primaries() {
		for _, r := range p.ranges {
			for slot := r[0]; slot <= r[1]; slot++ {
				served[slot] = true
			}
		}
	}
	var parts []string
	for slot := 0; slot < ClusterSlots; slot++ {
		first := slot
		for slot < ClusterSlots && !served[slot] {
			slot++
		}
		if slot == first {
			continue
		}
		n += slot - first
		if slot-first == 1 {
			parts = append(parts, strconv.Itoa(first))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", first, slot-1))
		}
	}
	const most = 8
	if more := len(parts) - most; more > 0 {
		parts = append(parts[:most], fmt.Sprintf("and %d more ranges", more))
	}
	return n, strings.Join(parts, ", ")
}

// ParseClusterMap parses the replies to CLUSTER NODES and CLUSTER INFO of the node at an address. mapAddr, if not nil,
// is ClusterOptions.MapAddr. Without the second reply, the state and the epoch follow from the first one. It fails if
// the text is not a reply to CLUSTER NODES.
func ParseClusterMap(nodes, info, from string, mapAddr func(string) string) (*ClusterMap, error) {
	m := &ClusterMap{From: from}
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) < 8 {
			return nil, fmt.Errorf("monitor: CLUSTER NODES of %s contains %.80q: want the fields of a node", from, line)
		}
		flags := strings.Split(f[2], ",")
		if slices.Contains(flags, "handshake") {
			continue // its ID changes when the handshake ends
		}
		n := ClusterNode{ID: f[0], Failed: slices.Contains(flags, "fail"), Suspect: slices.Contains(flags, "fail?")}
		n.setAddr(f[1], from, mapAddr)
		if slices.Contains(flags, "noaddr") {
			n.Addr = ""
		}
		if f[3] != "-" {
			n.Primary = f[3]
		}
		if epoch, err := strconv.ParseUint(f[6], 10, 64); err == nil {
			m.Epoch = max(m.Epoch, epoch)
		}
		n.setSlots(f[8:])
		m.Nodes = append(m.Nodes, n)
	}
	if len(m.Nodes) == 0 {
		return nil, fmt.Errorf("monitor: CLUSTER NODES of %s is empty: want the nodes of a cluster", from)
	}
	fields := ParseInfo(info)
	if epoch, ok := fields.Int("cluster_current_epoch"); ok {
		m.Epoch = uint64(epoch)
	}
	if state := fields.Text("cluster_state"); state != "" {
		m.OK = state == "ok"
	} else {
		uncovered, _ := m.Uncovered()
		m.OK = uncovered == 0
	}
	return m, nil
}

// setAddr reads ip:port@busport, and ip:port@busport,hostname since Redis 7.0. An empty IP is that of the node that
// replies.
func (n *ClusterNode) setAddr(text, from string, mapAddr func(string) string) {
	addr, rest, _ := strings.Cut(text, "@")
	if _, names, ok := strings.Cut(rest, ","); ok {
		n.Hostname, _, _ = strings.Cut(names, ",")
	}
	i := strings.LastIndexByte(addr, ':')
	if i < 0 || addr[i+1:] == "0" {
		return
	}
	host, port := strings.Trim(addr[:i], "[]"), addr[i+1:]
	if host == "" {
		host, _, _ = net.SplitHostPort(from)
	}
	n.Addr = net.JoinHostPort(host, port)
	n.announced = n.Addr
	if mapAddr == nil {
		return
	}
	// The map is for the names that the cluster announces to clients: addresses, or hostnames.
	reached := mapAddr(n.Addr)
	if reached == n.Addr && n.Hostname != "" {
		if named := net.JoinHostPort(n.Hostname, port); mapAddr(named) != named {
			reached = mapAddr(named)
		}
	}
	n.Addr = reached
}

// setSlots reads ranges such as 0-5460 and 5462. It skips slots that move, which the owner's range contains.
func (n *ClusterNode) setSlots(fields []string) {
	for _, f := range fields {
		from, to, isRange := strings.Cut(f, "-")
		first, err := strconv.Atoi(from)
		last := first
		if isRange && err == nil {
			last, err = strconv.Atoi(to)
		}
		if err != nil || first < 0 || last < first || last >= ClusterSlots {
			continue
		}
		n.ranges = append(n.ranges, [2]int{first, last})
		n.Slots += last - first + 1
	}
}

// Better returns the more credible of two reports about a cluster: of a node that serves commands, and with the higher
// epoch. Either may be nil.
func (m *ClusterMap) Better(other *ClusterMap) *ClusterMap {
	switch {
	case !m.Known():
		return other
	case !other.Known():
		return m
	case m.OK != other.OK:
		if other.OK {
			return other
		}
	case other.Epoch > m.Epoch:
		return other
	}
	return m
}

// Options returns the options for a connection to this node alone. of are the options of the cluster.
func (n *ClusterNode) Options(of respool.Options) respool.Options {
	opt := serverOptions(of, n.Addr)
	if opt.TLS != nil && n.Hostname != "" && opt.TLS.ServerName == "" {
		opt.TLS = opt.TLS.Clone()
		opt.TLS.ServerName = n.Hostname
	}
	return opt
}

// serverOptions returns the options for one server of those that options lead to.
func serverOptions(of respool.Options, addr string) respool.Options {
	of.Sentinel, of.Service, of.Cluster, of.Addr = nil, "", nil, addr
	of.Role, of.MaxReplicaLag, of.Nearest = respool.RolePrimary, 0, false
	return of
}

// askCluster is the name of the commands, as Probe.Refused has it.
const askCluster = "CLUSTER NODES"

// readCluster asks a node for its map. It returns an error of the server if the server refuses CLUSTER NODES.
func readCluster(ctx context.Context, c *respool.Client, mapAddr func(string) string) (*ClusterMap, error) {
	replies, err := c.Pipeline().Do("CLUSTER", "NODES").Do("CLUSTER", "INFO").Exec(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := replies[0].Text()
	if err != nil {
		return nil, err
	}
	info, err := replies[1].Text()
	var se *respool.ServerError
	if err != nil && !errors.As(err, &se) { // an ACL may forbid it
		return nil, err
	}
	return ParseClusterMap(nodes, info, c.Stats().Addr, mapAddr)
}

// ErrNoCluster reports that a server runs without cluster mode.
var ErrNoCluster = errors.New("the server is not a node of a cluster: use redis:// or rediss://")

// FindCluster asks the nodes in opt.Cluster.Addrs for the cluster, all at the same time. It returns the first report of
// a node that serves commands, otherwise the best one. The error names why no node reported the cluster. It is
// ErrNoCluster if a server runs without cluster mode. It blocks until a node has answered; ctx and the options limit
// the wait. Its connections, at most one for each address, are closed when it returns.
func FindCluster(ctx context.Context, opt respool.Options) (*ClusterMap, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type report struct {
		m   *ClusterMap
		err error
	}
	addrs := slices.Compact(slices.Sorted(slices.Values(opt.Cluster.Addrs)))
	reports := make(chan report, len(addrs))
	var asking sync.WaitGroup
	defer asking.Wait()
	for _, addr := range addrs {
		asking.Go(func() {
			m, err := askForCluster(ctx, opt, addr)
			reports <- report{m, err}
		})
	}
	var best *ClusterMap
	var errs []error
	for range addrs {
		r := <-reports
		if r.err != nil {
			errs = append(errs, r.err)
		}
		if best = best.Better(r.m); best.Known() && best.OK {
			cancel()
			return best, nil
		}
	}
	if best.Known() {
		return best, nil
	}
	for _, err := range errs {
		if errors.Is(err, ErrNoCluster) {
			return nil, err
		}
	}
	if len(errs) > 1 {
		return nil, fmt.Errorf("none of the %d nodes in the URL reports the cluster, the first because: %w", len(errs), errs[0])
	}
	return nil, errs[0]
}

// leaveLimit limits the close of a connection to a server that did not answer in time.
const leaveLimit = 200 * time.Millisecond

// askForCluster asks one server for the cluster over a connection that it closes.
func askForCluster(ctx context.Context, opt respool.Options, addr string) (*ClusterMap, error) {
	mapAddr := opt.Cluster.MapAddr
	opt = serverOptions(opt, addr)
	opt.LingerLimit = leaveLimit // a server that hangs would delay the failure
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	c, err := respool.New(opt)
	if err != nil {
		return nil, err
	}
	defer func() {
		limit := closeLimit
		if ctx.Err() != nil {
			limit = leaveLimit
		}
		closing, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_ = c.Close(closing)
	}()
	m, err := readCluster(ctx, c, mapAddr)
	var se *respool.ServerError
	if errors.As(err, &se) && strings.Contains(se.Message, "cluster support disabled") {
		return nil, fmt.Errorf("%s: %w", addr, ErrNoCluster)
	}
	return m, err
}
