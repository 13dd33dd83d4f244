package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"pgregory.net/rapid"
)

// fault is what a node does with one command instead of its usual reply.
type fault int

const (
	faultless  fault = iota
	faultMove        // its slot moves to another node first
	faultAsk         // its key moves to another node first, and ASK names that node
	faultAgain       // TRYAGAIN
	faultDown        // CLUSTERDOWN
	faultCut         // the connection breaks before the command is executed
	faultLate        // the connection breaks after it was executed
)

// faultyCluster is a fake cluster that executes APPEND and GET on keys in memory, and injects faults.
type faultyCluster struct {
	*fakeserver.Cluster

	mu      sync.Mutex
	asking  map[*fakeserver.Conn]bool
	data    map[string][]string // the tokens appended to each key, in the order of execution
	reads   map[string]int      // executed GETs by key
	moved   map[string]int      // keys that ASK leads to, and their new node
	faults  []fault             // of the next commands
	refused int
}

func newFaultyCluster(t *testing.T) *faultyCluster {
	f := &faultyCluster{asking: map[*fakeserver.Conn]bool{}}
	f.Cluster = fakeserver.StartCluster(t, fakeserver.ClusterConfig{Node: fakeserver.Config{Memory: true}, Answer: f.answer})
	f.reset(nil)
	return f
}

// reset removes all keys and sets the faults of the next commands.
func (f *faultyCluster) reset(faults []fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data, f.reads, f.moved, f.faults, f.refused = map[string][]string{}, map[string]int{}, map[string]int{}, faults, 0
}

func (f *faultyCluster) answer(node int, c *fakeserver.Conn, args []string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch args[0] {
	case "ASKING":
		f.asking[c] = true
		return "+OK\r\n", true
	case "APPEND", "GET":
	default:
		return "", false
	}
	asking := f.asking[c]
	delete(f.asking, c)
	next := faultless
	if len(f.faults) > 0 {
		next, f.faults = f.faults[0], f.faults[1:]
	}
	slot, others := testkit.KeySlot(args[1]), len(f.Nodes())
	switch next {
	case faultMove:
		f.Assign((f.Owner(slot)+1)%others, slot, slot)
	case faultAsk:
		f.moved[args[1]] = (f.Owner(slot) + 1) % others
	case faultAgain:
		f.refused++
		return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n", true
	case faultDown:
		f.refused++
		return "-CLUSTERDOWN The cluster is down\r\n", true
	case faultCut:
		c.Cut()
		c.Close() // the commands behind it are not executed
		return "", true
	}
	owner, to := f.Owner(slot), -1
	if n, ok := f.moved[args[1]]; ok {
		to = n
	}
	switch {
	case node != owner && !asking:
		f.refused++
		return fmt.Sprintf("-MOVED %d %s\r\n", slot, f.Addrs()[owner]), true
	case node == owner && to >= 0 && to != node:
		f.refused++
		return fmt.Sprintf("-ASK %d %s\r\n", slot, f.Addrs()[to]), true
	}
	reply := f.executeLocked(args)
	if next == faultLate {
		c.Cut()
		c.Close() // the commands behind it are not executed
	}
	return reply, true
}

func (f *faultyCluster) executeLocked(args []string) string {
	if args[0] == "GET" {
		f.reads[args[1]]++
		return fakeserver.Bulk(strings.Join(f.data[args[1]], " "))
	}
	f.data[args[1]] = append(f.data[args[1]], args[2])
	return fakeserver.Int(len(f.data[args[1]]))
}

// sentCommand is a command of a pipeline. token is empty for GET.
type sentCommand struct{ key, token string }

var faultGen = rapid.SampledFrom([]fault{faultless, faultless, faultless, faultMove, faultAsk, faultAgain, faultDown, faultCut, faultLate})

// bubble hides the deadline of a test, which is not available in a synctest bubble.
type bubble struct{ *testing.T }

