package command_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

func TestEveryCommandOfTheListIsInTheTable(t *testing.T) {
	data, err := os.ReadFile("commands.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name  string
		Arity int
		Flags []string
		Keys  []any
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatal("the list is empty")
	}
	for _, c := range list {
		info := find(c.Name)
		if info == nil {
			t.Errorf("%s is not there", c.Name)
			continue
		}
		if info.Name != c.Name || info.Arity != c.Arity {
			t.Errorf("%s is %s with arity %d, want %d", c.Name, info.Name, info.Arity, c.Arity)
		}
		if info.Class == command.Unknown {
			t.Errorf("%s has no class", c.Name)
		}
		if slices.Contains(c.Flags, "write") != info.Write {
			t.Errorf("%s: Write is %t", c.Name, info.Write)
		}
		if slices.Contains(c.Flags, "readonly") && !info.ReadOnly {
			t.Errorf("%s is not ReadOnly", c.Name)
		}
		if (len(c.Keys) > 0) != (len(info.Keys) > 0) {
			t.Errorf("%s: Keys are %v", c.Name, info.Keys)
		}
	}
	if n := len(slices.Collect(command.All())); n != len(list) {
		t.Errorf("All yields %d commands, want %d", n, len(list))
	}
}

func TestAllStopsWhenAsked(t *testing.T) {
	for range command.All() {
		break
	}
	for info := range command.All() {
		if info.Name == "ACL CAT" {
			break
		}
	}
}

// pins lists every command that needs more than a shared connection.
var pins = map[command.Class]string{
	command.Blocking: `BLMOVE, BLMPOP, BLPOP, BRPOP, BRPOPLPUSH, BZMPOP, BZPOPMAX, BZPOPMIN, DEBUG, SHUTDOWN,
		XREAD, XREADGROUP`,
	command.Stateful: `ASKING, AUTH, CLIENT, CLIENT CACHING, CLIENT CAPA, CLIENT GETNAME, CLIENT GETREDIR, CLIENT ID,
		CLIENT IMPORT-SOURCE, CLIENT INFO, CLIENT NO-EVICT, CLIENT NO-TOUCH, CLIENT SETINFO, CLIENT SETNAME, CLIENT TRACKING,
		CLIENT TRACKINGINFO, CLUSTER, DISCARD, EXEC, HELLO, MULTI, QUIT, READONLY, READWRITE, RESET, SCRIPT, SELECT, UNWATCH, WAIT, WAITAOF, WATCH`,
	command.Refused: `CLIENT REPLY, MONITOR, PSUBSCRIBE, PSYNC, PUNSUBSCRIBE, REPLCONF, SCRIPT DEBUG, SSUBSCRIBE, SUBSCRIBE, SUNSUBSCRIBE, SYNC,
		UNSUBSCRIBE`,
}

func TestClassesAreAsPinned(t *testing.T) {
	for class, pinned := range pins {
		check(t, class.String(), pinned, func(info *command.Info) bool { return info.Class == class })
	}
}

func TestEffectsAreAsPinned(t *testing.T) {
	for effect, pinned := range map[command.Effect]string{
		command.EffectWatch:    "WATCH",
		command.EffectUnwatch:  "UNWATCH",
		command.EffectMulti:    "MULTI",
		command.EffectEndMulti: "DISCARD, EXEC",
		command.EffectSelect:   "SELECT",
		command.EffectTaint: `ASKING, AUTH, CLIENT, CLIENT CACHING, CLIENT CAPA, CLIENT IMPORT-SOURCE, CLIENT NO-EVICT, CLIENT NO-TOUCH,
			CLIENT REPLY, CLIENT SETINFO, CLIENT SETNAME, CLIENT TRACKING, CLUSTER, DEBUG, HELLO, MONITOR, PSUBSCRIBE,
			PSYNC, PUNSUBSCRIBE, QUIT, READONLY, READWRITE, REPLCONF, RESET, SCRIPT, SCRIPT DEBUG, SHUTDOWN, SSUBSCRIBE,
			SUBSCRIBE, SUNSUBSCRIBE, SYNC, UNSUBSCRIBE`,
	} {
		check(t, effect.String(), pinned, func(info *command.Info) bool { return info.Effect == effect })
	}
}

