package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// serve starts a gateway to a cluster and returns its address.
func serve(t testing.TB, c *clustertest.Cluster, cfg gateway.Config, keys ...string) string {
	t.Helper()
	client := open(t, c, keys...)
	g, err := gateway.New(client.Engine(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := g.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// peer is a client of the gateway without a library.
type peer struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &peer{t, conn, bufio.NewReader(conn)}
}

// write sends requests, each a line of words.
func (p *peer) write(lines ...string) error {
	var out []byte
	for _, line := range lines {
		words := strings.Fields(line)
		out = resp.AppendArrayHeader(out, len(words))
		for _, w := range words {
			out = resp.AppendBulkString(out, w)
		}
	}
	_, err := p.Write(out)
	return err
}

// frame reads one reply.
func (p *peer) frame() (string, error) {
	if err := p.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	var frame []byte
	for {
		line, err := p.in.ReadBytes('\n')
		if err != nil {
			return "", fmt.Errorf("%w after %q", err, frame)
		}
		frame = append(frame, line...)
		n, err := resp.FrameLen(frame)
		if err == nil && n == len(frame) {
			return string(frame), nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return "", err
		}
	}
}

// ask sends one request and returns the reply with | for each line break.
func (p *peer) ask(line string) string {
	p.t.Helper()
	if err := p.write(line); err != nil {
		p.t.Fatal(err)
	}
	frame, err := p.frame()
	if err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	return strings.ReplaceAll(strings.TrimSuffix(frame, "\r\n"), "\r\n", "|")
}

// exchange is a request with its reply.
type exchange struct{ request, reply string }

func (p *peer) want(list ...exchange) {
	p.t.Helper()
	for _, e := range list {
		if got := p.ask(e.request); got != e.reply {
			p.t.Errorf("%s: %s, want %s", e.request, got, e.reply)
		}
	}
}

const crossSlot = "-CROSSSLOT Keys in request don't hash to the same slot"

func TestTheGatewayShowsTwoFacesOfACluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, Args: []string{"--slowlog-log-slower-than", "0"}})
	single, face := serve(t, c, gateway.Config{Admin: true}), serve(t, c, gateway.Config{Face: gateway.FaceCluster})
	for _, proto := range []string{"2", "3"} {
		t.Run("single, RESP"+proto, func(t *testing.T) {
			p := dial(t, single)
			if hello := p.ask("HELLO " + proto); !strings.Contains(hello, "|standalone|") {
				t.Error(hello)
			}
			disabled := "-ERR This instance has cluster support disabled"
			null, none := "*-1", "$-1"
			if proto == "3" {
				null, none = "_", "_"
			}
			readOnly := disabled
			if redistest.ServerVersion(t).Valkey() {
				readOnly = "+OK" // a Valkey that is no node accepts it
			}
			p.want([]exchange{
				{"FLUSHALL", "+OK"}, {"CLUSTER SLOTS", disabled}, {"CLUSTER RESET", disabled}, {"READONLY", readOnly}, {"ASKING", disabled},
				{"SELECT 0", "+OK"}, {"SELECT 1", "-ERR SELECT is not allowed in cluster mode"},
				{"MSET a 1 b 2 c 3", "+OK"}, {"MGET a b c d", "*4|$1|1|$1|2|$1|3|" + none}, {"DBSIZE", ":3"}, {"DEL a c", ":2"},
				{"SUNION a b", crossSlot}, {"RENAME a b", crossSlot},
				{"MULTI", "+OK"}, {"SET a 1", "+QUEUED"}, {"SET {a}2 1", "+QUEUED"}, {"PUBLISH b x", "+QUEUED"}, {"EXEC", "*3|+OK|+OK|:0"},
				{"MULTI", "+OK"}, {"SET a 1", "+QUEUED"}, {"SET b 1", "+QUEUED"}, {"EXEC", crossSlot},
				{"MULTI", "+OK"}, {"MGET a b", crossSlot}, {"EXEC", "-EXECABORT Transaction discarded because of previous errors."},
				{"WATCH a", "+OK"}, {"WATCH b", crossSlot}, {"GET b", "$1|2"}, {"GET a", "$1|1"},
				{"MULTI", "+OK"}, {"INCR a", "+QUEUED"}, {"EXEC", "*1|:2"},
				{"WATCH a", "+OK"}, {"INCR a", ":3"}, {"MULTI", "+OK"}, {"INCR a", "+QUEUED"}, {"EXEC", null},
			}...)
			if reply := p.ask("MONITOR"); !strings.HasPrefix(reply, "-ERR respool: MONITOR is not possible") {
				t.Error(reply)
			}
			info := p.ask("INFO")
			for _, want := range []string{"_mode:standalone|", "|cluster_enabled:0|", "|db0:keys=3,"} { // Valkey names it server_mode
				if !strings.Contains(info, want) {
					t.Errorf("INFO lacks %q: %s", want, info)
				}
			}
			if page := p.ask("SCAN 0"); !strings.HasPrefix(page, "*2|$1|0|*3|") { // one page, as from one server
				t.Error(page)
			}
			if log := p.ask("SLOWLOG GET 2"); !strings.HasPrefix(log, "*2|*6|:") {
				t.Error(log)
			}
			if stats := p.ask("FUNCTION STATS"); strings.Count(stats, "running_script") != 1 {
				t.Error(stats)
			}
			servers := p.ask("RESPOOL SERVERS")
			for _, n := range c.Primaries() {
				if !strings.Contains(servers, "server="+n.Addr()+" ") {
					t.Errorf("RESPOOL SERVERS lacks %s: %s", n.Addr(), servers)
				}
			}
		})
		t.Run("cluster, RESP"+proto, func(t *testing.T) {
			p := dial(t, face)
			if hello := p.ask("HELLO " + proto); !strings.Contains(hello, "|cluster|") {
				t.Error(hello)
			}
			host, port, _ := strings.Cut(face, ":")
			id := strings.TrimPrefix(p.ask("CLUSTER MYID"), "$40|")
			empty := "*0"
			if proto == "3" {
				empty = "%0"
			}
			p.want([]exchange{
				{"CLUSTER SLOTS", "*1|*3|:0|:16383|*4|$9|" + host + "|:" + port + "|$40|" + id + "|" + empty},
				{"READONLY", "+OK"}, {"READWRITE", "+OK"}, {"ASKING", "+OK"}, {"CLUSTER KEYSLOT foo", ":12182"},
				{"MSET foo 1 bar 2", "+OK"}, {"CLUSTER COUNTKEYSINSLOT 12182", ":1"}, {"CLUSTER GETKEYSINSLOT 12182 9", "*1|$3|foo"},
				{"CLUSTER COUNTKEYSINSLOT 99999", "-ERR Invalid slot"}, {"CLUSTER REPLICAS " + id, "*0"},
				{"CLUSTER FORGET " + id, "-ERR respool: CLUSTER FORGET is not possible through the gateway"},
			}...)
			for _, query := range []string{"CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES"} {
				reply := p.ask(query)
				if !strings.Contains(reply, port) || !strings.Contains(reply, id) {
					t.Errorf("%s does not name the gateway: %s", query, reply)
				}
				for _, n := range c.Nodes() {
					if strings.Contains(reply, n.ID) {
						t.Errorf("%s names a node: %s", query, reply)
					}
				}
			}
			if info := p.ask("INFO"); !strings.Contains(info, "_mode:cluster|") {
				t.Error(info)
			}
		})
	}
}

