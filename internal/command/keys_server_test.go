//go:build unix

package command_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// known returns the commands of the table that a server has.
func known(t *testing.T, s *redistest.Server) map[*command.Info]bool {
	has := map[*command.Info]bool{}
	all := command.ReadEntries(commandsOf(t, s, "3"))
	for info := range command.All() {
		name := info.Name
		if container, _, sub := strings.Cut(name, " "); sub && !s.Version().Since(7, 0) {
			name = container
		}
		if all[name] != nil {
			has[info] = true
		}
	}
	return has
}

// channels reports whether the keys of a command are shard channels, which are no keys for COMMAND GETKEYS.
func channels(info *command.Info) bool {
	return slices.Contains([]string{"SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE"}, info.Name)
}

// readsOptions reports whether a server knows the options of a case.
func readsOptions(s *redistest.Server, c keyCase) bool {
	switch {
	case slices.Contains(c.args, "CLAIM"):
		return s.Version().Redis(8, 4)
	case c.args[0] == "MIGRATE" && strings.Contains(c.line, "AUTH"):
		return s.Version().Since(7, 0) // older servers take a password for KEYS
	}
	return true
}

// getKeys is the reply to COMMAND GETKEYS. An error is no keys.
func getKeys(s *redistest.Server, args []string) (keys []string, errorText string) {
	text, err := s.TryDo(append([]string{"COMMAND", "GETKEYS"}, args...)...)
	switch {
	case err != nil:
		return nil, err.Error()
	case text == "": // no key, or an empty one: no list here has an empty key alone
		return nil, ""
	}
	return strings.Split(text, "\n"), ""
}

// differs compares the keys of a command with COMMAND GETKEYS. Servers before 7.0 list keys of refused arguments.
func differs(s *redistest.Server, args []string) (ours, theirs []string, differ bool) {
	info, values := infoOf(args)
	keys, ok := command.KeysOf(info, values, nil)
	for _, i := range keys {
		ours = append(ours, args[i])
	}
	theirs, text := getKeys(s, args)
	if !ok && !s.Version().Since(7, 0) {
		return ours, theirs, false
	}
	if strings.Contains(text, "Invalid number of arguments") { // the table has the widest arity of all servers
		return ours, theirs, false
	}
	a, b := ours, theirs
	if !s.Version().Since(7, 0) { // their order depends on the command
		a, b = slices.Sorted(slices.Values(ours)), slices.Sorted(slices.Values(theirs))
	}
	return ours, theirs, !slices.Equal(a, b)
}

func TestKeysAreThoseOfCommandGetKeys(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	has := known(t, s)
	compared := map[*command.Info]bool{}
	for _, c := range keyCases() {
		info, _ := infoOf(c.args)
		if !has[info] || channels(info) || slices.Contains(c.keys, slices.Index(c.args, "")) {
			continue
		}
		if !readsOptions(s, c) {
			continue
		}
		ours, theirs, differ := differs(s, c.args)
		if differ && !c.routed {
			t.Errorf("%s: the keys are %q, at the server %q", c.line, ours, theirs)
		}
		if !differ && c.routed && s.Version().Since(7, 0) {
			t.Errorf("%s: the server has the same keys", c.line)
		}
		compared[info] = true
	}
	for info := range has {
		if len(info.Keys) > 0 && !channels(info) && !compared[info] {
			t.Errorf("%s is not compared", info.Name)
		}
	}
	t.Logf("%v: %d commands", s.Version(), len(compared))
}

// argument draws arguments that mean something to commands with movable keys.
var argument = rapid.SampledFrom([]string{
	"a", "b", "{a}1", "{a}2", "0", "1", "2", "3", "-1", "STORE", "store", "STOREDIST", "KEYS", "STREAMS", "BLOCK", "COUNT",
	"GROUP", "NOACK", "LIMIT", "GET", "BY", "AUTH", "AUTH2", "COPY", "m", "",
})

// list draws a command with keys, and arguments that are often invalid.
func list(t *rapid.T, infos []*command.Info, more ...string) []string {
	info := rapid.SampledFrom(infos).Draw(t, "command")
	if rapid.IntRange(0, 2).Draw(t, "movable") > 0 {
		info = rapid.SampledFrom(slices.DeleteFunc(slices.Clone(infos), func(i *command.Info) bool { return !i.Movable })).Draw(t, "command")
	}
	args := strings.Fields(info.Name)
	least := max(info.Arity, -info.Arity) - len(args)
	drawn := argument
	if len(more) > 0 {
		drawn = rapid.OneOf(argument, rapid.SampledFrom(more))
	}
	return append(args, rapid.SliceOfN(drawn, max(0, least-1), least+6).Draw(t, "arguments")...)
}

// keyed returns the commands with keys that a server has, in a fixed order.
func keyed(has map[*command.Info]bool) (infos []*command.Info) {
	for info := range command.All() {
		if has[info] && len(info.Keys) > 0 {
			infos = append(infos, info)
		}
	}
	return infos
}

