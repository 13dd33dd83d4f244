package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/check"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/doctor"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/ping"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// callJSON runs the tool, and reads its report into r.
func callJSON(t *testing.T, r any, want int, args ...string) {
	t.Helper()
	code, out, errs := call(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), r); err != nil || code != want {
		t.Fatalf("%v: exit %d, %v: %s%s: want exit %d", args, code, err, out, errs, want)
	}
}

// crowd opens n connections of a service to a node.
func crowd(t *testing.T, node *clustertest.Node, service string, n int) *tooltest.Crowd {
	t.Helper()
	c := &tooltest.Crowd{T: t, Addr: node.PlainAddr(), Name: service + ":1:main"}
	t.Cleanup(c.Close)
	if got := c.Add(n); got != n {
		t.Fatalf("%d of %d connections", got, n)
	}
	return c
}

// checkUnread checks a text report on a cluster of which some nodes were not read.
func checkUnread(t *testing.T, code int, out, errs string, unread []string) {
	t.Helper()
	verdict, _, _ := strings.Cut(out, "\n")
	for _, addr := range unread {
		if !strings.Contains(verdict, "NOT READ: ") && !strings.Contains(verdict, "nodes answer") || !strings.Contains(out, addr) {
			t.Errorf("no word about %s in\n%s", addr, out)
		}
	}
	if want := 2; code != want {
		t.Errorf("exit %d: want %d\n%s%s", code, want, out, errs)
	}
}

func TestTheToolReadsAllNodesOfACluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Users: []string{"user admin on >hushcluster ~* &* +@all"}})
	primaries, replicas := c.Primaries(), c.Replicas()
	addrs := clustertest.Addrs(c.Nodes())
	for i, n := range c.Nodes() {
		crowd(t, n, "orders", 2+i)
	}
	cart := crowd(t, replicas[0], "cart", 5)
	cart.Addr = primaries[1].PlainAddr()
	cart.Add(6)
	orders := 2 + 3 + 4 + 5 + 6 + 7
	// One node in the URL is enough, and one that is gone does no harm.
	url := strings.Replace(c.URL(), "://"+addrs[0], "://admin:hushcluster@127.0.0.1:1,"+addrs[0], 1)

	d := healthyJSON(t, url)
	if len(d.Nodes) != 6 || d.Cluster == nil || d.Cluster.Covered != 16384 || d.Cluster.Primaries != 3 || d.Cluster.Replicas != 3 || d.Cluster.Hottest == nil ||
		len(d.Findings) != 0 || d.MaxClients != 6*10000 || !strings.Contains(d.Verdict, "on 6 of 6 nodes") {
		t.Errorf("%+v", d)
	}
	sum, slots := int64(0), 0
	for _, n := range d.Nodes {
		if !slices.Contains(addrs, n.Addr) || n.Connections == nil || n.Rates == nil || (n.Role == "replica") != (n.Primary != "") || (n.Role == "primary") != (n.Slots > 0) {
			t.Errorf("%+v", n)
			continue
		}
		sum += *n.Connections
		slots += n.Slots
	}
	if d.Connections == nil || sum != *d.Connections || slots != 16384 || sum < int64(orders+11) {
		t.Errorf("%d connections and %d slots on the nodes: %+v", sum, slots, d)
	}

	var w clients.HoldersReport
	callJSON(t, &w, 0, "who", url)
	if len(w.Groups) < 2 || w.Groups[0].Key[0] != "orders" || w.Groups[0].Clients != orders || w.MaxClients != 60000 {
		t.Fatalf("%+v", w)
	}
	for i, n := range w.Nodes {
		at := slices.Index(addrs, n.Addr)
		if at < 0 || n.Connections == nil || w.Groups[0].Nodes[i] == nil || *w.Groups[0].Nodes[i] != 2+at {
			t.Errorf("%+v: %d orders", n, w.Groups[0].Nodes[i])
		}
	}
	for _, args := range [][]string{{"who", url}, {"doctor", "--for", "100ms", url}, {"kill", url, "--service", "cart"}, {"ping", url}} {
		code, out, errs := call(t, args...)
		if code != 0 || strings.Contains(out+errs, "hush") {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errs)
		}
		for _, addr := range addrs {
			if !strings.Contains(out, addr) {
				t.Errorf("%v: no %s in\n%s", args, addr, out)
			}
		}
	}

	var k clients.KillReport
	callJSON(t, &k, 0, "kill", url, "--service", "cart", "--yes", "--rate", "1000")
	if k.Matching != 11 || k.Closed != 11 || len(k.Nodes) != 6 || k.Clients[0].Node == "" {
		t.Errorf("%+v", k)
	}
	for _, n := range k.Nodes {
		want := map[string]int{replicas[0].Addr(): 5, primaries[1].Addr(): 6}[n.Addr]
		if n.Matching == nil || *n.Matching != want || n.Closed != want {
			t.Errorf("%+v: want %d", n, want)
		}
	}
	callJSON(t, &w, 0, "who", url, "--service", "cart")
	if w.Matching != 0 {
		t.Errorf("%+v", w)
	}

	var p ping.Report
	callJSON(t, &p, 0, "ping", url, "--count", "2")
	if len(p.Nodes) != 6 || p.Pings != 12 || p.MinUS <= 0 {
		t.Errorf("%+v", p)
	}

	// A node with many more connections than the others.
	crowd(t, primaries[2], "hot", 80)
	callJSON(t, &d, 1, "doctor", "--for", "200ms", url)
	if len(d.Findings) != 1 || d.Findings[0].Rule != "hot-node" || d.Findings[0].Node != primaries[2].Addr() || d.Cluster.Hottest.Addr != primaries[2].Addr() {
		t.Errorf("%+v", d.Findings)
	}
}