// Whatever happens to the commands of a pipeline, each ends with one reply or error, no write is executed twice, and the
// commands for a key take effect in their order.
func TestPipelinesUnderFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaultyCluster(t)
		client, err := respool.New(respool.Options{Cluster: &respool.ClusterOptions{Addrs: f.Addrs()[:1]}, Dialer: f.Dial, DialRate: 1e6})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := client.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		followed := 0
		rapid.Check(bubble{t}, func(t *rapid.T) {
			keys := rapid.SampledFrom([]string{"{a}1", "{a}2", "b", "c", "d"})
			var commands []sentCommand
			for i := range rapid.IntRange(1, 12).Draw(t, "commands") {
				c := sentCommand{key: keys.Draw(t, "key")}
				if rapid.IntRange(0, 2).Draw(t, "write") > 0 {
					c.token = fmt.Sprint("t", i)
				}
				commands = append(commands, c)
			}
			f.reset(rapid.SliceOfN(faultGen, 0, 16).Draw(t, "faults"))
			pipe := client.Pipeline()
			for _, c := range commands {
				if c.token == "" {
					pipe.Do("GET", c.key)
				} else {
					pipe.Do("APPEND", c.key, c.token)
				}
			}
			replies, err := pipe.Exec(context.Background())
			f.check(t, commands, replies, err)
			followed += f.refused
		})
		if followed == 0 {
			t.Error("no command was refused")
		}
	})
}

// check compares the replies with what the nodes executed.
func (f *faultyCluster) check(t *rapid.T, commands []sentCommand, replies []respool.Reply, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(replies) != len(commands) {
		t.Fatalf("%d replies to %d commands", len(replies), len(commands))
	}
	order := map[string]int{}
	for i, c := range commands {
		order[c.token] = i
	}
	for key, tokens := range f.data {
		if !slices.IsSortedFunc(tokens, func(a, b string) int { return order[a] - order[b] }) || len(slices.Compact(slices.Clone(tokens))) != len(tokens) {
			t.Fatalf("%s was changed by %v: a write is repeated or in the wrong place", key, tokens)
		}
	}
	only := !slices.ContainsFunc(commands, func(c sentCommand) bool { return c.token != "" })
	sent := map[string]int{} // GETs by key
	for i, c := range commands {
		failure := replies[i].Err()
		var se *respool.ServerError
		switch done := slices.Contains(f.data[c.key], c.token); {
		case failure != nil && !errors.As(failure, &se) && err == nil:
			t.Fatalf("command %d failed with %v, but Exec did not", i, failure)
		case c.token == "":
			sent[c.key]++
			if failure == nil {
				f.checkRead(t, commands, replies, i)
			}
		case failure == nil && !done:
			t.Fatalf("command %d was not executed, but has a reply", i)
		case se != nil && done:
			t.Fatalf("command %d was executed, but its reply is %v", i, failure)
		}
	}
	for key, n := range f.reads {
		if n > sent[key] && !only {
			t.Fatalf("%d GETs of %s were executed: %d were sent beside writes", n, key, sent[key])
		}
	}
}

// checkRead fails the test unless GET number i saw all earlier writes that succeeded, and no later ones.
func (f *faultyCluster) checkRead(t *rapid.T, commands []sentCommand, replies []respool.Reply, i int) {
	text, err := replies[i].Text()
	if err != nil {
		t.Fatal(err)
	}
	seen := strings.Fields(text)
	for j, c := range commands {
		if c.key != commands[i].key || c.token == "" {
			continue
		}
		switch found := slices.Contains(seen, c.token); {
		case j < i && replies[j].Err() == nil && !found:
			t.Fatalf("GET, command %d, returned %q, without the earlier write %d", i, text, j)
		case j > i && found:
			t.Fatalf("GET, command %d, returned %q, with the later write %d", i, text, j)
		}
	}
}

// If a primary fails under a command for all nodes, its successor takes the command, and no node counts twice.
func TestCommandsForAllNodesFollowAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed atomic.Bool
		var c *fakeserver.Cluster
		c = fakeserver.StartCluster(t, fakeserver.ClusterConfig{
			Replicas: 1, Node: fakeserver.Config{Memory: true},
			Answer: func(node int, conn *fakeserver.Conn, args []string) (string, bool) {
				if args[0] != "DBSIZE" {
					return "", false
				}
				if node == 0 {
					failed.Store(true)
					c.Promote(3)
					conn.Cut()
					conn.Close()
					return "", true
				}
				return fakeserver.Int(10 + node), true
			},
		})
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if failed.Load() && addr == c.Addrs()[0] {
				return nil, errors.New("connection refused")
			}
			return c.Dial(ctx, network, addr)
		}
		client, err := respool.New(respool.Options{Cluster: &respool.ClusterOptions{Addrs: c.Addrs()}, Dialer: dial})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := client.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		for range 3 {
			if size, err := client.Do(context.Background(), "DBSIZE").Int64(); err != nil || size != 11+12+13 {
				t.Errorf("DBSIZE: %d, %v: want the sum of nodes 1, 2 and 3", size, err)
			}
		}
	})
}
