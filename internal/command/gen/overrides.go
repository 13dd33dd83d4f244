package main

// Flags describe the effect of a command on the data, and little of its effect on the connection.
// These tables add the rest. A list contains names of commands. "ACL *" is a container with all its
// subcommands, "CLUSTER /*" only the subcommands. The generator fails at a name that commands.json
// lacks, at a command without a class, and at a command with two.

const (
	useAcquire     = "use Acquire"
	useSubscribe   = "use Client.Subscribe, Client.PSubscribe or Client.SSubscribe"
	useTransaction = "use Client.Transaction or Client.Watch"
	useWatch       = "use Client.Watch"
	useRedisCLI    = "use redis-cli"
)

// rule gives a class to commands whose flags do not determine it.
type rule struct {
	class  string
	effect string
	use    string
	names  []string
}

var rules = []rule{
	{class: "Multiplexed", names: []string{
		"ACL *", "CLUSTER /*", "COMMAND *", "COMMANDLOG *", "CONFIG *", "FUNCTION *", "HOTKEYS *", "LATENCY *",
		"MEMORY *", "MODULE *", "OBJECT *", "PUBSUB *", "SENTINEL *", "SLOWLOG *", "XGROUP *", "XINFO *",
		"CLIENT HELP", "CLIENT KILL", "CLIENT LIST", "CLIENT PAUSE", "CLIENT UNBLOCK", "CLIENT UNPAUSE",
		"SCRIPT EXISTS", "SCRIPT FLUSH", "SCRIPT HELP", "SCRIPT KILL", "SCRIPT LOAD", "SCRIPT SHOW",
		"BGREWRITEAOF", "BGSAVE", "ECHO", "EVAL", "EVALSHA", "FAILOVER", "FCALL", "INFO", "LASTSAVE",
		"PFSELFTEST", "PING", "PUBLISH", "REPLICAOF", "ROLE", "SAVE", "SLAVEOF", "SPUBLISH", "TIME",
	}},

	// They may end the server instead of replying, or change their connection.
	{class: "Blocking", effect: "EffectTaint", names: []string{"DEBUG", "SHUTDOWN"}},

	// A subcommand that is newer than the table has the class of its container. New subcommands of
	// CLIENT and SCRIPT probably concern the connection. One of CLUSTER does: it moves slots.
	{class: "Stateful", effect: "EffectTaint", use: useAcquire, names: []string{
		"ASKING", "CLIENT", "CLIENT CACHING", "CLIENT CAPA", "CLIENT IMPORT-SOURCE", "CLIENT NO-EVICT",
		"CLIENT NO-TOUCH", "CLIENT SETINFO", "CLIENT TRACKING", "CLUSTER", "READONLY", "READWRITE", "RESET", "SCRIPT",
	}},
	{class: "Stateful", effect: "EffectTaint", use: "set the client name in Options, or use Acquire",
		names: []string{"CLIENT SETNAME"}},
	{class: "Stateful", effect: "EffectTaint", use: "set the username and password in Options", names: []string{"AUTH"}},
	{class: "Stateful", effect: "EffectTaint", use: "set the protocol, username and password in Options",
		names: []string{"HELLO"}},
	{class: "Stateful", effect: "EffectTaint", use: "use Client.Close", names: []string{"QUIT"}},
	{class: "Stateful", effect: "EffectSelect", use: "set the db in Options, or use Acquire", names: []string{"SELECT"}},
	{class: "Stateful", effect: "EffectMulti", use: useTransaction, names: []string{"MULTI"}},
	{class: "Stateful", effect: "EffectEndMulti", use: useTransaction, names: []string{"DISCARD", "EXEC"}},
	{class: "Stateful", effect: "EffectWatch", use: useWatch, names: []string{"WATCH"}},
	{class: "Stateful", effect: "EffectUnwatch", use: useWatch, names: []string{"UNWATCH"}},
	{class: "Stateful", effect: "EffectNone", use: useAcquire, names: []string{
		"CLIENT GETNAME", "CLIENT GETREDIR", "CLIENT ID", "CLIENT INFO", "CLIENT TRACKINGINFO",
	}},
	{class: "Stateful", effect: "EffectNone", use: "use Acquire and send it after the write, on the same connection",
		names: []string{"WAIT", "WAITAOF"}},

	{class: "Refused", effect: "EffectTaint", use: useSubscribe, names: []string{
		"PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE",
	}},
	{class: "Refused", effect: "EffectTaint", use: useRedisCLI, names: []string{"MONITOR", "PSYNC", "REPLCONF", "SCRIPT DEBUG", "SYNC"}},
	{class: "Refused", effect: "EffectTaint", use: "the client needs every reply", names: []string{"CLIENT REPLY"}},
}

