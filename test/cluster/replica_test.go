package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// callsAt returns how often some nodes executed a command.
func callsAt(nodes []*clustertest.Node, command string) (total int) {
	for _, n := range nodes {
		for pair := range strings.SplitSeq(n.Info("commandstats")["cmdstat_"+command], ",") {
			if key, value, _ := strings.Cut(pair, "="); key == "calls" {
				calls, _ := strconv.Atoi(value)
				total += calls
			}
		}
	}
	return total
}

// wrongMode returns the connections of clients that must not exist: those with READONLY at primaries, and those without it
// at replicas.
func wrongMode(c *clustertest.Cluster) (lines []string) {
	primaries := c.Primaries()
	for _, n := range c.Nodes() {
		if !n.Responsive() {
			continue
		}
		list, _ := n.Outsiders()
		for _, line := range list {
			_, flags, _ := strings.Cut(line, " flags=")
			flags, _, _ = strings.Cut(flags, " ")
			if strings.Contains(flags, "r") == slices.Contains(primaries, n) {
				lines = append(lines, n.Addr()+": "+line)
			}
		}
	}
	return lines
}

// noWrongMode waits until each node has only connections that fit its role.
func noWrongMode(t testing.TB, c *clustertest.Cluster) {
	t.Helper()
	testkit.Within(t, 2*time.Second+testkit.Patience/10, "the connections fit the roles of the nodes", func() bool { return len(wrongMode(c)) == 0 })
}

// readKey returns an error unless a key has a value, which all replicas have.
func readKey(ctx context.Context, client *respool.Client, k string) error {
	got, err := client.Do(ctx, "GET", k).Text()
	if err == nil && got != k {
		err = fmt.Errorf("GET %s returned %q", k, got)
	}
	return err
}

const readKeys = 60