func TestKeysOfRandomArgumentsAreThoseOfCommandGetKeys(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	infos := slices.DeleteFunc(keyed(known(t, s)), func(info *command.Info) bool {
		// COMMAND GETKEYS reads these commands differently than the router: their routes are compared below.
		differs := []string{"GEORADIUS", "GEORADIUSBYMEMBER", "MIGRATE", "PFMERGE", "XREAD", "XREADGROUP"}
		return slices.Contains(differs, info.Name) || channels(info)
	})
	rapid.Check(t, func(t *rapid.T) {
		args := list(t, infos)
		if info, values := infoOf(args); slices.ContainsFunc(args, func(arg string) bool { return arg == "" }) {
			if keys, _ := command.KeysOf(info, values, nil); len(keys) == 1 && args[keys[0]] == "" {
				return // the reply of getKeys is ambiguous
			}
		}
		if ours, theirs, differ := differs(s, args); differ {
			t.Fatalf("%q: the keys are %q, at the server %q", args, ours, theirs)
		}
	})
}

// startPair starts a cluster of two nodes: owner has all slots, other redirects every key to it.
func startPair(t *testing.T) (owner, other *redistest.Server) {
	cfg := redistest.Config{Args: []string{"--cluster-enabled", "yes"}}
	owner, other = redistest.Start(t, cfg), redistest.Start(t, cfg)
	slots := []string{"CLUSTER", "ADDSLOTS"}
	for slot := range command.Slots {
		slots = append(slots, strconv.Itoa(slot))
	}
	owner.Do(slots...)
	host, port, _ := strings.Cut(owner.PlainAddr(), ":")
	other.Do("CLUSTER", "MEET", host, port)
	testkit.Eventually(t, "the nodes know each other", func() bool {
		_, moved := other.TryDo("GET", "a")
		_, err := owner.TryDo("GET", "a")
		return err == nil && moved != nil && strings.HasPrefix(moved.Error(), "MOVED ")
	})
	return owner, other
}

// routeOf returns the slot for which a node without slots redirects a command, CROSSSLOT if the node refuses its keys,
// and none if the node runs it.
func routeOf(other *redistest.Server, args []string) (route, reply string) {
	reply, err := other.TryDo(args...)
	if err == nil {
		return "none", reply
	}
	switch fields := strings.Fields(err.Error()); fields[0] {
	case "MOVED":
		return fields[1], err.Error()
	case "CROSSSLOT":
		return "CROSSSLOT", err.Error()
	}
	return "none", err.Error()
}

// checkRoute compares the slot of a command with the redirect of a node without slots. If the keys cannot be known, the
// owner of all slots must reply with an error.
func checkRoute(t rapid.TB, owner, other *redistest.Server, args []string) {
	t.Helper()
	info, values := infoOf(args)
	if _, ok := command.KeysOf(info, values, nil); !ok {
		if reply, err := owner.TryDo(args...); err == nil {
			t.Fatalf("%q: a server must refuse this, and its reply is %q", args, reply)
		}
		return
	}
	slot, err := command.SlotOf(info, values)
	want := strconv.Itoa(slot)
	switch {
	case err != nil:
		want = "CROSSSLOT"
	case slot == command.NoSlot:
		want = "none"
	}
	got, reply := routeOf(other, args)
	if got != want && !strings.Contains(reply, "wrong number of arguments") { // the table has the widest arity of all servers
		t.Fatalf("%q: the route is %s, at the server %s: %s", args, want, got, reply)
	}
}

func TestAClusterRoutesByTheSameKeys(t *testing.T) {
	owner, other := startPair(t)
	has := known(t, other)
	for _, c := range keyCases() {
		info, _ := infoOf(c.args)
		if !has[info] || len(c.keys) == 0 && !c.refused || info.Name == "DEBUG" {
			continue
		}
		if !readsOptions(other, c) {
			continue
		}
		checkRoute(t, owner, other, c.args)
	}
	infos := keyed(has)
	if !other.Version().Since(7, 0) {
		infos = slices.DeleteFunc(infos, func(info *command.Info) bool { return info.Name == "MIGRATE" })
	}
	rapid.Check(t, func(t *rapid.T) {
		checkRoute(t, owner, other, list(t, infos, "01", "+1", "1x", "4294967297", "limit\x00x"))
	})
}

func TestSlotsAreThoseOfTheServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: []string{"--cluster-enabled", "yes"}})
	key := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.SliceOf(rapid.SampledFrom([]byte("{}ab"))))
	rapid.Check(t, func(t *rapid.T) {
		key := key.Draw(t, "key")
		want := s.Do("CLUSTER", "KEYSLOT", string(key))
		if got := strconv.Itoa(command.Slot(key)); got != want || strconv.Itoa(command.Slot(string(key))) != want {
			t.Fatalf("%q: slot %s, want %s", key, got, want)
		}
	})
}
