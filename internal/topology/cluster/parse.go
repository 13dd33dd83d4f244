package cluster

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

const (
	maxShards   = 4096 // maximum number of primaries in an answer
	maxReplicas = 64   // maximum number of replicas of a primary
)

// clusterInfo is the relevant part of the answer to CLUSTER INFO.
type clusterInfo struct {
	state string
	epoch uint64 // cluster_current_epoch
}

// infoOf reads the answer to CLUSTER INFO, or returns the reason why it is malformed.
func infoOf(v resp.Value) (info clusterInfo, problem string) {
	switch v.Kind {
	case resp.SimpleString, resp.BulkString, resp.Verbatim:
	default:
		return info, "is no text"
	}
	var epoch string
	for line := range strings.Lines(string(v.Str[:min(len(v.Str), 1<<16)])) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); key {
		case "cluster_state":
			info.state = value
		case "cluster_current_epoch":
			epoch = value
		}
	}
	if info.state == "" {
		return info, "has no cluster_state"
	}
	var err error
	if info.epoch, err = strconv.ParseUint(epoch, 10, 64); err != nil {
		return info, "has no cluster_current_epoch"
	}
	return info, ""
}

// StateOf returns the part of the answer to CLUSTER INFO that changes with the owners of slots and with the nodes of the
// cluster. It is empty for an answer that has none.
func StateOf(info resp.Value) string {
	var parts []string
	for line := range strings.Lines(string(info.Str[:min(len(info.Str), 1<<16)])) {
		switch key, _, _ := strings.Cut(line, ":"); key {
		case "cluster_current_epoch", "cluster_size", "cluster_known_nodes":
			parts = append(parts, strings.TrimSpace(line))
		}
	}
	return strings.Join(parts, " ")
}

// slotsReader reads the answer to CLUSTER SLOTS of one node.
type slotsReader struct {
	cfg  *Config
	from Node

	shards   []Shard
	owner    [Slots]uint16
	unread   [Slots]bool    // slots whose primary is malformed
	index    map[string]int // primaries in shards
	problems []string       // reasons why parts of the answer were skipped; at most one for each part
}

// slotsOf reads the answer to CLUSTER SLOTS of a node. It fails if the answer is no list at all.
//
//	[[first, last, primary, replica, ...], ...], where a node is [host, port, id, [name, value, ...]]
func slotsOf(cfg *Config, from Node, v resp.Value) (*slotsReader, bool) {
	if v.Kind != resp.Array || v.Null {
		return nil, false
	}
	r := &slotsReader{cfg: cfg, from: from, index: map[string]int{}}
	for _, e := range v.Elems {
		r.entry(e)
	}
	for i := range r.shards {
		r.shards[i].sort()
	}
	return r, true
}

func (r *slotsReader) skip(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// entry reads one range of slots.
func (r *slotsReader) entry(v resp.Value) {
	if v.Kind != resp.Array || len(v.Elems) < 2 {
		r.skip("a range of slots is malformed")
		return
	}
	first, last := v.Elems[0], v.Elems[1]
	if first.Kind != resp.Integer || last.Kind != resp.Integer || first.Int < 0 || first.Int > last.Int || last.Int >= Slots {
		r.skip("a range of slots has no valid limits")
		return
	}
	shard := -1
	if len(v.Elems) < 3 {
		r.skip("slots %d-%d have no primary", first.Int, last.Int)
	} else if primary, ok := r.node(v.Elems[2]); ok {
		shard = r.shard(primary)
	}
	for slot := first.Int; slot <= last.Int; slot++ {
		switch {
		case shard < 0:
			r.unread[slot] = true
		case r.owner[slot] == 0: // a slot has one owner: the first one counts
			r.owner[slot] = uint16(shard + 1)
		}
	}
	if shard < 0 {
		return
	}
	for _, e := range v.Elems[3:] {
		if n, ok := r.node(e); ok {
			r.replica(shard, n)
		}
	}
}

// shard returns the index of a primary's shard, or -1 if there are too many.
func (r *slotsReader) shard(primary Node) int {
	i, ok := r.index[primary.Addr]
	if ok {
		return i
	}
	if len(r.shards) >= maxShards {
		r.skip("there are more than %d primaries", maxShards)
		return -1
	}
	r.index[primary.Addr] = len(r.shards)
	r.shards = append(r.shards, Shard{Primary: primary})
	return len(r.shards) - 1
}

func (r *slotsReader) replica(shard int, n Node) {
	s := &r.shards[shard]
	if n.Addr == s.Primary.Addr || s.replica(n.Addr) >= 0 {
		return
	}
	if len(s.Replicas) >= maxReplicas {
		r.skip("%s has more than %d replicas", s.Primary.Addr, maxReplicas)
		return
	}
	s.Replicas = append(s.Replicas, n)
}

// node reads one node.
func (r *slotsReader) node(v resp.Value) (Node, bool) {
	if v.Kind != resp.Array || len(v.Elems) < 2 || v.Elems[1].Kind != resp.Integer {
		r.skip("a node is malformed")
		return Node{}, false
	}
	host, id, hostname, ip := topology.TextOf(v.Elems[0]), "", "", ""
	if len(v.Elems) > 2 {
		id = topology.TextOf(v.Elems[2])
	}
	if len(v.Elems) > 3 {
		hostname, ip = metadataOf(v.Elems[3])
	}
	if host == "?" { // the cluster announces hostnames, and this node has none
		host = ip
		if host == "" {
			r.skip("a node has no hostname, and no address instead")
			return Node{}, false
		}
	}
	n, ok := r.cfg.locate(r.from, host, strconv.FormatInt(v.Elems[1].Int, 10), hostname)
	if !ok {
		r.skip("a node has no address: %s", topology.Clip(fmt.Sprintf("%q port %d", host, v.Elems[1].Int)))
		return Node{}, false
	}
	n.ID = topology.Clip(id)
	return n, true
}

// metadataOf reads a node's names and values, from a map or from an array in which they alternate. It ignores
// malformed ones.
func metadataOf(v resp.Value) (hostname, ip string) {
	if v.Kind != resp.Array && v.Kind != resp.Map {
		return "", ""
	}
	for i := 0; i+1 < len(v.Elems); i += 2 {
		value := topology.TextOf(v.Elems[i+1])
		if _, ok := topology.JoinAddr(value, "1"); !ok {
			continue // no characters of a name or an address
		}
		switch topology.TextOf(v.Elems[i]) {
		case "hostname":
			hostname = value
		case "ip":
			ip = value
		}
	}
	return hostname, ip
}
