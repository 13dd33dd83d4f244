//go:build unix

package cluster

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// roundTrip sends commands on a new connection and returns their replies.
func roundTrip(t *testing.T, addr string, cfg *tls.Config, commands ...[]any) []resp.Value {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	if cfg != nil {
		conn = tls.Client(conn, cfg)
	}
	var out []byte
	for _, c := range commands {
		if out, err = resp.AppendCommand(out, c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(out); err != nil {
		t.Fatal(err)
	}
	var replies []resp.Value
	var in []byte
	for buf := make([]byte, 4096); len(replies) < len(commands); {
		v, n, err := resp.Decode(in)
		if err == nil {
			replies, in = append(replies, v), in[n:]
			continue
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		if n, err = conn.Read(buf); err != nil {
			t.Fatal(err)
		}
		in = append(in, buf[:n]...)
	}
	return replies
}

// discover runs a machine until its first map, or until it reports why there is none.
func discover(t *testing.T, m *Machine, seed string, query func(Query) Answer) *Error {
	t.Helper()
	pending := m.Step(0, Start{})
	for len(pending) > 0 {
		a := pending[0]
		pending = pending[1:]
		switch a := a.(type) {
		case Resolve:
			pending = append(pending, m.Step(0, Resolved{Seq: a.Seq, Nodes: []Node{{Addr: seed}}})...)
		case Query:
			pending = append(pending, m.Step(0, query(a))...)
		case Lost:
			return a.Err
		}
	}
	return nil
}

func TestRealNodesAnswerWithTheMap(t *testing.T) {
	since70 := redistest.ServerVersion(t).Since(7, 0)
	for name, cfg := range map[string]clustertest.Config{
		"addresses": {},
		"TLS only":  {Primaries: 2, TLSOnly: true},
		"hostnames": {Primaries: 2, Hostnames: []string{"a.test", "b.test"}},
	} {
		if len(cfg.Hostnames) > 0 && !since70 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := clustertest.Start(t, cfg)
			for _, protocol := range []string{"2", "3"} {
				testRealNodes(t, c, protocol)
			}
		})
	}
}

func testRealNodes(t *testing.T, c *clustertest.Cluster, protocol string) {
	ask := func(n *clustertest.Node, commands ...[]any) []resp.Value {
		t.Helper()
		var cfg *tls.Config
		if n.CAFile() != "" {
			cfg = n.TLSConfig()
		}
		return roundTrip(t, n.Addr(), cfg, append([][]any{{"HELLO", protocol}}, commands...)...)[1:]
	}
	first := c.Nodes()[0]
	m := New(Config{Seeds: []string{first.Addr()}})
	err := discover(t, m, first.Addr(), func(q Query) Answer {
		replies := ask(first, []any{"CLUSTER", "INFO"}, []any{"CLUSTER", "SLOTS"})
		return Answer{Seq: q.Seq, Info: replies[0], Slots: replies[1]}
	})
	if err != nil || m.current == nil || m.current.Covered() != Slots || m.view.Malformed != 0 {
		t.Fatalf("RESP%s: %v, %+v", protocol, err, m.View())
	}
	primaries := c.Primaries()
	if len(m.current.Shards) != len(primaries) {
		t.Errorf("RESP%s: %s: want %d shards", protocol, mapText(m.current), len(primaries))
	}
	for i, p := range primaries {
		slot := i * Slots / len(primaries)
		want := Node{Addr: p.Endpoint(), Hostname: p.Host, ID: p.ID}
		s := m.current.Shard(slot)
		if s == nil || s.Primary != want || len(s.Replicas) != len(c.ReplicasOf(p)) {
			t.Errorf("RESP%s: slot %d belongs to %+v: want %+v", protocol, slot, s, want)
		}
		other := primaries[(i+1)%len(primaries)]
		reply := ask(other, []any{"GET", testkit.SlotKey(slot, "k")})[0]
		moved := resp.NewServerError(string(reply.Str))
		got, addr, ok := ParseRedirect(moved.Message)
		from, _ := m.current.Node(other.Endpoint())
		if to, known := m.cfg.Target(from, addr); moved.Code != "MOVED" || !ok || got != slot || !known || to.Addr != want.Addr || to.Hostname != want.Hostname {
			t.Errorf("RESP%s: %v leads to slot %d, %+v: want slot %d, %+v", protocol, moved, got, to, slot, want)
		}
	}
}

func TestAServerWithoutClusterModeSaysSo(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	err := discover(t, New(Config{Seeds: []string{s.Addr()}}), s.Addr(), func(q Query) Answer {
		replies := roundTrip(t, s.Addr(), nil, []any{"CLUSTER", "INFO"}, []any{"CLUSTER", "SLOTS"})
		return Answer{Seq: q.Seq, Info: replies[0], Slots: replies[1]}
	})
	want := "no node returns a map of the cluster: " + s.Addr() + " is not in cluster mode: use redis://"
	if !errors.Is(err, ErrNotCluster) || err.Error() != want {
		t.Errorf("got %v: want %s", err, want)
	}
}

func TestRefusedPermissionsAreNamed(t *testing.T) {
	if !redistest.ServerVersion(t).Since(7, 0) {
		return // a rule cannot allow one subcommand of a denied command
	}
	c := clustertest.Start(t, clustertest.Config{Primaries: 1, Replicas: -1, Users: []string{
		"none on >secret ~* +@all -cluster", "slots on >secret ~* +@all -cluster +cluster|slots",
	}})
	addr := c.Nodes()[0].Addr()
	as := func(user string) (*Machine, *Error) {
		m := New(Config{Seeds: []string{addr}})
		return m, discover(t, m, addr, func(q Query) Answer {
			replies := roundTrip(t, addr, nil, []any{"AUTH", user, "secret"}, []any{"CLUSTER", "INFO"}, []any{"CLUSTER", "SLOTS"})
			return Answer{Seq: q.Seq, Info: replies[1], Slots: replies[2]}
		})
	}
	want := "no node returns a map of the cluster: " + addr + " refuses CLUSTER SLOTS: grant the user +cluster|slots and +cluster|info"
	if _, err := as("none"); !errors.Is(err, ErrNoPermission) || err.Error() != want {
		t.Errorf("got %v: want %s", err, want)
	}
	if m, err := as("slots"); err != nil || !m.View().NoEpoch || m.current.Covered() != Slots {
		t.Errorf("got %v, %+v: want a map without an epoch", err, m.View())
	}
}