func TestNodesThatDoNotAnswerAreNamed(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	primary := c.Primaries()[0]
	replica := c.ReplicasOf(primary)[0]
	url := c.URL("socket_connect_timeout=1")
	replica.Kill()
	c.WaitAgreed(t, tooltest.Patience)
	found := func(want int) (rules []string) {
		t.Helper()
		var d doctor.Report
		callJSON(t, &d, want, "doctor", "--for", "200ms", url)
		for _, n := range d.Nodes {
			if n.Addr == replica.Addr() && (n.Connections != nil || n.Error == "") {
				t.Errorf("the dead node: %+v", n)
			}
		}
		for _, f := range d.Findings {
			rules = append(rules, strings.TrimSpace(f.Rule+" "+f.Subject+f.Node))
		}
		return rules
	}
	if got, want := found(2), []string{"down " + replica.Addr(), "no-replica " + primary.Addr()}; !slices.Equal(got, want) {
		t.Errorf("%q: want %q", got, want)
	}
	var w clients.HoldersReport
	callJSON(t, &w, 2, "who", url)
	for i, n := range w.Nodes {
		dead := n.Addr == replica.Addr()
		if dead != (n.Matching == nil) || dead != (w.Groups[0].Nodes[i] == nil) {
			t.Errorf("%+v, and %v of the first group: want numbers of the other nodes only", n, w.Groups[0].Nodes[i])
		}
	}
	for _, args := range [][]string{{"who", url}, {"doctor", "--for", "100ms", url}, {"kill", url, "--service", "cart", "--yes"}, {"ping", url}} {
		code, out, errs := call(t, args...)
		checkUnread(t, code, out, errs, []string{replica.Addr()})
	}

	// The shard is gone. A node that hangs is as bad as one that is dead.
	primary.Pause()
	other := c.Nodes()[1]
	testkit.Eventually(t, "the cluster is down", func() bool { return strings.Contains(other.Do("CLUSTER", "INFO"), "cluster_state:fail") })
	got := found(2)
	for _, want := range []string{"slots", "down " + primary.Addr(), "down " + replica.Addr()} {
		if !slices.Contains(got, want) {
			t.Errorf("%q: want %q", got, want)
		}
	}
	code, out, errs := call(t, "who", url)
	checkUnread(t, code, out, errs, []string{replica.Addr(), primary.Addr()})
	code, out, errs = call(t, "doctor", "--for", "100ms", url)
	if code != 2 || !strings.Contains(out, "NO NODE for 5461 slots: 0-5460") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
	primary.Resume()
}

// One server of a service counts as much as one node of a cluster.
func TestTheToolReadsAllNodesOfAService(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	var d doctor.Report
	callJSON(t, &d, 0, "doctor", "--for", "200ms", set.URL())
	if len(d.Nodes) != len(set.Nodes) || d.Nodes[0].Role != "primary" || d.Nodes[1].Role != "replica" || d.Cluster != nil {
		t.Errorf("%+v", d)
	}
	var w clients.HoldersReport
	callJSON(t, &w, 0, "who", set.URL())
	if len(w.Nodes) != len(set.Nodes) {
		t.Errorf("%+v", w)
	}
}

func TestClusterURLsOfOtherServers(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for _, command := range []string{"doctor", "who", "ping", "kill"} {
		args := []string{command, "redis+cluster://" + s.Addr()}
		if command == "kill" {
			args = append(args, "--service", "cart")
		}
		code, out, errs := call(t, args...)
		if code != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "is not a node of a cluster: use redis://") {
			t.Errorf("%v: exit %d: %s%s", args, code, out, errs)
		}
		args[1] = "redis+cluster://:hush@127.0.0.1:1,127.0.0.1:2"
		code, out, errs = call(t, args...)
		if code != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "none of the 2 nodes in the URL") || strings.Contains(errs, "hush") {
			t.Errorf("%v: exit %d: %s%s", args, code, out, errs)
		}
	}
}