func TestReadOnlyCommandsWithoutKeysAreAsPinned(t *testing.T) {
	const pinned = `ACL CAT, ACL DRYRUN, ACL GENPASS, ACL GETUSER, ACL HELP, ACL LIST, ACL USERS, ACL WHOAMI, CLIENT HELP,
		CLIENT LIST, CLUSTER COUNT-FAILURE-REPORTS, CLUSTER COUNTKEYSINSLOT, CLUSTER GETKEYSINSLOT, CLUSTER GETSLOTMIGRATIONS, CLUSTER HELP,
		CLUSTER INFO, CLUSTER KEYSLOT, CLUSTER LINKS, CLUSTER MYID, CLUSTER MYSHARDID, CLUSTER NODES, CLUSTER REPLICAS,
		CLUSTER SHARDS, CLUSTER SLAVES, CLUSTER SLOT-STATS, CLUSTER SLOTS, COMMAND, COMMAND COUNT, COMMAND DOCS,
		COMMAND GETKEYS, COMMAND GETKEYSANDFLAGS, COMMAND HELP, COMMAND INFO, COMMAND LIST, COMMANDLOG GET, COMMANDLOG HELP,
		COMMANDLOG LEN, CONFIG GET, CONFIG HELP,
		DBSIZE, ECHO, FUNCTION DUMP, FUNCTION HELP, FUNCTION LIST, FUNCTION STATS, HOTKEYS GET, HOTKEYS HELP, INFO, KEYS, LASTSAVE, LATENCY DOCTOR,
		LATENCY GRAPH, LATENCY HELP, LATENCY HISTOGRAM, LATENCY HISTORY, LATENCY LATEST, LOLWUT, MEMORY DOCTOR,
		MEMORY HELP, MEMORY MALLOC-STATS, MEMORY STATS, MODULE HELP, MODULE LIST, OBJECT HELP, PING, PUBSUB CHANNELS,
		PUBSUB HELP, PUBSUB NUMPAT, PUBSUB NUMSUB, PUBSUB SHARDCHANNELS, PUBSUB SHARDNUMSUB, RANDOMKEY, ROLE, SCAN,
		SCRIPT EXISTS, SCRIPT HELP, SCRIPT SHOW, SENTINEL CKQUORUM, SENTINEL GET-MASTER-ADDR-BY-NAME,
		SENTINEL GET-PRIMARY-ADDR-BY-NAME, SENTINEL HELP, SENTINEL INFO-CACHE, SENTINEL MASTER, SENTINEL MASTERS,
		SENTINEL MYID, SENTINEL PENDING-SCRIPTS, SENTINEL PRIMARIES, SENTINEL PRIMARY, SENTINEL REPLICAS,
		SENTINEL SENTINELS, SENTINEL SLAVES, SLOWLOG GET, SLOWLOG HELP, SLOWLOG LEN, TIME, XGROUP HELP, XINFO HELP`
	check(t, "read-only", pinned, func(info *command.Info) bool { return info.ReadOnly && len(info.Keys) == 0 })
}

func TestInfosDoNotContradictThemselves(t *testing.T) {
	for info := range command.All() {
		needsAdvice := info.Class == command.Stateful || info.Class == command.Refused
		if needsAdvice != (info.Use != "") {
			t.Errorf("%s is %s and its advice is %q", info.Name, info.Class, info.Use)
		}
		if info.ReadOnly && info.Write {
			t.Errorf("%s is both ReadOnly and Write", info.Name)
		}
		if needsAdvice && info.ReadOnly {
			t.Errorf("%s is %s and safe to send twice", info.Name, info.Class)
		}
		if info.Effect != command.EffectNone && !needsAdvice && info.Answers() == command.Once {
			t.Errorf("%s is %s and leaves %s behind", info.Name, info.Class, info.Effect)
		}
		if info.Arity == 0 {
			t.Errorf("%s has no arity", info.Name)
		}
		if info.Container() && strings.Contains(info.Name, " ") {
			t.Errorf("%s is a container in a container", info.Name)
		}
		for _, spec := range info.Keys {
			if spec.Begin == 0 || spec.Step < 1 {
				t.Errorf("%s has keys at %+v", info.Name, spec)
			}
		}
	}
}

func TestOperatorsCommandsAreAdmin(t *testing.T) {
	for name, want := range map[string]bool{
		"CONFIG SET": true, "DEBUG": true, "CLIENT PAUSE": true, "MODULE LOAD": true, "SAVE": true, "BGSAVE": true,
		"BGREWRITEAOF": true, "REPLICAOF": true, "FAILOVER": true, "ACL SETUSER": true, "SHUTDOWN": true,
		"CLIENT KILL": true, "GET": false, "CLIENT ID": false, "FLUSHALL": false, "ACL WHOAMI": false,
	} {
		if got := find(name).Admin; got != want {
			t.Errorf("%s: Admin is %t", name, got)
		}
	}
	check(t, "not in a transaction", "PSYNC, SAVE, SHUTDOWN, SYNC",
		func(info *command.Info) bool { return info.NoMulti })
}

func TestEveryClassAndEffectHasAName(t *testing.T) {
	names := map[string]bool{}
	for c := command.Unknown; c <= command.Refused; c++ {
		names[c.String()] = true
	}
	for e := command.EffectNone; e <= command.EffectTaint; e++ {
		names[e.String()] = true
	}
	if want := int(command.Refused) + int(command.EffectTaint) + 2; len(names) != want {
		t.Errorf("%d names, want %d", len(names), want)
	}
}

// check compares the commands that match with a pinned list.
func check(t *testing.T, what, pinned string, match func(*command.Info) bool) {
	t.Helper()
	want := strings.Split(pinned, ",")
	for i := range want {
		want[i] = strings.TrimSpace(want[i])
	}
	var got []string
	for info := range command.All() {
		if match(info) {
			got = append(got, info.Name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s: %s is new", what, name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s: %s is missing", what, name)
		}
	}
}

// find looks a command up by the name that its Info has.
func find(name string) *command.Info {
	if container, sub, ok := strings.Cut(name, " "); ok {
		return command.LookupSub(container, sub)
	}
	return command.Lookup(name)
}
