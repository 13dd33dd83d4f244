package cluster

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

var takeovers = flag.Int("takeovers", 1, "how often TestTheFirstWriteAfterATakeover kills a primary; with more than 1, it also does so for each kind of writer alone")

// writer is a way to write to the shard whose primary dies.
type writer struct {
	name    string
	callers int
	write   func(ctx context.Context, client *respool.Client, k string) error
}

var writers = []writer{
	{"one caller", 1, set},
	{"50 callers", 50, set},
	{"pipelines", 8, func(ctx context.Context, client *respool.Client, k string) error {
		p := client.Pipeline()
		for i := range 10 {
			p.Do("SET", fmt.Sprint(k, i), i)
		}
		replies, err := p.Exec(ctx)
		for _, r := range replies {
			if err == nil {
				err = r.Err()
			}
		}
		return err
	}},
	{"transactions", 8, func(ctx context.Context, client *respool.Client, k string) error {
		_, err := client.Transaction().Do("SET", k, 1).Do("INCR", k).Exec(ctx)
		return err
	}},
	{"leases", 4, setLeased},
}

func set(ctx context.Context, client *respool.Client, k string) error {
	return client.Do(ctx, "SET", k, 1).Err()
}

// setLeased sets a key on an acquired connection.
func setLeased(ctx context.Context, client *respool.Client, k string) error {
	for {
		conn, err := client.Acquire(ctx, k)
		if err != nil {
			return err
		}
		err = conn.Do(ctx, "SET", k, 1).Err()
		conn.Release()
		if ce := (*respool.ConnError)(nil); !errors.As(err, &ce) || ce.Sent {
			return err
		} // else it was an idle connection to a dead primary
	}
}

// kill -9 of a primary. Only commands that had been sent fail, and say so. The other shards see no error. The figures are
// how long the first write took after a node both claimed the slots and accepted writes.
func TestTheFirstWriteAfterATakeover(t *testing.T) {
	for _, coverage := range []string{"no", "yes"} { // yes: all nodes refuse all commands until the takeover
		if coverage == "yes" && *takeovers == 1 {
			continue
		}
		c := clustertest.Start(t, clustertest.Config{Args: []string{"--cluster-require-full-coverage", coverage}})
		measure := func(name string, kinds ...writer) {
			t.Run("full coverage "+coverage+", "+name, func(t *testing.T) {
				var list []*takeover
				for range *takeovers {
					k := &takeover{t: t, c: c, client: open(t, c, "timeout=20")}
					k.run(kinds)
					list = append(list, k)
				}
				report(t, list)
			})
		}
		measure("all kinds", writers...)
		for _, w := range writers {
			if *takeovers > 1 {
				measure(w.name, w)
			}
		}
	}
}

// takeover is one kill of a primary, and what followed.
type takeover struct {
	t      *testing.T
	c      *clustertest.Cluster
	client *respool.Client

	killed   time.Time
	claimed  time.Time // a node says that it is the primary of the slots
	accepted time.Time // a node accepts a write
	named    time.Time // another primary redirects to that node

	mu     sync.Mutex
	resume map[string]time.Time // the first write of each caller after the claim
	others [2][]time.Duration   // latencies of the other shards, before the kill and from then on
	lost   int
}

func (k *takeover) run(kinds []writer) {
	k.t.Helper()
	ctx := patient(k.t)
	victim := k.c.Owner(0)
	k.resume = map[string]time.Time{}
	var all []writer // of each caller
	for _, w := range kinds {
		all = append(all, slices.Repeat([]writer{w}, w.callers)...)
	}
	shard := callers(k.t, len(all), func(caller int, _ int64) error {
		name := testkit.SlotKey(caller, all[caller].name)
		err := all[caller].write(ctx, k.client, name)
		now := time.Now()
		k.mu.Lock()
		defer k.mu.Unlock()
		if ce := (*respool.ConnError)(nil); errors.As(err, &ce) && ce.Sent && ce.Addr == victim.Addr() {
			k.lost++
			return nil
		}
		if _, seen := k.resume[name]; err == nil && !seen && !k.killed.IsZero() && now.Sub(k.killed) > atLeast {
			k.resume[name] = now
		}
		return err
	})
	healthy := keyAt(k.c, k.c.Owner(clustertest.Slots-1), 0)
	other := callers(k.t, 8, func(caller int, call int64) error {
		<-time.After(time.Millisecond)
		began := time.Now()
		err := k.client.Do(ctx, "SET", fmt.Sprintf("{%s}%d", healthy, caller), call).Err()
		k.mu.Lock()
		defer k.mu.Unlock()
		which := 0
		if !k.killed.IsZero() {
			which = 1
		}
		k.others[which] = append(k.others[which], time.Since(began))
		return err
	})
	calls := int64(100)
	if *takeovers > 1 {
		calls = 2000 // for the p99
	}
	shard.progress(100)
	other.progress(calls)
	var sampling sync.WaitGroup
	for _, replica := range k.c.ReplicasOf(victim) {
		sampling.Go(func() { k.sample(replica) })
	}
	for _, primary := range k.c.Primaries() {
		if primary != victim {
			sampling.Go(func() { k.sampleRedirects(primary, victim) })
		}
	}
	k.mu.Lock()
	k.killed = time.Now()
	k.mu.Unlock()
	victim.Kill()
	sampling.Wait()
	testkit.Eventually(k.t, "all callers write again", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.resume) == len(all) || shard.failures.Load() > 0
	})
	other.progress(calls / 4)
	shard.end()
	other.end()
	victim.Restart()
	k.c.WaitHealthy(k.t, 3*testkit.Patience)
}

