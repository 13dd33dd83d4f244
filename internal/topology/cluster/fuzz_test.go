package cluster

import (
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-2b0d76a6/respool/resp"
)

// FuzzRedirect reads any message of a MOVED or ASK error. A target has an address that can be dialed, and a machine
// that processes it keeps a map without contradictions.
func FuzzRedirect(f *testing.F) {
	for _, message := range []string{
		"3999 127.0.0.1:6381", "0 :7000", "16383 ::1:7000", "1 [::1]:7000", "5 host.example.com:0", "5 ?:7000", "16384 a:1",
		"-1 a:1", "5  a:1", "5 a", "5 :0", "+5 a:1", "5 a:99999", "5 a\r\n:1", "007 a:0001", "5 fe80::1%eth0:1",
	} {
		f.Add(message, "A:1")
	}
	f.Add("5 :7000", "no address")
	f.Fuzz(func(t *testing.T, message, from string) {
		slot, addr, ok := ParseRedirect(message)
		if !ok {
			return
		}
		if slot < 0 || slot >= Slots || !strings.HasSuffix(message, " "+addr) {
			t.Fatalf("%q: slot %d, address %q", message, slot, addr)
		}
		cfg := Config{}
		n, ok := cfg.Target(Node{Addr: from}, addr)
		if ok {
			dialable(t, n.Addr)
		}
		m := withMap(t)
		m.Step(time.Second, Moved{Slot: slot, From: "A:1", To: addr, Version: 1})
		m.Step(time.Second, Ask{From: "A:1", To: addr})
		consistent(t, m.current)
		if v := m.View(); v.Malformed > 2 || v.Map.Covered() != Slots {
			t.Fatalf("%q: %+v", message, v)
		}
	})
}

// FuzzAnswer takes any two RESP values for the answers to CLUSTER INFO and CLUSTER SLOTS.
func FuzzAnswer(f *testing.F) {
	const info = "$44\r\ncluster_state:ok\r\ncluster_current_epoch:12\r\n\r\n"
	for _, slots := range []string{
		"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$1\r\nB\r\n:1\r\n$2\r\nid\r\n",
		"*2\r\n*4\r\n:0\r\n:99\r\n*4\r\n_\r\n:0\r\n$2\r\nid\r\n%1\r\n+hostname\r\n+h\r\n*2\r\n+A\r\n:1\r\n*3\r\n:100\r\n:50000\r\n+x\r\n",
		"*1\r\n*3\r\n:5\r\n:5\r\n*4\r\n$1\r\n?\r\n:1\r\n$1\r\ni\r\n*2\r\n$2\r\nip\r\n$1\r\nC\r\n", "*0\r\n", "*-1\r\n", "-NOPERM x\r\n",
		"*2\r\n*4\r\n:0\r\n:99\r\n*2\r\n+A\r\n:1\r\n*2\r\n+B\r\n:1\r\n*4\r\n:100\r\n:199\r\n*2\r\n+B\r\n:1\r\n*2\r\n+A\r\n:1\r\n", "*1\r\n*0\r\n",
	} {
		f.Add([]byte(info), []byte(slots))
	}
	f.Add([]byte("=20\r\ntxt:cluster_state:ok\r\n"), []byte("*0\r\n"))
	f.Add([]byte("-ERR unknown command 'CLUSTER', with args beginning with: 'INFO'\r\n"), []byte("+OK\r\n"))
	f.Fuzz(func(t *testing.T, info, slots []byte) {
		i, _, err := resp.Decode(info)
		if err != nil {
			return
		}
		s, _, err := resp.Decode(slots)
		if err != nil {
			return
		}
		for _, m := range []*Machine{New(Config{Seeds: []string{"A:1"}, Rand: rand.New(highest{})}), withMap(t)} {
			now := m.now
			pending := m.Step(now, Start{})
			for range 100 {
				var next []Action
				for _, a := range pending {
					switch a := a.(type) {
					case Resolve:
						next = append(next, m.Step(now, Resolved{Seq: a.Seq, Nodes: []Node{{Addr: "A:1"}}})...)
					case Query:
						dialable(t, a.Node.Addr)
						next = append(next, m.Step(now, Answer{Seq: a.Seq, Info: i, Slots: s})...)
					case NewMap:
						consistent(t, a.Map)
					case Lost:
						printable(t, a.Err.Error())
					}
				}
				if pending = next; len(pending) == 0 {
					now = max(now, m.wakeAt)
					pending = m.Step(now, Tick{})
				}
			}
			printable(t, m.View().Problem)
		}
	})
}

// withMap returns a machine with a map of two nodes.
func withMap(t *testing.T) *Machine {
	m := New(Config{Seeds: []string{"A:1"}, Rand: rand.New(highest{})})
	m.Step(0, Start{})
	m.Step(0, Resolved{Seq: 1, Nodes: []Node{{Addr: "A:1"}}})
	a, err := answerOf(strings.Fields("epoch 5 0-99 A:1 100-16383 B:1"))
	if err != nil {
		t.Fatal(err)
	}
	a.Seq = 2
	m.Step(0, a)
	if m.current == nil {
		t.Fatal("the answer does not count")
	}
	return m
}

func dialable(t *testing.T, addr string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || n == 0 || host == "" || host == "?" {
		t.Fatalf("%q cannot be dialed", addr)
	}
	printable(t, addr)
}

func consistent(t *testing.T, m *Map) {
	t.Helper()
	seen := map[string]bool{}
	for i := range m.Shards {
		m.Shards[i].each(func(n Node) {
			dialable(t, n.Addr)
			printable(t, n.ID+n.Hostname)
			if seen[n.Addr] {
				t.Fatalf("%s is in the map twice", n.Addr)
			}
			seen[n.Addr] = true
		})
	}
	for slot, owner := range m.Owner {
		if int(owner) > len(m.Shards) {
			t.Fatalf("slot %d belongs to shard %d of %d", slot, owner, len(m.Shards))
		}
	}
}

func printable(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(text) > 10000 || !utf8.ValidString(text) {
		t.Fatalf("%q", text)
	}
}
