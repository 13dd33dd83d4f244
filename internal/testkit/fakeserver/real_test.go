//go:build unix

package fakeserver

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// like returns the supported version that is nearest to a real server's version, and not later.
func like(real redistest.Version) (found Version) {
	for _, v := range Versions {
		if strings.EqualFold(v.Name, real.Name) && (v.major < real.Major || v.major == real.Major && v.minor <= real.Minor) {
			found = v
		}
	}
	return found
}

// fieldNames are the names in a line of CLIENT INFO.
var fieldNames = regexp.MustCompile(`([a-z-]+)=`)

var connectionNumber = regexp.MustCompile(`\$2\r\nid\r\n:[0-9]+\r\n`)

// The fake server of the installed version sends the same replies as the real one.
func TestRepliesMatchTheRealServer(t *testing.T) {
	users := []string{"alice on >secret ~* +@all"}
	real := redistest.Start(t, redistest.Config{Users: users})
	v := like(real.Version())
	s := Start(t, Config{Version: v, Users: map[string]string{"alice": "secret"}})
	for _, commands := range [][]string{
		{"PING", "PING x", "ECHO", "SET k v", "GET k", "GET none", "INCR k", "INCR n", "DEL k", "DEL none", "SELECT 16", "SELECT 1"},
		{"nosuch a b", "CLIENT NOSUCH", "CLIENT SETINFO LIB-NAME x"},
		{"PING", "AUTH alice wrong", "PING", "AUTH alice secret"},
		{"AUTH alice wrong", "AUTH x"},
		{"HELLO 4", "HELLO x", "HELLO 3 WHAT"},
		{"SUBSCRIBE a b", "UNSUBSCRIBE a b"},
		{"READONLY", "READWRITE", "ASKING", "CLUSTER INFO"},
		{"RESET", "QUIT"},
	} {
		want(t, strings.Join(commands, ", "), talk(t, s.Addr(), commands...), talk(t, real.PlainAddr(), commands...))
	}
	names := func(addr string) string {
		var names []string
		for _, m := range fieldNames.FindAllStringSubmatch(talk(t, addr, "CLIENT INFO"), -1) {
			names = append(names, m[1])
		}
		return strings.Join(names, " ")
	}
	// The texts and fields of a later version or a development build may differ.
	if real.Version().Major == v.major && real.Version().Minor == v.minor {
		want(t, "an unknown command", talk(t, s.Addr(), "NOSUCH"), talk(t, real.PlainAddr(), "NOSUCH"))
		want(t, "the fields of CLIENT INFO", names(s.Addr()), names(real.PlainAddr()))
		hello := func(addr, number string) string {
			text := connectionNumber.ReplaceAllString(talk(t, addr, "HELLO 2", "HELLO 3"), "")
			return strings.ReplaceAll(text, "\r\n"+number+"\r\n", "\r\nits number\r\n")
		}
		want(t, "HELLO", hello(s.Addr(), v.Number), hello(real.PlainAddr(), real.Version().Number()))
		if real.Version().Number() == v.Number {
			want(t, "UNSUBSCRIBE", talk(t, s.Addr(), "UNSUBSCRIBE a"), talk(t, real.PlainAddr(), "UNSUBSCRIBE a"))
		}
	}
	real.Do("ACL", "SETUSER", "bob", "on", "nopass", "+ping")
	want(t, "NOPERM", "+OK\r\n"+v.NoPermission("bob", "GET"), talk(t, real.PlainAddr(), "AUTH bob x", "GET k"))
}

// The fake cluster of the installed version sends the same replies as a real one of one node.
func TestClusterRepliesMatchTheRealServer(t *testing.T) {
	real := redistest.Start(t, redistest.Config{Cluster: true, Args: []string{"--cluster-announce-ip", "127.0.0.1"}})
	fake := StartCluster(t, ClusterConfig{Primaries: 1, Node: Config{Version: like(real.Version())}})
	fake.Assign(-1, 0, testkit.Slots-1)
	add := []string{"CLUSTER", "ADDSLOTS"}
	for slot := range testkit.Slots {
		if slot != 7 {
			add = append(add, strconv.Itoa(slot))
		}
	}
	real.Do(add...)
	fake.Assign(0, 0, 6)
	fake.Assign(0, 8, testkit.Slots-1)
	fake.SetDown(true)
	number := regexp.MustCompile(`(epoch|sent|received):[0-9]+`)
	// What differs by nature: the address, the node ID, the epoch, and the counters of messages.
	plain := func(addr, id string, commands ...string) string {
		text := talk(t, addr, commands...)
		host, port, _ := strings.Cut(addr, ":")
		for _, pair := range [][2]string{{id, "ID"}, {":" + port + "\r\n", ":PORT\r\n"}, {host, "HOST"}} {
			text = strings.ReplaceAll(text, pair[0], pair[1])
		}
		text = number.ReplaceAllString(text, "$1:N")
		if at := strings.Index(text, "cluster_stats_messages"); at >= 0 {
			text = text[:at]
		}
		return text
	}
	for _, commands := range [][]string{
		{"CLUSTER SLOTS"}, {"HELLO 3", "CLUSTER SLOTS"}, {"CLUSTER SHARDS"}, {"HELLO 3", "CLUSTER SHARDS"}, {"CLUSTER MYID"}, {"CLUSTER KEYSLOT a"},
		{"READONLY", "READWRITE", "ASKING"}, {"GET " + testkit.SlotKey(7, "k")}, {"GET a"}, {"ROLE"},
	} {
		got, expected := plain(fake.Addrs()[0], id(0), commands...), plain(real.PlainAddr(), real.Do("CLUSTER", "MYID"), commands...)
		if commands[0] == "HELLO 3" { // see TestRepliesMatchTheRealServer
			_, got, _ = strings.Cut(got, "modules")
			_, expected, _ = strings.Cut(expected, "modules")
		}
		want(t, strings.Join(commands, ", "), got, expected)
	}
	info := func(addr string) string {
		var fields []string
		for line := range strings.Lines(plain(addr, "-", "CLUSTER INFO")) {
			// The real server counts the slots that are ok, and the shards, only later.
			if strings.HasPrefix(line, "cluster_") && !strings.Contains(line, "_ok:") && !strings.Contains(line, "_size:") {
				fields = append(fields, strings.TrimSpace(line))
			}
		}
		return strings.Join(fields, " ")
	}
	want(t, "CLUSTER INFO", info(fake.Addrs()[0]), info(real.PlainAddr()))
}
