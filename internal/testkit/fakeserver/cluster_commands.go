package fakeserver

import (
	"fmt"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

const noCluster = "-ERR This instance has cluster support disabled\r\n"

// mode is the mode of the server in HELLO and INFO.
func (s *Server) mode() string {
	if s.member != nil {
		return "cluster"
	}
	return "standalone"
}

// primary returns the primary of a replica, or -1.
func (s *Server) primary() int {
	if s.member == nil {
		return -1
	}
	s.member.cluster.mu.Lock()
	defer s.member.cluster.mu.Unlock()
	return s.member.cluster.primaries[s.member.index]
}

// helloRole is the role in HELLO.
func (s *Server) helloRole() string {
	if s.primary() >= 0 {
		return "replica"
	}
	return "master"
}

// role is the reply to ROLE.
func (s *Server) role() string {
	primary := s.primary()
	if primary < 0 {
		return Array(Bulk("master"), Int(0), Array())
	}
	c := s.member.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	host, port := c.splitLocked(primary)
	return Array(Bulk("slave"), Bulk(host), Int(port), Bulk("connected"), Int(0))
}

// clusterMode replies to READONLY, READWRITE and ASKING. Without cluster support, Valkey accepts
// READONLY and READWRITE all the same, and Redis 6.2 accepts READWRITE.
func (c *Conn) clusterMode(args []string) string {
	v, name := c.s.cfg.Version, strings.ToUpper(args[0])
	switch {
	case c.s.member != nil:
		c.readonly = name == "READONLY" || c.readonly && name == "ASKING"
		return ok
	case v.valkey() && name != "ASKING", !v.since(7, 0) && name == "READWRITE":
		return ok
	}
	return noCluster
}

// redirect returns the error for a key that the node does not serve, or an empty string.
func (c *Conn) redirect(name string, args []string) string {
	m := c.s.member
	if _, run := c.data(name); run == nil || m == nil {
		return ""
	}
	cl := m.cluster
	cl.mu.Lock()
	defer cl.mu.Unlock()
	slot := testkit.KeySlot(args[1])
	switch owner := cl.owners[slot]; {
	case owner < 0:
		return "-CLUSTERDOWN Hash slot not served\r\n"
	case cl.down:
		return "-CLUSTERDOWN The cluster is down\r\n"
	case owner == m.index, c.readonly && name == "GET" && owner == cl.primaries[m.index]:
		return ""
	default:
		return fmt.Sprintf("-MOVED %d %s\r\n", slot, cl.announced[owner])
	}
}

// cluster replies to CLUSTER.
func (c *Conn) cluster(args []string) string {
	m := c.s.member
	if m == nil {
		return noCluster
	}
	sub := strings.ToUpper(args[1])
	switch {
	case sub == "MYID":
		return Bulk(id(m.index))
	case sub == "KEYSLOT" && len(args) == 3:
		return Int(testkit.KeySlot(args[2]))
	case sub == "SLOTS", sub == "NODES", sub == "INFO", sub == "SHARDS" && c.s.cfg.Version.since(7, 0):
		defer m.cluster.query(m.index, sub)()
	default:
		return c.s.cfg.Version.unknownSubcommand(args[0], args[1])
	}
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	switch sub {
	case "SLOTS":
		return c.slotsLocked(m.cluster)
	case "SHARDS":
		return c.shardsLocked(m.cluster)
	case "NODES":
		return Bulk(m.cluster.linesLocked(m.index))
	}
	return Bulk(m.cluster.infoLocked())
}

// slotsLocked is CLUSTER SLOTS: ranges of slots with their primary and its replicas.
func (c *Conn) slotsLocked(cl *Cluster) string {
	var ranges []string
	for _, r := range cl.rangesLocked() {
		elems := []string{Int(r.first), Int(r.last)}
		for _, node := range cl.shardLocked(r.owner) {
			host, port := cl.splitLocked(node)
			entry := []string{Bulk(host), Int(port), Bulk(id(node))}
			if c.s.cfg.Version.since(7, 0) {
				entry = append(entry, c.Map()) // metadata
			}
			elems = append(elems, Array(entry...))
		}
		ranges = append(ranges, Array(elems...))
	}
	return Array(ranges...)
}

// shardsLocked is CLUSTER SHARDS: primaries with their ranges of slots and their replicas.
func (c *Conn) shardsLocked(cl *Cluster) string {
	slots := map[int][]string{}
	for _, r := range cl.rangesLocked() {
		slots[r.owner] = append(slots[r.owner], Int(r.first), Int(r.last))
	}
	port := Bulk("port")
	if c.s.cfg.TLS != nil {
		port = Bulk("tls-port")
	}
	var shards []string
	for primary, of := range cl.primaries {
		if of >= 0 {
			continue
		}
		var nodes []string
		for _, node := range cl.shardLocked(primary) {
			host, number := cl.splitLocked(node)
			role := "master"
			if node != primary {
				role = "replica"
			}
			nodes = append(nodes, c.Map(Bulk("id"), Bulk(id(node)), port, Int(number), Bulk("ip"), Bulk(host), Bulk("endpoint"), Bulk(host),
				Bulk("role"), Bulk(role), Bulk("replication-offset"), Int(0), Bulk("health"), Bulk("online")))
		}
		shards = append(shards, c.Map(Bulk("slots"), Array(slots[primary]...), Bulk("nodes"), Array(nodes...)))
	}
	return Array(shards...)
}

// linesLocked is CLUSTER NODES.
func (c *Cluster) linesLocked(self int) string {
	slots := map[int]string{}
	for _, r := range c.rangesLocked() {
		text := fmt.Sprintf(" %d-%d", r.first, r.last)
		if r.first == r.last {
			text = fmt.Sprintf(" %d", r.first)
		}
		slots[r.owner] += text
	}
	var b strings.Builder
	for node, primary := range c.primaries {
		flags, of := "master", "-"
		if primary >= 0 {
			flags, of = "slave", id(primary)
		}
		if node == self {
			flags = "myself," + flags
		}
		_, port := c.splitLocked(node)
		fmt.Fprintf(&b, "%s %s@%d %s %s 0 0 %d connected%s\n", id(node), c.announced[node], port+10000, flags, of, c.epoch, slots[node])
	}
	return b.String()
}

// infoLocked is CLUSTER INFO.
func (c *Cluster) infoLocked() string {
	state, assigned, size := "ok", 0, map[int]bool{}
	if c.down {
		state = "fail"
	}
	for _, owner := range c.owners {
		if owner >= 0 {
			assigned++
			size[owner] = true
		}
	}
	lines := []string{"cluster_state:" + state, fmt.Sprintf("cluster_slots_assigned:%d", assigned), fmt.Sprintf("cluster_slots_ok:%d", assigned),
		"cluster_slots_pfail:0", "cluster_slots_fail:0", fmt.Sprintf("cluster_known_nodes:%d", len(c.nodes)), fmt.Sprintf("cluster_size:%d", len(size)),
		fmt.Sprintf("cluster_current_epoch:%d", c.epoch), fmt.Sprintf("cluster_my_epoch:%d", c.epoch)}
	return strings.Join(lines, "\r\n") + "\r\n"
}
