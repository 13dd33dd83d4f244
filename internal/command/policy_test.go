package command_test

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

func TestPoliciesAreAsPinned(t *testing.T) {
	for policy, pinned := range map[command.RequestPolicy]string{
		command.AllNodes: `ACL DELUSER, ACL LOAD, ACL LOG, ACL SAVE, ACL SETUSER, COMMANDLOG GET, COMMANDLOG LEN, COMMANDLOG RESET, CONFIG RESETSTAT,
			CONFIG REWRITE, CONFIG SET, LATENCY DOCTOR, LATENCY GRAPH, LATENCY HISTOGRAM, LATENCY HISTORY, LATENCY LATEST,
			LATENCY RESET, MODULE LOAD, MODULE LOADEX, MODULE UNLOAD, SCRIPT FLUSH, SLOWLOG GET, SLOWLOG LEN, SLOWLOG RESET`,
		command.AllShards: `CLUSTER SLOT-STATS, DBSIZE, FLUSHALL, FLUSHDB, FUNCTION DELETE, FUNCTION FLUSH, FUNCTION KILL,
			FUNCTION LOAD, FUNCTION RESTORE, FUNCTION STATS, INFO, KEYS, MEMORY DOCTOR, MEMORY MALLOC-STATS, MEMORY PURGE,
			MEMORY STATS, PUBSUB CHANNELS, PUBSUB NUMPAT, PUBSUB NUMSUB, PUBSUB SHARDCHANNELS, PUBSUB SHARDNUMSUB, SCRIPT EXISTS, SCRIPT KILL, SCRIPT LOAD`,
		command.MultiShard:     `DEL, EXISTS, MGET, MSET, TOUCH, UNLINK, XREAD`,
		command.SpecialRequest: `HOTKEYS GET, HOTKEYS RESET, HOTKEYS START, HOTKEYS STOP, RANDOMKEY, SCAN, WAIT, WAITAOF`,
	} {
		check(t, policy.String(), pinned, func(info *command.Info) bool { return info.Request == policy })
	}
	for policy, pinned := range map[command.ReplyPolicy]string{
		command.KeyOrder:     "MGET",
		command.Joined:       "CLUSTER SLOT-STATS, COMMANDLOG GET, KEYS, SLOWLOG GET, XREAD",
		command.OneSucceeded: "FUNCTION KILL, SCRIPT KILL",
		command.AllSucceeded: `ACL DELUSER, ACL LOAD, ACL SAVE, ACL SETUSER, COMMANDLOG RESET, CONFIG RESETSTAT, CONFIG REWRITE, CONFIG SET,
			FLUSHALL, FLUSHDB, FUNCTION DELETE, FUNCTION FLUSH, FUNCTION LOAD, FUNCTION RESTORE, MEMORY PURGE, MODULE LOAD, MODULE LOADEX, MODULE UNLOAD, MSET,
			SCRIPT FLUSH, SCRIPT LOAD, SLOWLOG RESET`,
		command.AggSum:        "COMMANDLOG LEN, DBSIZE, DEL, EXISTS, LATENCY RESET, SLOWLOG LEN, TOUCH, UNLINK",
		command.AggMin:        "WAIT, WAITAOF",
		command.AggLogicalAnd: "SCRIPT EXISTS",
		command.SpecialReply: `ACL LOG, FUNCTION STATS, HOTKEYS GET, INFO, LATENCY DOCTOR, LATENCY GRAPH, LATENCY HISTOGRAM, LATENCY HISTORY,
			LATENCY LATEST, MEMORY DOCTOR, MEMORY MALLOC-STATS, MEMORY STATS, PUBSUB CHANNELS, PUBSUB NUMPAT, PUBSUB NUMSUB,
			PUBSUB SHARDCHANNELS, PUBSUB SHARDNUMSUB, SCAN`,
	} {
		check(t, policy.String(), pinned, func(info *command.Info) bool { return info.Reply == policy })
	}
}

func TestPoliciesFitTogether(t *testing.T) {
	for info := range command.All() {
		if info.Request == command.ByKey && info.Reply != command.OneReply {
			t.Errorf("%s runs on one node and its replies are %s", info.Name, info.Reply)
		}
		if (info.Request == command.AllNodes || info.Request == command.AllShards) && info.Reply == command.OneReply {
			t.Errorf("%s runs on %s, and nothing says how its replies become one", info.Name, info.Request)
		}
		if info.Request != command.ByKey && info.Request != command.MultiShard && len(info.Keys) > 0 {
			t.Errorf("%s runs on %s and has keys", info.Name, info.Request)
		}
	}
}

