//go:build unix

package clustertest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Calls is the number of calls of a command by clients, such as get or cluster|slots, on all nodes
// that run and are not paused, since their start. It leaves out the CLUSTER commands of this package.
// Redis 6.2 counts all subcommands of a command as one.
func (c *Cluster) Calls(command string) (total int) {
	c.t.Helper()
	for _, n := range c.reachable() {
		total += n.calls(command)
	}
	return total
}

func (n *Node) calls(command string) int {
	n.c.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	name := statName(n.Version(), command)
	stat := n.Info("commandstats")["cmdstat_"+name]
	calls := statField(stat, "calls")
	if n.PID() == n.pid {
		calls -= n.own[name]
	}
	return calls
}

// statName is the name of a command in the statistics of a version.
func statName(v redistest.Version, command string) string {
	if !v.Since(7, 0) {
		command, _, _ = strings.Cut(command, "|")
	}
	return command
}

func statField(stat, field string) int {
	for pair := range strings.SplitSeq(stat, ",") {
		if key, value, _ := strings.Cut(pair, "="); key == field {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	return 0
}

// ErrorReplies is the number of error replies with a code, such as MOVED, on all nodes that run and
// are not paused, since their start.
func (c *Cluster) ErrorReplies(code string) (total int) {
	c.t.Helper()
	for _, n := range c.reachable() {
		total += statField(n.Info("errorstats")["errorstat_"+code], "count")
	}
	return total
}

// WaitClients waits until the nodes that run and are not paused count n connections of clients.
func (c *Cluster) WaitClients(t testing.TB, n int, within time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		var seen []string
		failed := false
		for _, node := range c.reachable() {
			lines, err := node.Outsiders()
			failed = failed || err != nil
			seen = append(seen, lines...)
		}
		if !failed && len(seen) == n {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the nodes count %d connections of clients (a node failed: %v): want %d:\n%s", len(seen), failed, n, strings.Join(seen, ""))
			return
		}
	}
}
