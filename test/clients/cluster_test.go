//go:build linux

package clients

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/goredis"
	respoolgateway "github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// redisPyCluster prints what redis-py's cluster client returns.
const redisPyCluster = `
import sys
from redis.cluster import RedisCluster
r = RedisCluster(host=sys.argv[1], port=int(sys.argv[2]))
r.flushall()
for i in range(100):
    print(i, r.set(f"py:{i}", i), r.incr(f"py:{i}"), r.get(f"py:{i}"), r.keyslot(f"py:{i}"), r.cluster_keyslot(f"py:{i}"))
print(r.dbsize(target_nodes="primaries"), sorted(r.keys("py:1*", target_nodes="primaries")))
with r.pipeline() as p:
    for i in range(100):
        p.incr(f"py:{i}").get(f"py:{i}")
    print(p.execute())
print(r.mset_nonatomic({f"py:{i}": "m" for i in range(9)}), r.mget_nonatomic([f"py:{i}" for i in range(9)]))
print(r.eval("return redis.call('INCR', KEYS[1])", 1, "py:50"), r.rpush("list", "a", "b"), r.blpop("list", 1))
print(r.delete(*[f"py:{i}" for i in range(60)]), r.exists("py:1", "py:70"), r.dbsize(target_nodes="primaries"))
print(len(r.get_primaries()) > 0, r.cluster_info()["cluster_state"])
`

// redisCLICluster is the input of redis-cli -c.
func redisCLICluster() string {
	var b strings.Builder
	b.WriteString("FLUSHALL\n") // of one node, the others have nothing of this program
	for i := range 100 {
		fmt.Fprintf(&b, "SET cli:%d %d\nINCR cli:%[1]d\nGET cli:%[1]d\nCLUSTER KEYSLOT cli:%[1]d\nDEL cli:%[1]d\n", i, i)
	}
	return b.String() + "MULTI\nSET {t}1 1\nINCR {t}1\nEXEC\nRPUSH {t}l a b\nLRANGE {t}l 0 -1\nTYPE {t}l\nSUNION a b\nDEL {t}1 {t}l\n"
}

// Programs with cluster clients print the same through a gateway with the face cluster as directly.
func TestClusterClientsPrintTheSameThroughTheGateway(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: 10 * time.Second})
	through := serveCluster(t, c)
	direct := c.Primaries()[0].Addr()
	for _, p := range clusterClients() {
		t.Run(p.name, func(t *testing.T) {
			var outputs [2][]string
			for i, addr := range []string{direct, through} {
				for _, n := range c.Nodes() {
					n.Do("FLUSHALL")
				}
				ctx, cancel := context.WithTimeout(t.Context(), programLimit)
				printed, err := p.run(ctx, addr)
				cancel()
				if err != nil {
					t.Fatalf("at %s: %v: %s", addr, err, tail(strings.Join(printed, "\n")))
				}
				outputs[i] = slices.DeleteFunc(printed, func(line string) bool {
					return strings.HasPrefix(line, "-> Redirected") // redis-cli reports how it finds the nodes
				})
			}
			if len(outputs[0]) < 20 {
				t.Errorf("it printed only %q", outputs[0])
			}
			if told := differences(outputs[0], outputs[1]); told != nil {
				t.Errorf("the output differs:\n%s", strings.Join(told, "\n"))
			}
		})
	}
}

// clusterClient is a program with a library's client for clusters.
type clusterClient struct {
	name string
	run  func(ctx context.Context, addr string) ([]string, error)
}

