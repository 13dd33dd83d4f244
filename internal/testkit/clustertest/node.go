//go:build unix

package clustertest

import (
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Node is a member of a cluster. Its Server runs commands on this node, kills, restarts, pauses and
// resumes it. The addresses of the Server bypass the relays.
type Node struct {
	*redistest.Server
	ID    string          // the node ID
	Host  string          // the announced hostname; empty: none
	Relay *faultnet.Relay // of clients and replicas; nil without Config.Relays
	Bus   *faultnet.Relay // of the bus; nil without Config.BusRelays

	c                        *Cluster
	isolated, clientsBlocked bool // guarded by c.mu

	mu  sync.Mutex
	own map[string]int // CLUSTER commands of this package by name, since the process started
	pid int            // that process
}

// Addr is the IP address and the port that the node announces to clients. It is TLS's if there is TLS.
func (n *Node) Addr() string {
	if n.Relay != nil {
		return n.Relay.Addr()
	}
	return n.Server.Addr()
}

// Endpoint is where the map of the cluster and redirects send clients: the announced hostname and
// port, or Addr if there is no hostname.
func (n *Node) Endpoint() string {
	if n.Host == "" {
		return n.Addr()
	}
	return net.JoinHostPort(n.Host, port(n.Addr()))
}

// port returns the port of an address.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// startNode starts a process that is no member yet.
func (c *Cluster) startNode() *Node {
	c.t.Helper()
	n := &Node{c: c}
	cfg := redistest.Config{
		Password: c.cfg.Password, Users: c.cfg.Users, TLS: c.cfg.TLS, TLSOnly: c.cfg.TLSOnly, Cluster: true,
		Authority: c.authority, ArgsFor: n.arguments, Peers: c.servers,
	}
	c.mu.Lock()
	if names := c.cfg.Hostnames; len(names) > 0 {
		n.Host = names[c.started%len(names)]
		cfg.Names = []string{n.Host}
	}
	c.started++
	c.mu.Unlock()
	if c.cfg.Relays {
		n.Relay = faultnet.Start(c.t, "")
		cfg.Origin = n.origin
	}
	if c.cfg.BusRelays {
		n.Bus = faultnet.Start(c.t, "")
	}
	n.Server = redistest.Start(c.t, cfg)
	n.ID = n.cluster("MYID")
	return n
}

// arguments are those that depend on the ports of the process. It sends the relays there, too.
func (n *Node) arguments(s *redistest.Server) []string {
	cfg := n.c.cfg
	args := []string{
		"--cluster-node-timeout", strconv.FormatInt(cfg.NodeTimeout.Milliseconds(), 10),
		"--cluster-allow-replica-migration", "no", // a primary without slots stays one
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--repl-timeout", "10",
	}
	if cfg.Password != "" {
		args = append(args, "--masterauth", cfg.Password)
	}
	if cfg.TLS {
		args = append(args, "--tls-cluster", "yes", "--tls-replication", "yes")
	}
	if n.Host != "" {
		args = append(args, "--cluster-announce-hostname", n.Host, "--cluster-preferred-endpoint-type", "hostname")
	}
	if n.Relay != nil {
		n.Relay.SetTarget(s.Addr())
	}
	if n.Bus != nil {
		n.Bus.SetTarget(s.BusAddr())
	}
	if n.Relay != nil || n.Bus != nil {
		args = append(args, "--cluster-announce-ip", "127.0.0.1", "--cluster-announce-bus-port", port(n.busAddr(s)))
	}
	if n.Relay != nil {
		args = append(args, n.portOption("--cluster-announce-port", "--cluster-announce-tls-port"), port(n.Relay.Addr()))
	}
	return append(args, cfg.Args...)
}

// portOption selects the option for the port that clients use.
func (n *Node) portOption(plain, tls string) string {
	if n.c.cfg.TLS {
		return tls
	}
	return plain
}

// busAddr is the address of the bus that the node announces.
func (n *Node) busAddr(s *redistest.Server) string {
	if n.Bus != nil {
		return n.Bus.Addr()
	}
	return s.BusAddr()
}

// origin returns the socket behind a connection of the relay to the node.
func (n *Node) origin(from string) (client, relay string, ok bool) {
	client, ok = n.Relay.Origin(from)
	return client, n.Relay.Addr(), ok
}

// try runs a CLUSTER command and counts it as one of this package.
func (n *Node) try(args ...string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.countOwnLocked(args[0])
	return n.TryDo(append([]string{"CLUSTER"}, args...)...)
}

func (n *Node) countOwnLocked(subcommand string) {
	if pid := n.PID(); n.own == nil || n.pid != pid { // the server counts anew
		n.own, n.pid = map[string]int{}, pid
	}
	n.own[statName(n.Version(), "cluster|"+strings.ToLower(subcommand))]++
}

// cluster is try for a command that must succeed.
func (n *Node) cluster(args ...string) string {
	n.c.t.Helper()
	text, err := n.try(args...)
	if err != nil {
		n.c.t.Fatalf("%s: CLUSTER %s: %v", n.Addr(), strings.Join(args, " "), err)
	}
	return text
}
