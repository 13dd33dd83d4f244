package command

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Limits of a server's description of its commands. The rest is ignored.
const (
	maxReply    = 4 << 20 // bytes of a reply
	maxEntry    = 1 << 20 // bytes of a command with its subcommands
	maxCommands = 4096
	maxSubs     = 256
	maxKeySpecs = 16
	// MaxName is the maximum length of a name in a query.
	MaxName = 64
)

// FromFlags returns the Info of a command that the table lacks from its flags and ACL categories in the reply to
// COMMAND. A command that concerns the connection, or neither reads nor writes data, stays Unknown, because its
// effect is not described: MULTI and MONITOR under another name have no flag for it.
func FromFlags(name string, flags, categories []string) *Info {
	info := &Info{
		Name: name, Class: Multiplexed,
		ReadOnly: slices.Contains(flags, "readonly"),
		Write:    slices.Contains(flags, "write"),
		Admin:    slices.Contains(flags, "admin") || slices.Contains(categories, "@admin"),
		NoMulti:  slices.Contains(flags, "no_multi"),
		Movable:  slices.Contains(flags, "movablekeys"),
	}
	switch {
	case info.ReadOnly == info.Write, slices.Contains(categories, "@connection"):
		info.Class, info.Effect, info.ReadOnly = Unknown, EffectTaint, false
	case slices.Contains(flags, "blocking"), slices.Contains(categories, "@blocking"): // older servers lack the flag
		info.Class = Blocking
	}
	return info
}

// ReadInfo parses the reply to COMMAND INFO with one name. It returns nil if the server lacks the command. name is
// the one of QueryName.
func ReadInfo(name string, reply []byte) (*Info, error) {
	if len(reply) > maxEntry {
		return nil, fmt.Errorf("command: the reply to COMMAND INFO has %d bytes: want %d at most", len(reply), maxEntry)
	}
	v, _, err := resp.Decode(reply)
	if err != nil {
		return nil, fmt.Errorf("command: read the reply to COMMAND INFO: %w", err)
	}
	if len(v.Elems) == 0 || v.Elems[0].Null {
		return nil, nil
	}
	info := readEntry(strings.Replace(name, "|", " ", 1), v.Elems[0])
	if info == nil {
		return nil, fmt.Errorf("command: the reply to COMMAND INFO does not describe %q", name)
	}
	return info, nil
}

// The elements of an entry. Servers before 7.0 send only the first seven.
const (
	entryName = iota
	entryArity
	entryFlags
	entryFirst
	entryLast
	entryStep
	entryCategories
	entryTips
	entryKeySpecs
	entrySubs
	leastEntry = entryCategories + 1
)

// readEntry returns the Info of an entry, or nil if the entry is invalid.
func readEntry(name string, v resp.Value) *Info {
	e := v.Elems
	if len(e) < leastEntry || e[entryArity].Kind != resp.Integer {
		return nil
	}
	info := FromFlags(name, texts(e[entryFlags]), texts(e[entryCategories]))
	arity := e[entryArity].Int
	if arity == 0 || arity < math.MinInt16 || arity > math.MaxInt16 {
		return nil
	}
	info.Arity = int(arity)
	if len(e) > entryKeySpecs {
		info.Keys = readKeySpecs(info, e[entryKeySpecs].Elems)
		for i := range info.Keys {
			info.Keys[i].Optional = info.Keys[i].Counted && slices.Contains(texts(e[entryFlags]), "no_mandatory_keys")
		}
	}
	if info.Keys == nil {
		info.Incomplete = info.Movable
		if !info.Movable {
			info.Keys = readRange(e[entryFirst].Int, e[entryLast].Int, e[entryStep].Int)
		}
	}
	if len(e) > entryTips {
		info.readPolicies(texts(e[entryTips]))
	}
	if len(e) > entrySubs && !strings.Contains(name, " ") {
		info.subs = readSubs(name, e[entrySubs].Elems)
	}
	return info
}