func TestTheToolReadsAClusterWithHostnamesTLSAndFewRights(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, TLS: true, Hostnames: hostnames(t), Users: []string{
		"user watch on >sesame +ping +hello +info +client|list +cluster|nodes +cluster|info", "user blind on >sesame +ping +hello +info +client|list +client|kill"}})
	url := func(user string) string {
		return strings.Replace(c.URL(), "rediss+cluster://", fmt.Sprintf("rediss+cluster://%s:sesame@", user), 1)
	}
	var w clients.HoldersReport
	callJSON(t, &w, 0, "who", url("watch"))
	if len(w.Nodes) != 3 {
		t.Errorf("%+v", w)
	}
	var d doctor.Report
	callJSON(t, &d, 1, "doctor", "--for", "100ms", url("watch")) // the primaries have no replicas
	if len(d.NotAsked) != 2 || !strings.HasPrefix(d.NotAsked[0], "CONFIG GET: ") || !strings.HasPrefix(d.NotAsked[1], "SLOWLOG GET: ") || d.Cluster == nil {
		t.Errorf("%+v", d)
	}
	code, out, errs := call(t, "who", url("blind"))
	if code != 2 || out != "" || !strings.Contains(errs, "NOPERM") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

func TestPlansOfACluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Args: []string{"--maxclients", "700"}})
	// Each node takes a third of the load. Each process may open its pool at each of them.
	one := planJSON(t, 0, "--rps", "900", "--mean", "4ms", "--pods", "20", "--maxclients", "700")
	all := planJSON(t, 0, "--rps", "2700", "--mean", "4ms", "--pods", "20", "--from", c.URL())
	if all.Nodes != 3 || all.Pooled.MaxConnections != one.Pooled.MaxConnections || all.Pooled.Processes != 25 {
		t.Errorf("%+v: want the pools of %+v at each node", all, one)
	}
	if p, r := all.Pooled, all.Respool; p.Total != 25*p.MaxConnections || p.Budget > 700-35 || p.Budget < 700-35-40 || p.AllNodes != 25*p.MaxTotal ||
		p.MaxTotal > 3*p.MaxConnections || p.MaxTotal <= p.MaxConnections || r.MaxTotal < r.MaxConnections+2 || r.MaxTotal > 3*r.MaxConnections {
		t.Errorf("%+v", all)
	}
	code, out, errs := call(t, "plan", "--rps", "2700", "--mean", "4ms", "--nodes", "3")
	for _, want := range []string{", at each of 3 nodes", "max_connections_total", "total of all nodes", "next: set max_connections="} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}

	// 30 processes x (2 pools x 10 + 1) are 630 connections at each node, 30 x (2 x 24 + 1) in all.
	file := tooltest.File(t, "plan.yaml", `
server: {maxclients: 100, reserve: 0}
services:
  orders: {pods: 30, surge: 0, pools: 2, blocking: 1, max_connections: 10, max_connections_total: 24}
`)
	var r check.Report
	callJSON(t, &r, 1, "check", file, "--from", c.URL())
	if r.Nodes != 3 || r.Total != 630 || r.Budget != 700 || r.AllNodes != 30*49 || r.Services[0].Process != 49 {
		t.Errorf("%+v", r)
	}
	tooltest.Rewrite(t, file, "max_connections_total: 24", "max_connections_total: 6")
	tooltest.Rewrite(t, file, "maxclients: 100", "maxclients: 700, nodes: 3")
	callJSON(t, &r, 0, "check", file)
	if r.Total != 30*(2*4+1) || r.AllNodes != 30*13 { // each other node keeps one place of the six
		t.Errorf("%+v", r)
	}
	code, out, errs = call(t, "check", file)
	if code != 0 || !strings.Contains(out, ", at each of 3 nodes") || !strings.Contains(out, "all nodes together: 390 connections") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
	tooltest.Rewrite(t, file, "max_connections_total: 6", "max_connections_total: 2")
	code, out, errs = call(t, "check", file)
	if code != 2 || !strings.Contains(errs, "want one for each of the 3 nodes") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
	// A node that was not read might be the smallest.
	c.Replicas()[0].Kill()
	code, out, errs = call(t, "plan", "--rps", "2700", "--mean", "4ms", "--from", c.URL())
	if code != 2 || out != "" || !strings.Contains(errs, "a node was not read") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
}

// hostnames are the names that nodes announce; older servers announce none.
func hostnames(t *testing.T) []string {
	if redistest.ServerVersion(t).Since(7, 0) {
		return []string{"localhost"}
	}
	return nil
}