// atLeast is less than any takeover takes: the nodes wait for their timeout of 1 s first. So a write that ends later was
// not executed by the primary that was killed.
const atLeast = 500 * time.Millisecond

// sample asks a replica every 2 ms whether it has become the primary.
func (k *takeover) sample(replica *clustertest.Node) {
	k.ask(replica, "CLUSTER NODES\r\nSET "+keyOf(0)+" 1\r\n", func(in *bufio.Reader) (bool, error) {
		nodes, err := bulk(in)
		if err != nil {
			return false, err
		}
		reply, err := in.ReadString('\n')
		now := time.Now()
		for line := range strings.SplitSeq(nodes, "\n") {
			if f := strings.Fields(line); len(f) > 8 && strings.Contains(f[2], "myself,master") && k.claimed.IsZero() {
				k.claimed = now
			}
		}
		k.accepted = now
		return strings.HasPrefix(reply, "+OK"), err
	})
}

// sampleRedirects asks another primary every 2 ms which node serves the slots of the victim.
func (k *takeover) sampleRedirects(primary, victim *clustertest.Node) {
	k.ask(primary, "EXISTS "+keyOf(0)+"\r\n", func(in *bufio.Reader) (bool, error) {
		reply, err := in.ReadString('\n')
		named := strings.HasPrefix(reply, "-MOVED") && !strings.Contains(reply, victim.Addr())
		k.mu.Lock()
		defer k.mu.Unlock()
		if named && k.named.IsZero() {
			k.named = time.Now()
		}
		return named, err
	})
}

// ask sends a question to a node every 2 ms, on a connection of its own, until read reports the end.
func (k *takeover) ask(n *clustertest.Node, question string, read func(*bufio.Reader) (bool, error)) {
	conn, err := net.Dial("tcp", n.Server.Addr())
	if err != nil {
		k.t.Error(err)
		return
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(testkit.Patience); ; <-tick.C {
		if time.Now().After(end) {
			k.t.Errorf("%s sees no takeover", n.Addr())
			return
		}
		if _, err := io.WriteString(conn, question); err != nil {
			k.t.Error(err)
			return
		}
		if over, err := read(in); err != nil {
			k.t.Error(err)
			return
		} else if over {
			return
		}
	}
}

// bulk reads a bulk string.
func bulk(in *bufio.Reader) (string, error) {
	head, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.Trim(head, "$\r\n"))
	if err != nil {
		return "", err
	}
	text := make([]byte, n+2)
	_, err = io.ReadFull(in, text)
	return string(text), err
}

// report prints the figures of some takeovers.
func report(t *testing.T, list []*takeover) {
	figures := map[string][]float64{}
	for _, k := range list {
		add := func(name string, d time.Duration) {
			figures[name] = append(figures[name], float64(d.Microseconds())/1000)
		}
		var first, last time.Time
		lasts := map[string]time.Time{} // by kind
		for name, at := range k.resume {
			_, kind, _ := strings.Cut(name, "}")
			if at.After(lasts[kind]) {
				lasts[kind] = at
			}
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if at.After(last) {
				last = at
			}
		}
		add("1 claimed after the kill", k.claimed.Sub(k.killed))
		add("2 accepted after the claim", k.accepted.Sub(k.claimed))
		add("2b another primary names it", k.named.Sub(k.accepted))
		add("3 first write after the claim", first.Sub(k.accepted))
		add("3b first write after it is named", first.Sub(k.named))
		add("4 last caller's first write", last.Sub(k.accepted))
		for kind, at := range lasts {
			add("4b of "+kind, at.Sub(k.accepted))
		}
		figures["5 sent commands lost"] = append(figures["5 sent commands lost"], float64(k.lost))
		before, during := percentile(k.others[0], 99), percentile(k.others[1], 99)
		add("6 p99 of others before", before)
		add("7 p99 of others from the kill on", during)
		add("7b longest call of others", slices.Max(k.others[1]))
		figures["8 ratio"] = append(figures["8 ratio"], float64(during)/float64(before))
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range figures {
			if !yield(name) {
				return
			}
		}
	}) {
		values := figures[name]
		slices.Sort(values)
		_, text, _ := strings.Cut(name, " ")
		t.Logf("%-34s min %8.2f  median %8.2f  max %8.2f", text, values[0], values[len(values)/2], values[len(values)-1])
	}
}

func percentile(list []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)*p/100]
}

// In a cluster with one primary, only its replicas can name the successor.
func TestTheReplicasOfTheOnlyPrimaryNameItsSuccessor(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Primaries: 1, Replicas: 2})
	client := open(t, c, "timeout=60")
	ctx := patient(t)
	if err := set(ctx, client, "k"); err != nil {
		t.Fatal(err)
	}
	old := c.Owner(0)
	old.Kill()
	written := make(chan error, 1)
	go func() {
		err := set(ctx, client, "k")
		if ce := (*respool.ConnError)(nil); errors.As(err, &ce) && ce.Sent { // the kill was not noticed yet
			err = set(ctx, client, "k")
		}
		written <- err
	}()
	successor := c.Failover(old, "TAKEOVER")
	if err := <-written; err != nil {
		t.Errorf("the write that waited: %v", err)
	}
	if got := successor.Do("GET", "k"); got != "1" {
		t.Errorf("the successor has %q: want 1", got)
	}
}
