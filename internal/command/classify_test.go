package command_test

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

type (
	text  string
	bytes []byte
)

var classified = []struct {
	args  []any
	name  string
	class command.Class
}{
	{nil, "", command.Unknown},
	{[]any{}, "", command.Unknown},
	{[]any{nil}, "", command.Unknown},
	{[]any{7}, "", command.Unknown},
	{[]any{""}, "", command.Unknown},
	{[]any{"JSON.GET", "key"}, "", command.Unknown},
	{[]any{[]string{"GET"}}, "", command.Unknown},

	{[]any{"GET", "key"}, "GET", command.Multiplexed},
	{[]any{"get"}, "GET", command.Multiplexed},
	{[]any{[]byte("Get"), []byte("key")}, "GET", command.Multiplexed},
	{[]any{text("GET"), "key"}, "GET", command.Multiplexed},
	{[]any{bytes("GET"), "key"}, "GET", command.Multiplexed},
	{[]any{"FLUSHALL"}, "FLUSHALL", command.Multiplexed},
	{[]any{"SHUTDOWN", "NOSAVE"}, "SHUTDOWN", command.Blocking},
	{[]any{"DEBUG", "SLEEP", 1}, "DEBUG", command.Blocking},
	{[]any{"EVAL", "return redis.call('BLPOP', 'a', 0)", 0}, "EVAL", command.Multiplexed},

	{[]any{"BLPOP", "key", 1}, "BLPOP", command.Blocking},
	{[]any{"WAIT", 1, 0}, "WAIT", command.Stateful},
	{[]any{"SUBSCRIBE", "channel"}, "SUBSCRIBE", command.Refused},
	{[]any{"select", 1}, "SELECT", command.Stateful},

	{[]any{"CLIENT"}, "CLIENT", command.Stateful},
	{[]any{"CLIENT", "LIST"}, "CLIENT LIST", command.Multiplexed},
	{[]any{"client", []byte("list"), "ID", 7}, "CLIENT LIST", command.Multiplexed},
	{[]any{"CLIENT", text("list")}, "CLIENT LIST", command.Multiplexed},
	{[]any{"CLIENT", "REPLY", "OFF"}, "CLIENT REPLY", command.Refused},
	{[]any{"CLIENT", "IMPORT-SOURCE", "ON"}, "CLIENT IMPORT-SOURCE", command.Stateful},
	{[]any{"CLIENT", "MAINT_NOTIFICATIONS", "ON"}, "CLIENT", command.Stateful},
	{[]any{"CLIENT", 7}, "CLIENT", command.Stateful},
	{[]any{"SCRIPT", "LOAD", "return 1"}, "SCRIPT LOAD", command.Multiplexed},
	{[]any{"SCRIPT", "DEBUG", "YES"}, "SCRIPT DEBUG", command.Refused},
	{[]any{"CONFIG", "SET", "maxclients", 10}, "CONFIG SET", command.Multiplexed},
	{[]any{"CLUSTER", "NODES"}, "CLUSTER NODES", command.Multiplexed},
	{[]any{"CLUSTER", "SYNCSLOTS"}, "CLUSTER", command.Stateful},
	{[]any{"XGROUP", "FROBNICATE"}, "XGROUP", command.Multiplexed},
	{[]any{"COMMANDLOG", "GET", -1, "slow"}, "COMMANDLOG GET", command.Multiplexed},
	{[]any{"HGETEX", "h", "FIELDS", 1, "f"}, "HGETEX", command.Multiplexed},
	{[]any{"VSIM", "v", "ELE", "a"}, "VSIM", command.Multiplexed},

	{[]any{"XREAD", "STREAMS", "a", "$"}, "XREAD", command.Multiplexed},
	{[]any{"XREAD", "COUNT", 2, "STREAMS", "a", "$"}, "XREAD", command.Multiplexed},
	{[]any{"XREAD", "BLOCK", 0, "STREAMS", "a", "$"}, "XREAD", command.Blocking},
	{[]any{"xread", "count", "2", "block", "0", "streams", "a", "$"}, "XREAD", command.Blocking},
	{[]any{"XREAD", []byte("Block"), 0, "STREAMS", "a", "$"}, "XREAD", command.Blocking},
	{[]any{"XREAD", text("BLOCK"), 0, "STREAMS", "a", "$"}, "XREAD", command.Blocking},
	{[]any{"XREAD", bytes("block"), 0, "STREAMS", "a", "$"}, "XREAD", command.Blocking},
	{[]any{"XREAD", "BLOCK\x00", 0, "STREAMS", "a", "$"}, "XREAD", command.Blocking},
	{[]any{"XREAD", []byte("COUNT\x00a"), 1, text("block\x00"), 0, "STREAMS", "a", "$"}, "XREAD", command.Blocking},
	{[]any{"XREAD", "STREAMS\x00", "BLOCK", "0"}, "XREAD", command.Multiplexed},
	{[]any{"XREAD", "STREAMS", "BLOCK", "0"}, "XREAD", command.Multiplexed},
	{[]any{"XREAD", text("STREAMS"), "BLOCK", "0"}, "XREAD", command.Multiplexed},
	{[]any{"XREAD", "COUNT", "BLOCK", "STREAMS", "a", "0"}, "XREAD", command.Multiplexed},
	{[]any{"XREAD", "BLOCK"}, "XREAD", command.Multiplexed},
	{[]any{"XREAD"}, "XREAD", command.Multiplexed},
	{[]any{"XREADGROUP", "GROUP", "g", "c", "STREAMS", "a", ">"}, "XREADGROUP", command.Multiplexed},
	{[]any{"XREADGROUP", "GROUP", "g", "c", "NOACK", "BLOCK", 5, "STREAMS", "a", ">"}, "XREADGROUP", command.Blocking},
	{[]any{"XREADGROUP", "GROUP", "BLOCK", "STREAMS", "BLOCK", 5, "STREAMS", "a", ">"}, "XREADGROUP", command.Blocking},
	{[]any{"XREADGROUP", "GROUP", "BLOCK", "5", "STREAMS", "a", ">"}, "XREADGROUP", command.Multiplexed},
	{[]any{"XREADGROUP", "GROUP", "g", "BLOCK", "STREAMS", "a", ">"}, "XREADGROUP", command.Multiplexed},
	{[]any{"XREADGROUP", "BLOCK", 5, "GROUP", "g", "c", "STREAMS", "a", ">"}, "XREADGROUP", command.Blocking},
	{[]any{"XREADGROUP", "GROUP", "g", "c", "CLAIM", 9, "BLOCK", 5, "STREAMS", "a", ">"}, "XREADGROUP", command.Blocking},
}

