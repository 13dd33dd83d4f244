package gateway_test

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

var clusterDifferCommands = flag.Int("differ-cluster", 8_000, "commands of the differential test of a cluster")

// hashTags begin keys that lie in slots of all three primaries.
var hashTags = []string{"{a}", "{b}", "{c}", "{d}"}

// divided are commands that the gateway divides. Their keys may lie in several slots.
var divided = []string{"MGET", "MSET", "DEL", "UNLINK", "EXISTS", "TOUCH", "XREAD"}

// notOnCluster reports whether a cluster does not allow a command: it needs another database, or observes one server.
func notOnCluster(template string) bool {
	for _, begin := range []string{"SELECT %d", "SELECT 99", "SWAPDB", "EVAL return(redis.call('SELECT'", "WAIT ", "CLIENT TRACKING ", "CLIENT CACHING"} {
		if strings.HasPrefix(template, begin) {
			return true
		}
	}
	return false
}

// clusterDrawer draws sessions that a cluster can execute like one server: all keys of a command, and of a transaction
// with its watched keys, lie in one slot, except those of the commands that the gateway divides.
type clusterDrawer struct {
	drawer
	multi, watching bool
}

func (d *clusterDrawer) session() [][]string {
	commands := make([][]string, 0, 40)
	for range 5 + d.IntN(60) {
		if !d.multi && !d.watching {
			d.tag = hashTags[d.IntN(len(hashTags))]
		}
		words := d.command()
		if words == nil || d.multi && concernsAllNodes(words) {
			continue
		}
		if !d.multi && slices.Contains(divided, words[0]) && !slices.Contains(words, "BLOCK") {
			for i, w := range words {
				words[i] = strings.Replace(w, d.tag, hashTags[d.IntN(len(hashTags))], 1)
			}
		}
		switch strings.ToUpper(strings.Join(words, " ")) {
		case "MULTI":
			d.multi = true
		case "EXEC", "DISCARD":
			d.watching = d.watching && !d.multi
			d.multi = false
		case "RESET":
			d.multi, d.watching = false, false
		case "UNWATCH":
			d.watching = d.watching && d.multi
		}
		d.watching = d.watching || words[0] == "WATCH"
		commands = append(commands, words)
	}
	return commands
}

// concernsAllNodes reports whether all primaries must execute a command, so that no transaction may contain it.
func concernsAllNodes(words []string) bool {
	return slices.Contains([]string{"DBSIZE", "FLUSHDB"}, words[0]) ||
		slices.Contains([]string{"SCRIPT", "FUNCTION"}, words[0]) && words[1] != "NOPE"
}

// The test sends random sessions to one server and through a gateway to a cluster, and compares every byte.
func TestAClusterRepliesLikeOneServer(t *testing.T) {
	quick := []string{"--hz", "500"}
	further := []string{"XREAD COUNT 1 STREAMS %x %x 0 0", "MGET %k %h %l", "EXISTS %k %l %h %s %z"}
	possible := append(slices.DeleteFunc(slices.Clone(templates), notOnCluster), further...)
	orders := []gateway.Order{gateway.OrderSlot, gateway.OrderStrict}
	compareSessions(t, len(orders), *clusterDifferCommands, func(worker int) *comparison {
		straight := redistest.Start(t, redistest.Config{Args: quick})
		c := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: time.Minute, Args: quick})
		h := open(t, c.URL("max_connections=4"), gateway.Config{Admin: true, Order: orders[worker]})
		flushed := []*redistest.Server{straight}
		for _, n := range c.Primaries() {
			flushed = append(flushed, n.Server)
		}
		return &comparison{
			straight: straight, flushed: flushed, through: h.addr, known: known,
			draw: func(r *rand.Rand) [][]string {
				return (&clusterDrawer{drawer: drawer{Rand: r, templates: possible, version: straight.Version()}}).session()
			},
		}
	})
}
