package command_test

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

func TestLookupIgnoresCase(t *testing.T) {
	for info := range command.All() {
		container, sub, isSub := strings.Cut(info.Name, " ")
		for _, change := range []func(string) string{strings.ToUpper, strings.ToLower, alternate} {
			switch {
			case isSub:
				if got := command.LookupSub(change(container), change(sub)); got != info {
					t.Errorf("%s is not found as %q", info.Name, change(info.Name))
				}
			case command.Lookup(change(info.Name)) != info, command.LookupBytes([]byte(change(info.Name))) != info:
				t.Errorf("%s is not found as %q", info.Name, change(info.Name))
			}
		}
	}
}

func TestLookupOfAnUnknownNameIsNil(t *testing.T) {
	for _, name := range []string{
		"", "G", "GE", "GETT", " GET", "GET ", "GET\x00", "G\xc5T", "gét", "CLIENT LIST", "JSON.GET", "EVAL\x7fRO",
		"SORT?RO", "RESTORE\rASKING", strings.Repeat("A", 20), strings.Repeat("GET", 10_000),
	} {
		if info := command.Lookup(name); info != nil {
			t.Errorf("%q is %s", name, info.Name)
		}
		if info := command.LookupBytes([]byte(name)); info != nil {
			t.Errorf("%q in bytes is %s", name, info.Name)
		}
		if info := command.LookupSub(name, "LIST"); info != nil {
			t.Errorf("LIST of %q is %s", name, info.Name)
		}
	}
}

func TestAnUnknownSubcommandIsItsContainer(t *testing.T) {
	for _, c := range []struct{ name, sub, want string }{
		{"client", "FROBNICATE", "CLIENT"},
		{"client", "", "CLIENT"},
		{"client", "CLIENT LIST", "CLIENT"},
		{"config", "GE", "CONFIG"},
		{"get", "key", "GET"},
		{"get", "", "GET"},
	} {
		if info := command.LookupSub(c.name, c.sub); info == nil || info.Name != c.want {
			t.Errorf("%s of %s is %v, want %s", c.sub, c.name, info, c.want)
		}
	}
}

func TestContainersAreThoseWithSubcommands(t *testing.T) {
	check(t, "container", `ACL, CLIENT, CLUSTER, COMMAND, COMMANDLOG, CONFIG, FUNCTION, HOTKEYS, LATENCY, MEMORY, MODULE, OBJECT, PUBSUB,
		SCRIPT, SENTINEL, SLOWLOG, XGROUP, XINFO`, (*command.Info).Container)
}

func alternate(s string) string {
	b := []byte(strings.ToUpper(s))
	for i := 0; i < len(b); i += 2 {
		b[i] = strings.ToLower(string(b[i]))[0]
	}
	return string(b)
}