// fill writes keys with their names as values, and waits until all replicas have them.
func fill(t testing.TB, c *clustertest.Cluster, client *respool.Client) {
	t.Helper()
	for i := range readKeys {
		if err := client.Do(t.Context(), "SET", key(i), key(i)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.Primaries() {
		n.Do("WAIT", strconv.Itoa(len(c.ReplicasOf(n))), "0")
	}
}

// Reads go to the replicas, in turn, and everything else to the primaries. When a replica dies under readers, no read fails.
func TestReadsGoToReplicas(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: 2})
	client, prefer := open(t, c, "role=replica"), open(t, c, "role=prefer-replica", "replica_choice=nearest", "max_replica_lag=5")
	ctx := patient(t)
	fill(t, c, client)
	primaries, replicas := c.Primaries(), c.Replicas()
	before, moved := callsAt(replicas, "get"), c.ErrorReplies("MOVED")
	for range 5 {
		for i := range readKeys {
			if err := readKey(ctx, client, key(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	pipe := client.Pipeline()
	var keys []any
	for i := range readKeys {
		pipe.Do("GET", key(i))
		keys = append(keys, key(i))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Error(err)
	}
	if got, err := client.Do(ctx, append([]any{"MGET"}, keys...)...).Texts(); err != nil || len(got) != readKeys || got[0] != key(0) {
		t.Errorf("MGET: %q, %v", got, err)
	}
	if reads := callsAt(replicas, "get") - before; reads != 6*readKeys {
		t.Errorf("%d GETs at the replicas: want %d", reads, 6*readKeys)
	}
	if got, err := client.Do(ctx, "EVAL_RO", "return redis.call('GET', KEYS[1])", 1, key(1)).Text(); err != nil || got != key(1) {
		t.Errorf("EVAL_RO: %q, %v", got, err)
	}
	for _, n := range replicas {
		if callsAt([]*clustertest.Node{n}, "get") == 0 {
			t.Errorf("%s has executed no GET", n.Addr())
		}
	}
	mixed := client.Pipeline()
	for i := range 200 {
		mixed.Do("SET", "{mixed}k", i).Do("GET", "{mixed}k")
	}
	replies, err := mixed.Exec(ctx)
	for i := 0; err == nil && i < len(replies); i += 2 {
		err = equal(replies[i+1], int64(i/2))
	}
	if err != nil {
		t.Errorf("a read behind a write in one pipeline: %v", err)
	}
	if _, err := client.Transaction().Do("SET", "{tx}k", 7).Do("GET", "{tx}k").Exec(ctx); err != nil {
		t.Error(err)
	}
	if got, err := client.Do(ctx, "BLPOP", "{tx}list", 0.01).Texts(); !errors.Is(err, respool.ErrNil) {
		t.Errorf("BLPOP: %q, %v", got, err)
	}
	if evals, gets := callsAt(primaries, "eval_ro"), callsAt(primaries, "get"); evals != 0 || gets != 201 {
		t.Errorf("the primaries executed %d EVAL_RO and %d GETs: want 0, and the 201 behind writes", evals, gets)
	}
	if n := c.ErrorReplies("MOVED") - moved; n != 0 {
		t.Errorf("%d MOVED replies", n)
	}
	if st := client.Stats().Cluster; !slices.Equal(st.Replicas, sorted(clustertest.Addrs(replicas))) || len(st.Excluded) != 0 || len(st.Primaries) != 3 {
		t.Errorf("%+v", st)
	}
	noWrongMode(t, c)
	aReplicaDiesUnderReaders(t, c, client, prefer)
}

// equal returns an error unless the reply is the number want.
func equal(r respool.Reply, want int64) error {
	got, err := r.Int64()
	if err == nil && got != want {
		err = fmt.Errorf("%d: want %d", got, want)
	}
	return err
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func aReplicaDiesUnderReaders(t *testing.T, c *clustertest.Cluster, clients ...*respool.Client) {
	ctx := patient(t)
	load := callers(t, 20, func(caller int, call int64) error {
		client, k := clients[caller%len(clients)], key(int(call)%readKeys)
		if caller >= 4 {
			return readKey(ctx, client, k)
		}
		pipe := client.Pipeline()
		for i := range readKeys {
			pipe.Do("GET", key(i))
		}
		_, err := pipe.Exec(ctx)
		return err
	})
	load.progress(200)
	victim := c.ReplicasOf(c.Owner(slotOf(key(0))))[0]
	victim.Kill()
	load.progress(2000)
	for _, client := range clients {
		testkit.Eventually(t, "the dead replica takes no reads", func() bool { return !contains(client.Stats().Cluster.Replicas, victim.Addr()) })
	}
	victim.Restart()
	c.WaitHealthy(t, testkit.Patience)
	load.end()
	if n := load.failures.Load(); n > 0 {
		t.Errorf("%d reads failed", n)
	}
}

// Failovers and moved slots under readers and writers cause no error. Afterwards each node has only connections that fit
// its role. The sockets stay within both limits.
func TestReadersOfReplicasDuringFailoversAndMoves(t *testing.T) {
	const total, perNode = 12, 4
	c := clustertest.Start(t, clustertest.Config{})
	watch := c.Watch()
	client := open(t, c, "role=prefer-replica", fmt.Sprint("max_connections=", perNode), fmt.Sprint("max_connections_total=", total), "timeout=20")
	ctx := patient(t)
	fill(t, c, client)
	load := callers(t, 30, func(caller int, call int64) error {
		switch k := key(keyNumber(call)); caller % 3 {
		case 0:
			return countUp(ctx, client, fmt.Sprint("n", caller), caller/3%3, call)
		case 1:
			return readMoving(client.Do(ctx, "GET", k))
		default:
			pipe := client.Pipeline()
			for i := range 20 {
				pipe.Do("GET", key(i))
			}
			replies, err := pipe.Exec(ctx)
			for _, r := range replies {
				if err == nil {
					err = readMoving(r)
				}
			}
			return err
		}
	})
	load.progress(200)
	for _, primary := range c.Primaries()[:2] {
		c.Failover(primary, "")
		load.progress(200)
		noWrongMode(t, c)
		t.Logf("after failover: moved %d, version %d", client.Stats().Cluster.Moved, client.Stats().Cluster.Version)
	}
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	var slots []int
	for i := range readKeys {
		if slot := slotOf(key(i)); c.Owner(slot) == from {
			slots = append(slots, slot)
		}
	}
	c.MoveSlots(from, to, slots...)
	t.Logf("after moves of %d slots: moved %d, version %d, done %d", len(slots), client.Stats().Cluster.Moved, client.Stats().Cluster.Version, load.done.Load())
	c.MoveSlots(to, from, slots...)
	load.progress(200)
	load.end()
	noWrongMode(t, c)
	if peak := watch.Stop(); peak > total {
		t.Errorf("%d connections at peak: want %d at most\n%s", peak, total, watch.AtPeak())
	}
	for _, n := range c.Nodes() {
		if peak := watch.PeakOf(n); peak > perNode {
			t.Errorf("%d connections of %s at peak: want %d at most", peak, n.Addr(), perNode)
		}
	}
	if reads := callsAt(c.Replicas(), "get"); reads == 0 {
		t.Error("the replicas executed no GET")
	}
	t.Logf("%d connections at peak; %d calls; %+v", watch.Peak(), load.done.Load(), client.Stats().Cluster)
}

func keyNumber(call int64) int { return int(call) % readKeys }

// readMoving returns the error of a read of a key whose slot may be half-moved: a replica does not know that, and finds no
// key that has moved already.
func readMoving(r respool.Reply) error {
	if err := r.Err(); !errors.Is(err, respool.ErrNil) {
		return err
	}
	return nil
}

// With one place more than primaries, a place for one replica's lane at a time: reads go to the primaries rather than wait.
func TestReadsDoNotWaitForAPlaceAtAReplica(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	watch := c.Watch()
	client := open(t, c, "role=prefer-replica", "max_connections_total=4", "timeout=20")
	ctx := patient(t)
	fill(t, c, client)
	load := callers(t, 12, func(caller int, call int64) error {
		if caller > 0 {
			return readKey(ctx, client, key(keyNumber(call)))
		}
		conn, err := client.Acquire(ctx, key(int(call)))
		if err == nil {
			conn.Release()
		}
		return err
	})
	load.progress(3000)
	load.end()
	if peak := watch.Stop(); peak > 4 {
		t.Errorf("%d connections at peak\n%s", peak, watch.AtPeak())
	}
	if _, err := respool.Open(ctx, c.URL("role=replica", "max_connections_total=3")); err == nil || !strings.Contains(err.Error(), "set it to 4 or more") {
		t.Errorf("role=replica without a place for replicas: %v", err)
	}
}

// A client of the gateway reads from replicas, except behind its own writes in one pipeline.
func TestClientsOfTheGatewayReadFromReplicas(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	addr := serve(t, c, gateway.Config{}, "role=prefer-replica")
	fill(t, c, open(t, c))
	p := dial(t, addr)
	p.ask("GET " + key(0))
	replicas := c.Replicas()
	before := callsAt(replicas, "get")
	var lines []string
	for i := range readKeys {
		lines = append(lines, "GET "+key(i))
	}
	for range 3 {
		if err := p.write(lines...); err != nil {
			t.Fatal(err)
		}
		for i := range readKeys {
			if frame, err := p.frame(); err != nil || !strings.HasSuffix(frame, key(i)+"\r\n") {
				t.Fatalf("%q, %v", frame, err)
			}
		}
	}
	if reads := callsAt(replicas, "get") - before; reads < 2*readKeys { // the primary takes those for which a lane is slow
		t.Errorf("%d GETs at the replicas: want %d", reads, 3*readKeys)
	}
	before = callsAt(replicas, "get")
	lines = nil
	for i := range readKeys {
		lines = append(lines, fmt.Sprintf("SET %s %d", key(i), i), "GET "+key(i))
	}
	for range 3 {
		if err := p.write(lines...); err != nil {
			t.Fatal(err)
		}
		for i := range readKeys {
			for _, want := range []string{"+OK\r\n", fmt.Sprintf("$%d\r\n%d\r\n", len(strconv.Itoa(i)), i)} {
				if frame, err := p.frame(); err != nil || frame != want {
					t.Fatalf("%q, %v: want %q", frame, err, want)
				}
			}
		}
	}
	if reads := callsAt(replicas, "get") - before; reads != 0 {
		t.Errorf("%d GETs behind writes at the replicas", reads)
	}
}