func TestPoliciesAreLearned(t *testing.T) {
	// A spec as an array of pairs, as in RESP2.
	spec := func(last int) string {
		return pairs(word("flags"), words("RW"),
			word("begin_search"), pairs(word("type"), word("index"), word("spec"), pairs(word("index"), number(1))),
			word("find_keys"), pairs(word("type"), word("range"), word("spec"),
				pairs(word("lastkey"), number(last), word("keystep"), number(1), word("limit"), number(0))))
	}
	for _, c := range []struct {
		tips    string
		specs   []string
		request command.RequestPolicy
		reply   command.ReplyPolicy
	}{
		{"", []string{spec(0)}, command.ByKey, command.OneReply},
		{"nondeterministic_output request_policy:new response_policy: request_policy", nil, command.ByKey, command.OneReply},
		{"request_policy:all_shards", nil, command.AllShards, command.Joined},
		{"request_policy:all_nodes response_policy:all_succeeded", nil, command.AllNodes, command.AllSucceeded},
		{"response_policy:agg_logical_or REQUEST_POLICY:ALL_SHARDS", nil, command.AllShards, command.AggLogicalOr},
		{"request_policy:special response_policy:special", nil, command.SpecialRequest, command.SpecialReply},
		{"request_policy:multi_shard", []string{spec(-2)}, command.MultiShard, command.KeyOrder},
		{"request_policy:multi_shard response_policy:agg_sum", []string{spec(-1)}, command.MultiShard, command.AggSum},
		{"request_policy:multi_shard", []string{spec(0), spec(0)}, command.ByKey, command.OneReply}, // no part is a command
		{"response_policy:agg_sum", []string{spec(0)}, command.ByKey, command.OneReply},
	} {
		v := read(t, entry("new", -2, "write", 1, 2, 1, "", words(c.tips), array(c.specs...), array()))
		info := v.Find(args("new"))
		if info == nil || info.Request != c.request || info.Reply != c.reply {
			t.Errorf("%q: %+v", c.tips, info)
		}
	}
}

func TestLearnedCommandsHaveKeys(t *testing.T) {
	index := func(flags string, n int) string {
		return pairs(word("flags"), words(flags),
			word("begin_search"), pairs(word("type"), word("index"), word("spec"), pairs(word("index"), number(n))),
			word("find_keys"), pairs(word("type"), word("range"), word("spec"),
				pairs(word("lastkey"), number(0), word("keystep"), number(1), word("limit"), number(0))))
	}
	v := read(t,
		entry("json.mget", -3, "readonly module", 1, -2, 1, "", array(), array(), array()),
		entry("json.del", -2, "write module", 1, 1, 1, ""), // as older servers tell
		entry("graph.copy", 3, "write module", 0, 0, 0, "", array(), array(index("RW", 1), index("not_key OW", 2)), array()),
		entry("some.keys", -2, "write module movablekeys", 1, 1, 1, "", array(), array(index("RW incomplete", 1)), array()),
		entry("own.keys", -2, "write module movablekeys", 0, 0, 0, "", array(), array(), array()),
	)
	for line, want := range map[string]struct {
		keys       int
		ok         bool
		incomplete bool
	}{
		"JSON.MGET a b $": {2, true, false}, "JSON.DEL a $": {1, true, false}, "JSON.MGET a": {0, false, false},
		"GRAPH.COPY a b": {2, true, false}, "GRAPH.COPY a": {0, false, false}, "SOME.KEYS a b": {1, true, true}, "OWN.KEYS a": {0, true, true},
	} {
		words := args(line)
		info := v.Find(words)
		keys, ok := command.KeysOf(info, words, nil)
		if len(keys) != want.keys || ok != want.ok || info.Incomplete != want.incomplete {
			t.Errorf("%s: keys %v, ok %t, incomplete %t", line, keys, ok, info.Incomplete)
		}
		slot, err := command.SlotOf(info, words)
		if _, cross := err.(*command.CrossSlotError); cross != (want.keys == 2) || (slot == command.Slot("a")) != (want.keys == 1) {
			t.Errorf("%s: slot %d: %v", line, slot, err)
		}
	}
}

func TestEveryPolicyHasAName(t *testing.T) {
	names := map[string]bool{}
	for p := command.ByKey; p <= command.SpecialRequest; p++ {
		names[p.String()] = true
	}
	for p := command.OneReply; p <= command.SpecialReply; p++ {
		names[strings.Replace(p.String(), "special", "special reply", 1)] = true
	}
	if want := int(command.SpecialRequest) + int(command.SpecialReply) + 2; len(names) != want || names[""] {
		t.Errorf("%d names, want %d", len(names), want)
	}
}