// A command about scripts reaches the node on which a script runs.
func TestTheGatewayKillsAScriptOnAnyNode(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: 10 * time.Second, Args: []string{"--busy-reply-threshold", "10"}})
	p := dial(t, serve(t, c, gateway.Config{}))
	p.want(exchange{"SCRIPT KILL", "-NOTBUSY No scripts in execution right now."})
	for _, n := range c.Primaries() {
		conn, err := net.Dial("tcp", n.Addr())
		if err != nil {
			t.Fatal(err)
		}
		script := &peer{t, conn, bufio.NewReader(conn)}
		if _, err := io.WriteString(conn, "EVAL 'while true do end' 0\r\n"); err != nil {
			t.Fatal(err)
		}
		testkit.Await(t, "SCRIPT KILL at "+n.Addr(), func() string { return p.ask("SCRIPT KILL") }, testkit.Is("+OK"))
		if got, err := script.frame(); err != nil || !strings.Contains(got, "killed") {
			t.Errorf("the script returned %q, %v", got, err)
		}
		_ = conn.Close()
	}
}

// A refused write is not sent again after a later write of the same client to one of its keys was executed.
func TestTheGatewayDoesNotReorderWritesOfAKey(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: 10 * time.Second})
	p := dial(t, serve(t, c, gateway.Config{}))
	const slot = 7
	moved, stays, other := testkit.SlotKey(slot, "moved"), testkit.SlotKey(slot, "stays"), testkit.SlotKey(slot, "other")
	p.want(exchange{"SET " + moved + " 0", "+OK"}, exchange{"SET " + stays + " 0", "+OK"}, exchange{"SET " + other + " 0", "+OK"})
	m := c.BeginMove(slot, c.Primaries()[1])
	m.MoveKeys(moved)
	// The node refuses MSET with TRYAGAIN, because it has only one of the keys, and executes the commands behind it.
	if err := p.write("MSET "+moved+" 1 "+stays+" 1", "SET "+stays+" 2", "GET "+stays); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"-TRYAGAIN ", "+OK", "$1\r\n2"} {
		if got, err := p.frame(); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%q, %v, want %s", got, err, want)
		}
	}
	// If no later write uses its keys, the gateway sends it again until the slot has moved.
	if err := p.write("MSET "+moved+" 3 "+stays+" 3", "SET "+other+" 3"); err != nil {
		t.Fatal(err)
	}
	m.Finish()
	for range 2 {
		if got, err := p.frame(); err != nil || got != "+OK\r\n" {
			t.Errorf("%q, %v", got, err)
		}
	}
	p.want(exchange{"MGET " + moved + " " + stays + " " + other, "*3|$1|3|$1|3|$1|3"})
}

