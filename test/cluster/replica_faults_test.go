package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"pgregory.net/rapid"
)

// ailment is what a replica of an ailingCluster does with reads.
type ailment int

const (
	healthy  ailment = iota
	cuts             // it closes the connection
	loads            // LOADING
	orphan           // MASTERDOWN
	isolated         // CLUSTERDOWN
	strange          // MOVED: it follows another primary
	dead             // it accepts no connections either
)

// ailingCluster is a fake cluster with two replicas of each primary. Replicas have the data as of the last sync.
type ailingCluster struct {
	*fakeserver.Cluster

	mu        sync.Mutex
	readonly  map[*fakeserver.Conn]bool
	conns     map[int]map[*fakeserver.Conn]bool // of each node
	ails      map[int]ailment
	data      map[string]string
	replicas  map[string]string // the data of all replicas
	atReplica int               // reads that replicas executed
	faults    []string          // commands at nodes, or on connections, that must not have them
}

func newAilingCluster(t *testing.T) *ailingCluster {
	a := &ailingCluster{
		readonly: map[*fakeserver.Conn]bool{}, conns: map[int]map[*fakeserver.Conn]bool{}, ails: map[int]ailment{},
		data: map[string]string{}, replicas: map[string]string{},
	}
	a.Cluster = fakeserver.StartCluster(t, fakeserver.ClusterConfig{Replicas: 2, Node: fakeserver.Config{Memory: true}, Answer: a.answer})
	return a
}

// Dial refuses connections to dead nodes.
func (a *ailingCluster) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	a.mu.Lock()
	ill := a.ails[slices.Index(a.Addrs(), addr)]
	a.mu.Unlock()
	if ill == dead {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
	}
	return a.Cluster.Dial(ctx, network, addr)
}

// isPrimary reports whether a node owns slots.
func (a *ailingCluster) isPrimary(node int) bool {
	return slices.ContainsFunc([]int{0, 6000, testkit.Slots - 1}, func(slot int) bool { return a.Owner(slot) == node })
}

// sicken changes a replica. A dead one loses its connections. The client must not take it for a primary any more: a write on
// a connection that is lost may fail.
func (a *ailingCluster) sicken(node int, to ailment) {
	a.mu.Lock()
	a.ails[node] = to
	if to == dead {
		for c := range a.conns[node] {
			c.Cut()
		}
		clear(a.conns[node])
	}
	a.mu.Unlock()
	if to == dead {
		synctest.Wait()
	}
}

func (a *ailingCluster) answer(node int, c *fakeserver.Conn, args []string) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conns[node] == nil {
		a.conns[node] = map[*fakeserver.Conn]bool{}
	}
	a.conns[node][c] = true
	primary := a.isPrimary(node)
	switch args[0] {
	case "READONLY", "READWRITE":
		a.readonly[c] = args[0] == "READONLY"
		return "+OK\r\n", true
	case "ROLE":
		switch {
		case primary:
			return "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", true
		case a.ails[node] == loads || a.ails[node] == orphan:
			return "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$7\r\nconnect\r\n:0\r\n", true
		}
		return "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:0\r\n", true
	case "APPEND", "GET":
	default:
		return "", false
	}
	owner := a.Owner(testkit.KeySlot(args[1]))
	moved := fmt.Sprintf("-MOVED %d %s\r\n", testkit.KeySlot(args[1]), a.Addrs()[owner])
	switch {
	case args[0] == "APPEND" && a.readonly[c]:
		a.faults = append(a.faults, "a write on a connection with READONLY")
	case node == owner && args[0] == "APPEND":
		a.data[args[1]] += args[2]
		return fakeserver.Int(len(a.data[args[1]])), true
	case node == owner:
		return fakeserver.Bulk(a.data[args[1]]), true
	case args[0] == "APPEND" || !a.readonly[c] || primary:
		return moved, true
	}
	switch a.ails[node] {
	case cuts, dead:
		c.Cut()
		c.Close()
		return "", true
	case loads:
		return "-LOADING Redis is loading the dataset in memory\r\n", true
	case orphan:
		return "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n", true
	case isolated:
		return "-CLUSTERDOWN The cluster is down\r\n", true
	case strange:
		return moved, true
	}
	a.atReplica++
	return fakeserver.Bulk(a.replicas[args[1]]), true
}

