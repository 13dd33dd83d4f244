package sentinel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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

func (i *masterInfo) flagText() string { return clip(strings.Join(i.flags, ",")) }

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

// errorOf returns the error in a reply, or nil.
func errorOf(v resp.Value) *resp.ServerError {
	if v.Kind == resp.SimpleError || v.Kind == resp.BulkError {
		return resp.NewServerError(string(v.Str))
	}
	return nil
}

// textOf returns a string's text, at most 256 bytes of it.
func textOf(v resp.Value) string {
	switch v.Kind {
	case resp.SimpleString, resp.BulkString, resp.Verbatim:
		return string(v.Str[:min(len(v.Str), 256)])
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
		switch name := textOf(v.Elems[i]); name {
		case "name", "ip", "port", "runid", "flags", "num-other-sentinels", "config-epoch", "master-link-status", "role-reported":
			fields[name] = textOf(v.Elems[i+1])
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
	if info.addr, ok = joinAddr(fields["ip"], fields["port"]); !ok {
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
	flags := strings.SplitN(clip(text), ",", 16)
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
		addr, ok := joinAddr(fields["ip"], fields["port"])
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

// roleInfo is a node's answer to ROLE, or the reason why there is none.
type roleInfo struct {
	kind    string // master, slave or sentinel; empty if there is a problem
	offset  int64
	link    string // of a replica
	primary string // of a replica
	problem string
}

func (r roleInfo) is(kind string) bool { return r.kind == kind }

// text returns the node's answer in words.
func (r roleInfo) text() string {
	switch r.kind {
	case "":
		return "does not answer ROLE: " + r.problem
	case "master":
		return "says that it is a primary"
	case "slave":
		return "says that it is a replica of " + r.primary
	}
	return "says that it is a sentinel"
}

// roleOf reads the answer to ROLE.
func roleOf(e Answer) roleInfo {
	if e.Err != nil {
		_, detail := findingOf(e.Err)
		return roleInfo{problem: detail}
	}
	if err := errorOf(e.Reply); err != nil {
		return roleInfo{problem: harmless(err.Error())}
	}
	malformed := roleInfo{problem: "its answer is malformed"}
	elems := e.Reply.Elems
	if e.Reply.Kind != resp.Array || len(elems) == 0 {
		return malformed
	}
	number := func(i int) (int64, bool) {
		if i >= len(elems) || elems[i].Kind != resp.Integer {
			return 0, false
		}
		return elems[i].Int, true
	}
	switch kind := textOf(elems[0]); kind {
	case "master":
		if offset, ok := number(1); ok {
			return roleInfo{kind: kind, offset: offset}
		}
	case "slave":
		port, okPort := number(2)
		offset, ok := number(4)
		if !ok || !okPort {
			return malformed
		}
		addr, ok := joinAddr(textOf(elems[1]), fmt.Sprint(port))
		if !ok {
			return malformed
		}
		return roleInfo{kind: kind, offset: offset, link: clip(textOf(elems[3])), primary: addr}
	case "sentinel":
		return roleInfo{kind: kind}
	}
	return malformed
}
