package session

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

const (
	clusterDisabled = "This instance has cluster support disabled"
	crossSlot       = "-CROSSSLOT Keys in request don't hash to the same slot"
)

// ConnectedTo sets the address of the gateway to which the client connected. The replies of CLUSTER contain it unless
// Config.Announce is set.
func (s *Session) ConnectedTo(addr *string) { s.localAddr = addr }

// onClusterFace returns a handler for a subcommand of CLUSTER that clients of a face that is a cluster may run. For the
// others, the command fails as on a server outside a cluster.
func onClusterFace(f func(*Session, request) Step) func(*Session, request) Step {
	return func(s *Session, r request) Step {
		switch {
		case !s.cfg.Cluster:
			return s.pin.forward(r)
		case !s.cfg.ClusterFace:
			return failure(clusterDisabled)
		}
		return f(s, r)
	}
}

// onSelf is onClusterFace for a subcommand whose reply contains the address of the gateway.
func onSelf(f func(*Session, clusterNode) []byte) func(*Session, request) Step {
	return onClusterFace(func(s *Session, _ request) Step {
		n, ok := s.self()
		if !ok {
			return failure("respool: the address of this connection cannot be announced to cluster clients: set announce in the gateway's configuration")
		}
		return answer(f(s, n))
	})
}

// clusterNode is the gateway as the only node of a cluster.
type clusterNode struct {
	host, port string
	id         string
	number     int64 // of port
}

// self returns the gateway as clients see it. ok is false if it has no address with a port.
func (s *Session) self() (n clusterNode, ok bool) {
	addr := s.cfg.Announce
	if addr == "" && s.localAddr != nil {
		addr = *s.localAddr
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return clusterNode{}, false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return clusterNode{}, false
	}
	id := sha1.Sum([]byte(addr)) // all gateways behind one address are one node
	return clusterNode{host, port, hex.EncodeToString(id[:]), int64(number)}, true
}

func (s *Session) clusterMyID(n clusterNode) []byte { return resp.AppendBulkString(nil, n.id) }

func (s *Session) clusterSlots(n clusterNode) []byte {
	newer := s.cfg.greeting().major >= 7 // a node has a map of further addresses
	size := 3
	if newer {
		size = 4
	}
	b := resp.AppendArrayHeader(resp.AppendArrayHeader(nil, 1), 3)
	b = appendInteger(appendInteger(b, 0), command.Slots-1)
	b = resp.AppendBulkString(resp.AppendArrayHeader(b, size), n.host)
	b = resp.AppendBulkString(appendInteger(b, n.number), n.id)
	if newer {
		b = s.protocol().appendMapHeader(b, 0)
	}
	return b
}

func (s *Session) clusterShards(n clusterNode) []byte {
	p := s.protocol()
	b := p.appendMapHeader(resp.AppendArrayHeader(nil, 1), 2)
	b = resp.AppendArrayHeader(resp.AppendBulkString(b, "slots"), 2)
	b = appendInteger(appendInteger(b, 0), command.Slots-1)
	b = resp.AppendArrayHeader(resp.AppendBulkString(b, "nodes"), 1)
	b = p.appendMapHeader(b, 7)
	b = resp.AppendBulkString(resp.AppendBulkString(b, "id"), n.id)
	b = appendInteger(resp.AppendBulkString(b, "port"), n.number)
	b = resp.AppendBulkString(resp.AppendBulkString(b, "ip"), n.host)
	b = resp.AppendBulkString(resp.AppendBulkString(b, "endpoint"), n.host)
	b = resp.AppendBulkString(resp.AppendBulkString(b, "role"), "master")
	b = appendInteger(resp.AppendBulkString(b, "replication-offset"), 0)
	return resp.AppendBulkString(resp.AppendBulkString(b, "health"), "online")
}

// busOffset is the difference between the ports of a node's bus and of its clients. Nothing connects to the bus.
const busOffset = 10000