// Pipelines reach all nodes at the same time. No client sees a redirect while slots move, and no INCR is lost or doubled.
func TestSlotsMoveBehindTheGateway(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: 10 * time.Second})
	from, to := c.Primaries()[0], c.Primaries()[1]
	keys, slots := make([]string, 20), make([]int, 40)
	for i := range slots {
		slots[i] = i
	}
	for i := range keys {
		keys[i] = testkit.SlotKey(i*2, "counter")
	}
	total := 0
	for _, order := range []gateway.Order{gateway.OrderSlot, gateway.OrderStrict} {
		addr := serve(t, c, gateway.Config{Order: order}, "max_connections=8")
		stop := make(chan struct{})
		var clients sync.WaitGroup
		counts := make([]int, 20)
		for i := range counts {
			p := dial(t, addr)
			clients.Go(func() { counts[i] = increment(p, fmt.Sprintf("-%v-%d", order, i), keys, stop) })
		}
		for range 2 {
			c.MoveSlots(from, to, slots...)
			from, to = to, from
		}
		close(stop)
		clients.Wait()
		rounds := 0
		for _, n := range counts {
			rounds += n
		}
		if rounds == 0 {
			t.Fatalf("order %v: no pipeline was completed", order)
		}
		total += rounds
		p := dial(t, addr)
		for _, key := range keys {
			if got, want := p.ask("GET "+key), fmt.Sprintf("$%d|%d", len(fmt.Sprint(total)), total); got != want {
				t.Errorf("order %v: %s is %s after %d acknowledged INCRs", order, key, got, total)
			}
		}
	}
}

// increment pipelines INCRs of all keys, and writes and reads of keys of the client, until stop. It returns the number
// of pipelines.
func increment(p *peer, client string, keys []string, stop <-chan struct{}) (rounds int) {
	for ; ; rounds++ {
		select {
		case <-stop:
			return rounds
		default:
		}
		var lines, want []string
		for i, key := range keys {
			own := testkit.SlotKey(i*2, "own"+client)
			lines = append(lines, "INCR "+key, fmt.Sprintf("SET %s %d", own, rounds), "INCR "+own, "GET "+own)
			want = append(want, ":", "+OK", fmt.Sprintf(":%d", rounds+1), fmt.Sprintf("$%d\r\n%d", len(fmt.Sprint(rounds+1)), rounds+1))
			if i == 0 {
				lines = append(lines, "MULTI", "INCR "+own, "EXEC")
				want = append(want, "+OK", "+QUEUED", fmt.Sprintf("*1\r\n:%d", rounds+2))
			}
		}
		if err := p.write(lines...); err != nil {
			p.t.Error(err)
			return rounds
		}
		for i := range want {
			frame, err := p.frame()
			if err != nil || !strings.HasPrefix(frame, want[i]) {
				p.t.Errorf("%s: %q, %v, want %q", lines[i], frame, err, want[i])
				return rounds
			}
		}
	}
}
