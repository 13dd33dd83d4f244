package sentinel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/replica"
	"github.com/seed-2b0d76a6/respool/resp"
)

// masterInfo is the relevant part of the answer to SENTINEL MASTER.
type masterInfo struct {
	addr   string
	flags  []string
	others int64 // number of other sentinels that this one knows
	epoch  int64 // config epoch
}

func (i *masterInfo) text() string { return fmt.Sprintf("%s under config epoch %d", i.addr, i.epoch) }

func (i *masterInfo) has(flag string) bool { return slices.Contains(i.flags, flag) }

func (i *masterInfo) down() bool { return i.has("s_down") || i.has("o_down") }

func (i *masterInfo) flagText() string { return topology.Clip(strings.Join(i.flags, ",")) }

// instance is an element of the answers to SENTINEL REPLICAS and SENTINELS.
type instance struct {
	addr  string
	id    string
	flags []string
	link  string // master-link-status of a replica
	role  string // role-reported
}

// replicaProblem returns the reason why a replica is unusable according to the sentinel, or "".
func (i *instance) replicaProblem() string {
	for _, flag := range []string{"s_down", "o_down", "disconnected"} {
		if slices.Contains(i.flags, flag) {
			return "is flagged " + flag
		}
	}
	switch {
	case i.role != "" && i.role != "slave":
		return "does not report itself as a replica"
	case i.link != "" && i.link != "ok":
		return "has no link to its primary"
	}
	return ""
}

// fieldsOf reads names and values, from a map or from an array in which they alternate.
func fieldsOf(v resp.Value) (map[string]string, bool) {
	if v.Kind != resp.Array && v.Kind != resp.Map || v.Null || len(v.Elems)%2 != 0 {
		return nil, false
	}
	fields := make(map[string]string, 8)
	for i := 0; i < len(v.Elems); i += 2 {
		switch name := topology.TextOf(v.Elems[i]); name {
		case "name", "ip", "port", "runid", "flags", "num-other-sentinels", "config-epoch", "master-link-status", "role-reported":
			fields[name] = topology.TextOf(v.Elems[i+1])
		}
	}
	return fields, true
}

// masterOf reads the answer to SENTINEL MASTER, or returns the reason why it is invalid.
func masterOf(v resp.Value) (info masterInfo, problem string) {
	fields, ok := fieldsOf(v)
	if !ok {
		return info, "is no list of names and values"
	}
	if info.addr, ok = topology.JoinAddr(fields["ip"], fields["port"]); !ok {
		return info, "has no address"
	}
	if fields["flags"] == "" {
		return info, "has no flags"
	}
	info.flags = flagsOf(fields["flags"])
	if info.others, ok = countOf(fields["num-other-sentinels"]); !ok {
		return info, "has no number of other sentinels"
	}
	if info.epoch, ok = countOf(fields["config-epoch"]); !ok {
		return info, "has no config epoch"
	}
	if info.has("failover_in_progress") && info.epoch > 0 {
		// The leader of a failover increases the epoch when the replica is promoted. It reports the old address until
		// all replicas follow: the new epoch does not belong to that address.
		info.epoch--
	}
	return info, ""
}

func countOf(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0
}

// flagsOf limits the number of flags, to limit memory.
func flagsOf(text string) []string {
	flags := strings.SplitN(topology.Clip(text), ",", 16)
	return slices.Clip(flags)
}

// instancesOf reads the answer to SENTINEL REPLICAS or SENTINELS. bad is the number of malformed elements.
func instancesOf(v resp.Value) (list []instance, bad int) {
	if v.Kind != resp.Array || v.Null {
		return nil, 1
	}
	for _, e := range v.Elems {
		fields, ok := fieldsOf(e)
		if !ok {
			bad++
			continue
		}
		addr, ok := topology.JoinAddr(fields["ip"], fields["port"])
		if !ok {
			bad++
			continue
		}
		list = append(list, instance{
			addr: addr, id: fields["runid"], flags: flagsOf(fields["flags"]),
			link: fields["master-link-status"], role: fields["role-reported"],
		})
	}
	return list, bad
}

// roleOf reads the answer to ROLE.
func roleOf(e Answer) replica.Role {
	if e.Err != nil {
		_, detail := findingOf(e.Err)
		return replica.Role{Problem: detail}
	}
	return replica.RoleOf(e.Reply)
}