func clusterClients() []clusterClient {
	all := []clusterClient{
		{"redis-cli", func(ctx context.Context, addr string) ([]string, error) {
			host, port, _ := strings.Cut(addr, ":")
			cmd := exec.CommandContext(ctx, "redis-cli", "-c", "-h", host, "-p", port)
			cmd.Stdin = strings.NewReader(redisCLICluster())
			return printedBy(cmd)
		}},
		{"redis-py sync", func(ctx context.Context, addr string) ([]string, error) {
			host, port, _ := strings.Cut(addr, ":")
			return printedBy(exec.CommandContext(ctx, "/usr/bin/python3", "-c", redisPyCluster, host, port))
		}},
		{"go-redis", func(ctx context.Context, addr string) ([]string, error) { return goRedisCluster(ctx, addr) }},
		{"rueidis", func(ctx context.Context, addr string) ([]string, error) { return rueidisCluster(ctx, addr) }},
	}
	for _, file := range []struct{ name, program, path, protocol string }{
		{"redis-py asyncio", "/usr/bin/python3", "python/redispycluster.py", "2"},
		{"ioredis", "node", "node/ioredis_cluster.js", "3"},
		{"node-redis", "node", "node/noderedis_cluster.js", "3"},
	} {
		all = append(all, clusterClient{file.name, func(ctx context.Context, addr string) ([]string, error) {
			host, port, _ := strings.Cut(addr, ":")
			cmd := exec.CommandContext(ctx, file.program, file.path, host, port, file.protocol)
			cmd.Env = programEnv()
			return printedBy(cmd)
		}})
	}
	return all
}

// printedBy returns the lines that a command prints.
func printedBy(cmd *exec.Cmd) ([]string, error) {
	ownGroup(cmd)
	out, err := cmd.CombinedOutput()
	return strings.Split(strings.TrimSpace(string(out)), "\n"), err
}

// serveCluster starts a gateway with the face cluster, and returns its address.
func serveCluster(t *testing.T, c *clustertest.Cluster) string {
	client := openCluster(t, c)
	g, err := respoolgateway.New(client.Engine(), respoolgateway.Config{Face: respoolgateway.FaceCluster})
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
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if err := errors.Join(g.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func openCluster(t *testing.T, c *clustertest.Cluster) *respool.Client {
	client, err := respool.Open(t.Context(), c.URL("max_connections=4"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if err := client.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return client
}

// go-redis works on a cluster over connections in memory, both as a client of one server and as a cluster client.
func TestGoRedisOnAClusterThroughTheDialer(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: 10 * time.Second})
	client := openCluster(t, c)
	dialer := func(open func(*respool.Client) (*goredis.Dialer, error)) func(context.Context, string, string) (net.Conn, error) {
		d, err := open(client)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
			defer cancel()
			if err := d.Close(ctx); err != nil {
				t.Error(err)
			}
		})
		return d.DialContext
	}
	for name, rdb := range map[string]redis.UniversalClient{
		"Client":        redis.NewClient(&redis.Options{Dialer: dialer(goredis.New)}),
		"ClusterClient": redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"any:1"}, Dialer: dialer(goredis.NewCluster)}),
	} {
		t.Run(name, func(t *testing.T) {
			defer rdb.Close()
			ctx := t.Context()
			const n = 100
			pipe := rdb.Pipeline()
			var want, got []string
			for i := range n {
				pipe.Incr(ctx, fmt.Sprint(name, i))
				pipe.Get(ctx, fmt.Sprint(name, i))
				want = append(want, "1")
			}
			commands, err := pipe.Exec(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(commands); i += 2 {
				got = append(got, commands[i].(*redis.StringCmd).Val())
			}
			if !slices.Equal(got, want) {
				t.Errorf("GET after INCR: %q", got)
			}
			key := name + "{t}"
			err = rdb.Watch(ctx, func(tx *redis.Tx) error {
				before, err := tx.Get(ctx, key).Int()
				if err != nil && !errors.Is(err, redis.Nil) {
					return err
				}
				_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, key, strconv.Itoa(before+1), 0).Err() })
				return err
			}, key)
			if after := rdb.Get(ctx, key).Val(); err != nil || after != "1" {
				t.Errorf("WATCH: %v, the key is %q", err, after)
			}
			sub := rdb.Subscribe(ctx, "news")
			defer sub.Close()
			if _, err := sub.Receive(ctx); err != nil {
				t.Fatal(err)
			}
			if err := rdb.Publish(ctx, "news", "x").Err(); err != nil {
				t.Fatal(err)
			}
			if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != "x" {
				t.Errorf("%v, %v", m, err)
			}
		})
	}
}
