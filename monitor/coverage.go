package monitor

import (
	"fmt"
	"strings"
)

// The conditions of the rules about a cluster as a whole.

func findUncovered(v *View, limit float64) []Finding {
	if !v.Cluster.Known() {
		return nil
	}
	n, slots := v.Cluster.Uncovered()
	if float64(n) <= limit {
		return nil
	}
	var failed []string
	for i := range v.Cluster.Nodes {
		if m := &v.Cluster.Nodes[i]; m.Failed && m.Slots > 0 {
			failed = append(failed, m.Name())
		}
	}
	f := Finding{
		What:     fmt.Sprintf("no node serves %s of %d: commands on their keys fail", counted(n, "slot"), ClusterSlots),
		Evidence: "slots " + slots + ", as " + v.Cluster.From + " reports",
		Remedy:   "assign them to a node: redis-cli --cluster fix " + v.Cluster.From,
	}
	if !v.Cluster.OK {
		f.What = fmt.Sprintf("the cluster is down: no node serves %s of %d", counted(n, "slot"), ClusterSlots)
	}
	if len(failed) > 0 {
		f.Evidence += "; failed: " + strings.Join(failed, ", ")
		f.Remedy = "start the failed node, or make a replica of it the primary: CLUSTER FAILOVER TAKEOVER on the replica"
	}
	return []Finding{f}
}

func findNoReplica(v *View, _ float64) (list []Finding) {
	if !v.Cluster.Known() {
		return nil
	}
	for _, name := range v.Cluster.WithoutReplica() {
		p := v.Cluster.Node(name)
		if p == nil {
			continue
		}
		var failed []string
		for i := range v.Cluster.Nodes {
			if m := &v.Cluster.Nodes[i]; m.Primary == p.ID {
				failed = append(failed, m.Name())
			}
		}
		f := Finding{
			Subject:  name,
			What:     name + " has no replica: if it fails, " + counted(p.Slots, "slot") + " have no node",
			Evidence: "no node replicates it",
			Remedy:   "add one: redis-cli --cluster add-node HOST:PORT " + name + " --cluster-slave --cluster-master-id " + p.ID,
		}
		if len(failed) > 0 {
			f.What = name + " has no replica that works: if it fails, " + counted(p.Slots, "slot") + " have no node"
			f.Evidence = "failed: " + strings.Join(failed, ", ")
			f.Remedy = "start the failed node, or remove it and add another replica"
		}
		list = append(list, f)
	}
	return list
}

// hotLeast is the smallest difference in connections that makes a node hot.
const hotLeast = 20

func findHotNode(v *View, limit float64) []Finding {
	n, ratio, others := v.Hottest()
	if n == nil || ratio <= limit || float64(n.Last.Connections)-others < hotLeast {
		return nil
	}
	return []Finding{{
		What:     fmt.Sprintf("%s has %.1f times the connections of the other primaries", n.Addr, ratio),
		Evidence: fmt.Sprintf("%s; the other primaries have %.0f on average", filled(n.Last), others) + holders(n),
		Remedy:   "find who holds them (respool who URL): a hot key or hash tag, or clients that use one node only; spread the keys, or move slots; " + FullRemedy(v.Pages, v.Socket),
		Node:     n.Addr,
	}}
}

// Hottest returns the primary of a cluster with the most connections, the mean of the other primaries, and the ratio
// of the two. It returns nil if fewer than two primaries with slots answer.
func (s *State) Hottest() (n *NodeState, ratio, others float64) {
	if !s.Cluster.Known() {
		return nil, 0, 0
	}
	sum, count := int64(0), 0
	for _, p := range s.Cluster.Primaries() {
		one := s.Node(p.Addr)
		if one == nil || !one.Up || one.Last == nil || one.Last.Uncounted {
			continue
		}
		sum += one.Last.Connections
		count++
		if n == nil || one.Last.Connections > n.Last.Connections {
			n = one
		}
	}
	if count < 2 {
		return nil, 0, 0
	}
	others = float64(sum-n.Last.Connections) / float64(count-1)
	return n, float64(n.Last.Connections) / max(1, others), others
}

// DiagnoseNodes returns the findings about the servers of a service or a cluster together: those that do not answer,
// and those about slots, replicas and the distribution of connections.
func DiagnoseNodes(st *State) (list []Finding) {
	v := &View{State: st}
	for _, name := range []string{"slots", "down", "full", "no-replica", "hot-node"} {
		kind := kindOf(name)
		for _, f := range kind.find(v, kind.Limit) {
			f.Rule, f.Severity = name, kind.Severity
			list = append(list, f)
		}
	}
	return list
}