// Whatever happens to replicas, no read fails and no write reaches them. Reads behind a write in one pipeline see the write.
// Other reads return what the key had at the last sync, or has now.
func TestReadsFromReplicasUnderFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAilingCluster(t)
		client, err := respool.New(respool.Options{
			Cluster: &respool.ClusterOptions{Addrs: a.Addrs()[:3]}, Dialer: a.Dial, DialRate: 1e6, Role: respool.RolePreferReplica,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := client.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		if err := client.Warm(t.Context()); err != nil {
			t.Fatal(err)
		}
		keys := rapid.SampledFrom([]string{"{a}1", "{a}2", "b", "c", "d", "e"})
		rapid.Check(bubble{t}, func(t *rapid.T) {
			t.Repeat(map[string]func(*rapid.T){
				"a replica changes": func(t *rapid.T) {
					node := rapid.IntRange(3, 8).Draw(t, "node")
					if !a.isPrimary(node) && !contains(client.Stats().Cluster.Primaries, a.Addrs()[node]) {
						a.sicken(node, rapid.SampledFrom([]ailment{healthy, cuts, loads, orphan, isolated, strange, dead}).Draw(t, "ailment"))
					}
				},
				"sync": func(*rapid.T) {
					a.mu.Lock()
					defer a.mu.Unlock()
					for key, value := range a.data {
						a.replicas[key] = value
					}
				},
				"failover": func(t *rapid.T) {
					if node := rapid.IntRange(3, 8).Draw(t, "node"); !a.isPrimary(node) {
						a.sicken(node, healthy)
						a.Promote(node)
					}
				},
				"time passes": func(t *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
				},
				"read": func(t *rapid.T) {
					key := keys.Draw(t, "key")
					a.checkRead(t, key, client.Do(context.Background(), "GET", key))
				},
				"pipeline": func(t *rapid.T) { a.pipeline(t, client, rapid.SliceOfN(keys, 1, 8).Draw(t, "keys")) },
			})
		})
		if a.atReplica == 0 {
			t.Error("no replica executed a read")
		}
	})
}

// checkRead fails the test unless a reply is what a key had at the last sync, or has now.
func (a *ailingCluster) checkRead(t *rapid.T, key string, r respool.Reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.faults) > 0 {
		t.Fatal(a.faults)
	}
	got, err := r.Text()
	if err != nil {
		t.Fatalf("GET %s: %v", key, err)
	}
	if now := a.data[key]; len(got) < len(a.replicas[key]) || !strings.HasPrefix(now, got) {
		t.Fatalf("GET %s: %q: want %q, or what was added since %q", key, got, now, a.replicas[key])
	}
}

// pipeline sends a pipeline of reads, and perhaps writes before them.
func (a *ailingCluster) pipeline(t *rapid.T, client *respool.Client, keys []string) {
	writes := rapid.SliceOfN(rapid.Bool(), len(keys), len(keys)).Draw(t, "writes")
	pipe := client.Pipeline()
	for i, key := range keys {
		if writes[i] {
			pipe.Do("APPEND", key, "x")
		} else {
			pipe.Do("GET", key)
		}
	}
	a.mu.Lock()
	value := map[string]string{}
	for _, key := range keys {
		value[key] = a.data[key]
	}
	a.mu.Unlock()
	replies, err := pipe.Exec(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		switch {
		case writes[i]:
			value[key] += "x"
			if err := replies[i].Err(); err != nil {
				t.Fatalf("APPEND %s: %v", key, err)
			}
		case slices.Contains(writes, true):
			if got, err := replies[i].Text(); err != nil || got != value[key] {
				t.Fatalf("GET %s behind writes: %q, %v: want %q", key, got, err, value[key])
			}
		default:
			a.checkRead(t, key, replies[i])
		}
	}
}