func (s *Session) clusterNodes(n clusterNode) []byte {
	return s.protocol().text(fmt.Appendf(nil, "%s %s:%s@%d myself,master - 0 0 1 connected 0-%d\n",
		n.id, n.host, n.port, n.number+busOffset, command.Slots-1))
}

func (s *Session) clusterInfo(request) Step {
	return answer(s.protocol().text(fmt.Appendf(nil, "cluster_state:ok\r\ncluster_slots_assigned:%d\r\ncluster_slots_ok:%[1]d\r\n"+
		"cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:1\r\ncluster_current_epoch:1\r\n"+
		"cluster_my_epoch:1\r\ncluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n", command.Slots)))
}

func (s *Session) clusterKeySlot(r request) Step {
	return answer(resp.AppendInteger(nil, int64(command.Slot(r.args[2]))))
}

// clusterReplicas handles CLUSTER REPLICAS and CLUSTER SLAVES: the gateway has none.
func (s *Session) clusterReplicas(r request) Step {
	if n, ok := s.self(); !ok || string(r.args[2]) != n.id {
		return failure("Unknown node " + cString(r.args[2], len(r.args[2])))
	}
	return answer(replyEmpty)
}

func (s *Session) clusterLinks(request) Step { return answer(replyEmpty) }

// forwardBySlot forwards a subcommand whose argument is a slot, to the node that serves the slot.
func (s *Session) forwardBySlot(r request) Step { return s.pin.forward(r) }

// answersForCluster reports whether the session answers a queued command: one of CLUSTER, unless it goes to a server
// outside a cluster.
func (cfg *Config) answersForCluster(info *command.Info) bool {
	return cfg.Cluster || !isSubcommandOf(info, "CLUSTER")
}

// slotReason adds the slot of a command's keys to the transaction. It returns the error text if a node of a cluster
// refuses the command, or if the command concerns all nodes.
func (t *transaction) slotReason(r request) string {
	slot, err := command.SlotOfBytes(r.info, r.args)
	switch {
	case err != nil:
		return crossSlot
	case r.info != nil && (r.info.Request == command.AllNodes || r.info.Request == command.AllShards) && r.info.Reply != command.SpecialReply:
		return fmt.Sprintf("respool: %s in a transaction would reach only one node of the cluster: send it outside", r.info.Name)
	case slot == command.NoSlot:
	case t.slot == command.NoSlot:
		t.slot = slot
	case t.slot != slot:
		t.crossSlot = true
	}
	return ""
}

// crossesSlots reports whether the keys of a transaction, and the watched keys, lie in several slots of a cluster.
func (s *Session) crossesSlots(t *transaction) bool {
	return s.cfg.Cluster && (t.crossSlot || s.pin.watching() && t.slot != command.NoSlot && t.slot != int(s.pin.slot))
}

// watchOnCluster handles WATCH: all watched keys lie in one slot.
func (s *Session) watchOnCluster(r request) Step {
	slot, err := command.SlotOfBytes(r.info, r.args)
	if err != nil || s.pin.watching() && slot != int(s.pin.slot) {
		return failure(crossSlot)
	}
	s.pin.slot = uint16(slot)
	step := s.pin.forwardPinning(r, pinWatch)
	step.onDone = watchedOnCluster
	return step
}

func watchedOnCluster(s *Session, step *Step, frames [][]byte) Outcome {
	if step.OnPin && redirects(frames) {
		out := s.pin.lose() // another node serves the keys now: they may have changed
		out.Reply = replyOK
		return out
	}
	return pinningDone(s, step, frames)
}

// redirects reports whether one of the replies states that another node serves the slot, now or soon.
func redirects(frames [][]byte) bool {
	for _, f := range frames {
		for _, code := range redirectCodes {
			if bytes.HasPrefix(f, code) {
				return true
			}
		}
	}
	return false
}

var redirectCodes = [][]byte{[]byte("-MOVED "), []byte("-ASK "), []byte("-TRYAGAIN")}

// notOnCluster returns the error of a command that observes one server.
func notOnCluster(name, instead string) Step {
	return failure(fmt.Sprintf("respool: %s is not possible through a gateway to a cluster: %s", name, instead))
}