func TestClassify(t *testing.T) {
	for _, c := range classified {
		info, class := command.Classify(c.args)
		if name := nameOf(info); name != c.name || class != c.class {
			t.Errorf("%v: %q is %s, want %q to be %s", c.args, name, class, c.name, c.class)
		}
		raw, ok := toBytes(c.args)
		if !ok {
			continue
		}
		if inBytes, same := command.ClassifyBytes(raw); inBytes != info || same != class {
			t.Errorf("%q: %q is %s in bytes", raw, nameOf(inBytes), same)
		}
	}
}

func TestWhatTheFlagsOfAServerSayIsEnough(t *testing.T) {
	for _, c := range []struct {
		flags, categories []string
		class             command.Class
	}{
		{[]string{"readonly", "module"}, []string{"@read"}, command.Multiplexed},
		{[]string{"write", "denyoom"}, nil, command.Multiplexed},
		{[]string{"write", "blocking"}, nil, command.Blocking},
		{[]string{"write"}, []string{"@write", "@blocking"}, command.Blocking},
		{[]string{"readonly"}, []string{"@connection"}, command.Unknown},
		{[]string{"pubsub", "noscript"}, []string{"@pubsub"}, command.Unknown},
		{[]string{"noscript", "loading", "stale", "fast"}, []string{"@fast", "@transaction"}, command.Unknown}, // MULTI
		{[]string{"admin", "noscript", "loading", "stale"}, []string{"@admin", "@slow"}, command.Unknown},      // MONITOR
		{nil, []string{"@slow"}, command.Unknown},                                                              // CLIENT
	} {
		if info := command.FromFlags("NAME", c.flags, c.categories); info.Class != c.class {
			t.Errorf("%q and %q: %s, want %s", c.flags, c.categories, info.Class, c.class)
		}
	}
}

func TestNothingOnTheWayOfACommandAllocates(t *testing.T) {
	name := []byte("XREADGROUP")
	n, f, value := 1_000_000, 2.5, []byte("value")
	raw := [][]byte{[]byte("xread"), []byte("block"), []byte("1000"), []byte("streams"), []byte("a"), []byte("$")}
	for what, run := range map[string]func(){
		"Lookup":        func() { command.Lookup("georadiusbymember_ro") },
		"LookupBytes":   func() { command.LookupBytes(name) },
		"LookupSub":     func() { command.LookupSub("client", "list") },
		"Classify":      func() { command.Classify([]any{"set", string(name), value, "EX", n, f}) },
		"ClassifyBytes": func() { command.ClassifyBytes(raw) },
		"BlockForBytes": func() { command.BlockForBytes(command.LookupBytes(raw[0]), raw) },
		"XREAD": func() {
			args := []any{"XREAD", "COUNT", n, text("block"), n, "STREAMS", value, "$"}
			info, _ := command.Classify(args)
			command.BlockFor(info, args)
		},
		"BLPOP": func() {
			args := []any{"BLPOP", value, f}
			info, _ := command.Classify(args)
			command.BlockFor(info, args)
		},
	} {
		if allocs := testing.AllocsPerRun(100, run); allocs != 0 {
			t.Errorf("%s: %v allocations", what, allocs)
		}
	}
}

func nameOf(info *command.Info) string {
	if info == nil {
		return ""
	}
	return info.Name
}

// toBytes turns texts and small numbers into bytes.
func toBytes(args []any) (raw [][]byte, ok bool) {
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			raw = append(raw, []byte(v))
		case []byte:
			raw = append(raw, v)
		case int:
			if v < 0 || v > 9 {
				return nil, false
			}
			raw = append(raw, []byte{'0' + byte(v)})
		default:
			return nil, false
		}
	}
	return raw, true
}
