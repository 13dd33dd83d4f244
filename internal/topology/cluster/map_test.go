package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

func mapOf(t *testing.T, text string) *Map {
	t.Helper()
	a, err := answerOf(strings.Fields("epoch 1 " + text))
	if err != nil {
		t.Fatal(err)
	}
	r, ok := slotsOf(&Config{}, Node{}, a.Slots)
	if !ok {
		t.Fatal("no list")
	}
	return &Map{Version: 1, Shards: r.shards, Owner: r.owner}
}

func TestUncoveredSlotsAreNamedAsRanges(t *testing.T) {
	for _, x := range []struct {
		covered, uncovered string
		n                  int
	}{
		{"0-16383 A:1", "", Slots},
		{"1-16383 A:1", "0", Slots - 1},
		{"100-499 A:1 501-16382 B:1", "0-99, 500, 16383", Slots - 102},
		{"", "0-16383", 0},
	} {
		m := mapOf(t, x.covered)
		if m.Uncovered() != x.uncovered || m.Covered() != x.n {
			t.Errorf("%q: %q are uncovered, %d covered", x.covered, m.Uncovered(), m.Covered())
		}
	}
	var m Map
	for slot := 1; slot < Slots; slot += 2 {
		m.Owner[slot] = 1
	}
	if text := m.Uncovered(); !strings.HasPrefix(text, "0, 2, 4, ") || !strings.HasSuffix(text, "28, 30 and 8176 more ranges") {
		t.Errorf("%q", text)
	}
}

func TestNodesAreFoundByAddress(t *testing.T) {
	m := mapOf(t, "0-99 A:1+B:1 100-16383 C:1")
	for addr, id := range map[string]string{"A:1": "ID-A:1", "B:1": "ID-B:1", "C:1": "ID-C:1"} {
		if n, ok := m.Node(addr); !ok || n.ID != id {
			t.Errorf("%s: %+v, %t", addr, n, ok)
		}
	}
	if _, ok := m.Node("D:1"); ok {
		t.Error("D:1 is found")
	}
	if _, ok := (*Map)(nil).Node("A:1"); ok || (*Map)(nil).Shard(5) != nil || m.Shard(-1) != nil || m.Shard(Slots) != nil {
		t.Error("a node or shard is found that does not exist")
	}
	if m.Shard(99).Primary.Addr != "A:1" || m.Shard(100).Primary.Addr != "C:1" {
		t.Errorf("%+v", m.Shards)
	}
}

func TestAMapIsNeverChanged(t *testing.T) {
	m := withMap(t)
	first := m.current
	text := mapText(first)
	a, err := answerOf(strings.Fields("epoch 6 0-99 A:1+R:1+S:1 100-16383 B:1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		at time.Duration
		e  Event
	}{
		{time.Second, Moved{Slot: 5, From: "A:1", To: "C:1", Version: 1}},
		{time.Second, Ask{From: "A:1", To: "N:1"}},
		{2 * time.Second, Tick{}},
		{2 * time.Second, Answer{Seq: 3, Info: a.Info, Slots: a.Slots}},
		{3 * time.Second, Moved{Slot: 6, From: "A:1", To: "R:1", Version: 9}},
		{3 * time.Second, Moved{Slot: 7, From: "R:1", To: "A:1", Version: 9}},
	} {
		before := m.current
		beforeText := mapText(before)
		if m.Step(x.at, x.e); mapText(before) != beforeText {
			t.Errorf("%#v changes map %d", x.e, before.Version)
		}
	}
	if mapText(first) != text || m.current.Version != 6 {
		t.Errorf("map %d: %s", m.current.Version, mapText(first))
	}
}

func TestRedirectsAreParsed(t *testing.T) {
	for _, x := range []struct {
		message string
		slot    int
		addr    string // "": it is malformed
	}{
		{"3999 127.0.0.1:6381", 3999, "127.0.0.1:6381"},
		{"0 :6381", 0, ":6381"},
		{"16383 ::1:6381", 16383, "::1:6381"},
		{"16384 a:1", 0, ""},
		{"-1 a:1", 0, ""},
		{"5 a", 0, ""},
		{"a:1", 0, ""},
		{"", 0, ""},
		{"5 " + strings.Repeat("a", 400) + ":1", 0, ""},
	} {
		slot, addr, ok := ParseRedirect(x.message)
		if slot != x.slot || addr != x.addr || ok != (x.addr != "") {
			t.Errorf("%q: %d, %q, %t", x.message, slot, addr, ok)
		}
	}
}

func TestErrorsAreFoundByFinding(t *testing.T) {
	cut := errors.New("connection reset")
	err := &Error{Causes: []*Cause{
		causeOf("A:1", cut), refusal("B:1", resp.NewServerError("ERR This instance has cluster support disabled"), false),
		causeOf("C:1", resp.NewServerError("WRONGPASS invalid username-password pair or user is disabled.")),
	}}
	for _, target := range []error{ErrUnreachable, ErrNotCluster, ErrNeedsPassword, cut} {
		if !errors.Is(err, target) {
			t.Errorf("%v is not %v", err, target)
		}
	}
	for _, target := range []error{ErrRefused, ErrNoPermission} {
		if errors.Is(err, target) {
			t.Errorf("%v is %v", err, target)
		}
	}
	for _, x := range []struct {
		err  error
		text string
	}{
		{&resp.ProtocolError{Reason: "found 'SSH-2.0'"}, "A:1 is not in cluster mode: what it sends is not Redis' protocol"},
		{resp.ErrTooLarge, "A:1 is not in cluster mode: what it sends is too large"},
		{nil, "A:1 unreachable: connection closed"},
		{resp.NewServerError("ERR unknown command 'AUTH', with args beginning with: 'secret'"), "A:1 is not in cluster mode: use redis://"},
		{resp.NewServerError("ERR Client sent AUTH 'secret'"), "A:1 has no usable map: ERR Client sent AUTH ..."},
	} {
		if got := causeOf("A:1", x.err).Error(); got != x.text {
			t.Errorf("got %q: want %q", got, x.text)
		}
	}
	if got := (&Error{}).Error(); got != "no node returns a map of the cluster: no address is known" {
		t.Errorf("%q", got)
	}
}

func TestTheStateChangesWithTheOwnersAndTheNodes(t *testing.T) {
	const info = "cluster_state:ok\r\ncluster_known_nodes:6\r\ncluster_size:3\r\ncluster_current_epoch:9\r\ncluster_stats_messages_sent:5\r\n"
	state := func(text string) string { return StateOf(bulk(text)) }
	if a, b := state(info), state(strings.Replace(info, "sent:5", "sent:6", 1)); a == "" || a != b {
		t.Errorf("%q and %q: want the same state", a, b)
	}
	for _, change := range []string{"epoch:9 epoch:10", "nodes:6 nodes:5", "size:3 size:2"} {
		from, to, _ := strings.Cut(change, " ")
		if next := state(strings.Replace(info, from, to, 1)); next == state(info) {
			t.Errorf("%s: the state is still %q", change, next)
		}
	}
	if s := state("-ERR no"); s != "" {
		t.Errorf("the state of an error is %q", s)
	}
}