// readSubs parses the entries of subcommands, whose names include the container: config|get.
func readSubs(container string, entries []resp.Value) (subs []Info) {
	for _, v := range entries {
		_, sub, found := strings.Cut(strings.ToUpper(nameOf(v)), "|")
		if !found || len(subs) == maxSubs || !nameable(sub) {
			continue
		}
		if info := readEntry(container+" "+sub, v); info != nil {
			subs = append(subs, *info)
		}
	}
	return subs
}

// nameOf returns the name in an entry. A server that renamed the command keeps the old name there.
func nameOf(v resp.Value) string {
	if len(v.Elems) == 0 {
		return ""
	}
	return string(v.Elems[entryName].Str)
}

// nameable reports whether a server can be queried about a name.
func nameable(name string) bool {
	return name != "" && len(name) <= MaxName && !strings.ContainsAny(name, "| \r\n\x00")
}

// texts returns the texts in an aggregate.
func texts(v resp.Value) []string {
	list := make([]string, 0, len(v.Elems))
	for _, e := range v.Elems {
		list = append(list, string(e.Str))
	}
	return list
}

// readRange returns the key specification of servers that send the first key, the last and the step.
func readRange(first, last, step int64) []KeySpec {
	if last > 0 {
		last -= first
	}
	begin, ok1 := small(first, 1, math.MaxInt8)
	end, ok2 := small(last, math.MinInt8, math.MaxInt8)
	stride, ok3 := small(step, 1, math.MaxInt8)
	if !ok1 || !ok2 || !ok3 {
		return nil
	}
	return []KeySpec{{Begin: begin, Last: end, Step: stride}}
}

// small returns n in the type of the table, if it is within the limits.
func small(n int64, least, most int64) (int8, bool) {
	if n < least || n > most {
		return 0, false
	}
	return int8(n), true
}

// readKeySpecs parses the key specifications of servers from 7.0 on. If the table cannot represent one, the keys are
// movable and the specifications incomplete.
func readKeySpecs(info *Info, list []resp.Value) (specs []KeySpec) {
	for _, v := range list {
		spec, ok := readKeySpec(v)
		if !ok || len(specs) == maxKeySpecs {
			info.Movable, info.Incomplete = true, true
			continue
		}
		if slices.ContainsFunc(texts(field(v, "flags")), isIncomplete) {
			info.Incomplete = true
		}
		info.Movable = info.Movable || spec.Counted || spec.Keyword != ""
		specs = append(specs, spec)
	}
	return specs
}

func isIncomplete(flag string) bool { return strings.EqualFold(flag, "incomplete") }

func readKeySpec(v resp.Value) (spec KeySpec, ok bool) {
	begin, find := field(v, "begin_search"), field(v, "find_keys")
	at := field(begin, "spec")
	switch string(field(begin, "type").Str) {
	case "index":
		if spec.Begin, ok = small(field(at, "index").Int, 1, math.MaxInt8); !ok {
			return spec, false
		}
	case "keyword":
		spec.Keyword = strings.ToUpper(string(field(at, "keyword").Str))
		if spec.Begin, ok = small(field(at, "startfrom").Int, math.MinInt8, math.MaxInt8); !ok || !nameable(spec.Keyword) {
			return spec, false
		}
	default:
		return spec, false
	}
	how := field(find, "spec")
	var ok1, ok2, ok3 bool
	spec.Step, ok1 = small(field(how, "keystep").Int, 1, math.MaxInt8)
	switch string(field(find, "type").Str) {
	case "range":
		spec.Last, ok2 = small(field(how, "lastkey").Int, math.MinInt8, math.MaxInt8)
		spec.Limit, ok3 = small(field(how, "limit").Int, 0, math.MaxInt8)
		return spec, ok1 && ok2 && ok3
	case "keynum":
		spec.Counted = true
		return spec, ok1 && spec.Keyword == "" && field(how, "keynumidx").Int == 0 && field(how, "firstkey").Int == 1
	}
	return spec, false
}

// field returns the value of a key, in a map or in the array that replaces it in RESP2.
func field(v resp.Value, key string) resp.Value {
	for i := 0; i+1 < len(v.Elems); i += 2 {
		if string(v.Elems[i].Str) == key {
			return v.Elems[i+1]
		}
	}
	return resp.Value{}
}