// readOnly contains commands without the flag "readonly" that are still safe to send twice. It
// excludes commands about one connection, because another connection replies differently.
var readOnly = []string{
	"ACL CAT", "ACL DRYRUN", "ACL GENPASS", "ACL GETUSER", "ACL HELP", "ACL LIST", "ACL USERS", "ACL WHOAMI",
	"CLIENT HELP", "CLIENT LIST",
	"CLUSTER COUNT-FAILURE-REPORTS", "CLUSTER COUNTKEYSINSLOT", "CLUSTER GETKEYSINSLOT", "CLUSTER GETSLOTMIGRATIONS",
	"CLUSTER HELP", "CLUSTER INFO",
	"CLUSTER KEYSLOT", "CLUSTER LINKS", "CLUSTER MYID", "CLUSTER MYSHARDID", "CLUSTER NODES", "CLUSTER REPLICAS",
	"CLUSTER SHARDS", "CLUSTER SLAVES", "CLUSTER SLOT-STATS", "CLUSTER SLOTS",
	"COMMAND *", "COMMANDLOG GET", "COMMANDLOG HELP", "COMMANDLOG LEN", "CONFIG GET", "CONFIG HELP", "ECHO",
	"FUNCTION DUMP", "FUNCTION HELP", "FUNCTION LIST", "FUNCTION STATS", "HOTKEYS GET", "HOTKEYS HELP", "INFO", "LASTSAVE",
	"LATENCY DOCTOR", "LATENCY GRAPH", "LATENCY HELP", "LATENCY HISTOGRAM", "LATENCY HISTORY", "LATENCY LATEST",
	"MEMORY DOCTOR", "MEMORY HELP", "MEMORY MALLOC-STATS", "MEMORY STATS", "MODULE HELP", "MODULE LIST", "OBJECT HELP",
	"PING", "PUBSUB CHANNELS", "PUBSUB HELP", "PUBSUB NUMPAT", "PUBSUB NUMSUB", "PUBSUB SHARDCHANNELS",
	"PUBSUB SHARDNUMSUB", "ROLE", "SCRIPT EXISTS", "SCRIPT HELP", "SCRIPT SHOW",
	"SENTINEL CKQUORUM", "SENTINEL GET-MASTER-ADDR-BY-NAME", "SENTINEL GET-PRIMARY-ADDR-BY-NAME", "SENTINEL HELP",
	"SENTINEL INFO-CACHE", "SENTINEL MASTER", "SENTINEL MASTERS", "SENTINEL MYID", "SENTINEL PENDING-SCRIPTS",
	"SENTINEL PRIMARIES", "SENTINEL PRIMARY", "SENTINEL REPLICAS", "SENTINEL SENTINELS", "SENTINEL SLAVES",
	"SLOWLOG GET", "SLOWLOG HELP", "SLOWLOG LEN", "TIME", "XGROUP HELP", "XINFO HELP",
}

// timeouts contains the position and unit of the timeouts of blocking commands.
var timeouts = map[string][]string{
	"firstSeconds": {"BLMPOP", "BZMPOP"},
	"lastSeconds":  {"BLMOVE", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZPOPMAX", "BZPOPMIN"},
	"lastMillis":   {"WAIT", "WAITAOF"},
	"blockMillis":  {"XREAD", "XREADGROUP"},
}

// finders contains commands whose keys the specs do not find, or not as servers do.
var finders = map[string][]string{
	"sortKeys":    {"SORT"},
	"geoKeys":     {"GEORADIUS", "GEORADIUSBYMEMBER"},
	"migrateKeys": {"MIGRATE"},
	"streamKeys":  {"XREAD", "XREADGROUP"},
	"debugKeys":   {"DEBUG"},
}

// policies replaces the request and response policies of the tips.
var policies = []struct {
	request, reply string
	names          []string
}{
	// They concern one connection.
	{"", "", []string{"CLIENT SETINFO", "CLIENT SETNAME", "PING"}},
	// A count and options apply to all its keys, so that a part of them is another command.
	{"", "", []string{"MSETEX"}},
	{"SpecialRequest", "", []string{"RANDOMKEY"}},
	{"SpecialRequest", "AggMin", []string{"WAIT", "WAITAOF"}},
	// Clients run scripts on primaries, and send a script again to a node that lacks it.
	{"AllShards", "AllSucceeded", []string{"SCRIPT LOAD"}},
	{"MultiShard", "Joined", []string{"XREAD"}},
	// Each node has its own users, modules and log.
	{"AllNodes", "AllSucceeded", []string{"ACL LOAD", "MODULE LOAD", "MODULE LOADEX", "MODULE UNLOAD"}},
	{"AllNodes", "SpecialReply", []string{"ACL LOG"}},
	// Each node knows only its own subscribers.
	{"AllShards", "SpecialReply", []string{"PUBSUB CHANNELS", "PUBSUB NUMPAT", "PUBSUB NUMSUB", "PUBSUB SHARDCHANNELS", "PUBSUB SHARDNUMSUB"}},
}
