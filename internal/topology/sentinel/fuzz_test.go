package sentinel

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// FuzzPush feeds any payload to a machine that knows a primary. Nothing but addresses that
// can be dialed may come of it, and no change of the primary at all.
func FuzzPush(f *testing.F) {
	f.Add("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6379")
	f.Add("+switch-master", "mymaster 10.0.0.1 6379 ::1 6379")
	f.Add("+sdown", "slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379")
	f.Add("+sentinel", "sentinel id 10.0.0.9 26379 @ mymaster 10.0.0.1 6379")
	f.Add("+odown", "master mymaster 10.0.0.1 6379 #quorum 2/2")
	f.Add("+slave", "slave a b c @ d e f")
	f.Fuzz(func(t *testing.T, channel, payload string) {
		m := discovered(t)
		before := m.View()
		for _, a := range m.Step(time.Second, Push{Sentinel: "s1:26379", Channel: channel, Payload: payload}) {
			switch a := a.(type) {
			case NewEpoch, Lost, ReplicasChanged:
				t.Fatalf("%q %q: %#v", channel, payload, a)
			case Verify:
				printable(t, a.Addr)
			case Connect:
				printable(t, a.Sentinel)
			}
		}
		if after := m.View(); after.Epoch != before.Epoch || !after.Known || after.Malformed > before.Malformed+1 {
			t.Fatalf("%q %q: %+v", channel, payload, after)
		}
	})
}

// FuzzAnswer takes any RESP for the answer to every query that comes up.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"*2\r\n$6\r\nmaster\r\n:5\r\n", "*5\r\n$5\r\nslave\r\n$1\r\na\r\n:6379\r\n$9\r\nconnected\r\n:7\r\n",
		"-NOAUTH Authentication required.\r\n", "*-1\r\n", "*1\r\n*4\r\n$2\r\nip\r\n$1\r\na\r\n$4\r\nport\r\n$4\r\n6379\r\n",
		"*10\r\n$2\r\nip\r\n$1\r\nA\r\n$4\r\nport\r\n$4\r\n6379\r\n$5\r\nflags\r\n$6\r\nmaster\r\n$12\r\nconfig-epoch\r\n$1\r\n9\r\n$19\r\nnum-other-sentinels\r\n$1\r\n1\r\n",
		"*4\r\n$2\r\nip\r\n$1\r\nA\r\n$4\r\nport\r\n$2\r\n-1\r\n", "%1\r\n+ip\r\n#t\r\n", "-ERR unknown command 'AUTH', with args beginning with: 'secret'\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		v, _, err := resp.Decode(frame)
		if err != nil {
			return
		}
		m := discovered(t)
		now := 20 * time.Second
		pending := m.Step(now, Evidence{Kind: topology.ReadOnly, Addr: "10.0.0.1:6379", Epoch: 1})
		for range 20 {
			var next []Action
			for _, a := range pending {
				now += time.Millisecond
				switch a := a.(type) {
				case Connect:
					printable(t, a.Sentinel)
					next = append(next, m.Step(now, SentinelUp{a.Seq})...)
				case Ask:
					next = append(next, m.Step(now, Answer{Seq: a.Seq, Reply: v})...)
				case Verify:
					printable(t, a.Addr)
					next = append(next, m.Step(now, Answer{Seq: a.Seq, Reply: v})...)
				case NewEpoch:
					printable(t, a.Primary)
				case Lost:
					printable(t, a.Err.Error())
				}
			}
			pending = next
		}
		_ = m.View()
	})
}

func printable(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(text) > 4000 {
		t.Fatalf("%q", text)
	}
}

// discovered gives a machine with one sentinel that has named a primary.
func discovered(t *testing.T) *Machine {
	m := New(Config{Name: "mymaster", Sentinels: []string{"s1:26379"}, Replicas: true, MaxReplicaLag: time.Second, Rand: rand.New(highest{})})
	pending := m.Step(0, Start{})
	for range 6 {
		var next []Action
		for _, a := range pending {
			switch a := a.(type) {
			case Connect:
				next = append(next, m.Step(0, SentinelUp{a.Seq})...)
			case Verify:
				next = append(next, m.Step(0, Answer{Seq: a.Seq, Reply: list(bulk("master"), resp.Value{Kind: resp.Integer})})...)
			case Ask:
				reply := map[Query]resp.Value{
					QueryMaster:    fields("ip", "10.0.0.1", "port", "6379", "flags", "master", "config-epoch", "3", "num-other-sentinels", "2"),
					QueryReplicas:  list(fields("ip", "10.0.0.2", "port", "6379", "flags", "slave")),
					QuerySentinels: list(),
					QueryID:        bulk("id1"),
				}[a.Query]
				next = append(next, m.Step(0, Answer{Seq: a.Seq, Reply: reply})...)
			}
		}
		pending = next
	}
	if !m.View().Known {
		t.Fatalf("%+v", m.View())
	}
	return m
}
