package monitor

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// clusterNodes is CLUSTER NODES of a cluster in which much is wrong. Its lines are of several versions of Redis.
const clusterNodes = `
aaaa1 10.0.0.1:7000@17000,node-1.example myself,master - 0 1700000000000 3 connected 0-99 101 5000-5460 [5461->-bbbb2]
bbbb2 10.0.0.2:7000@17000,node-2.example,shard-id=69bc master - 0 1700000000000 5 connected 5461-10922
cccc3 10.0.0.3:7000@17000 master,fail - 1700000000000 1700000000000 2 disconnected 10923-16383
dddd4 :7001@17001 slave aaaa1 0 1700000000000 3 connected
eeee5 [2001:db8::5]:7000@17000 slave,fail? bbbb2 0 1700000000000 5 connected
ffff6 :0@0 slave,fail,noaddr cccc3 0 1700000000000 2 disconnected
gggg7 10.0.0.7:7000@17000 handshake - 0 0 0 connected
`

func TestAClusterMapNamesWhatIsMissing(t *testing.T) {
	m, err := ParseClusterMap(clusterNodes, "cluster_state:fail\r\ncluster_current_epoch:9\r\n", "h1:7000", nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, text := m.Uncovered(); n != 1+4898+5461 || text != "100, 102-4999, 10923-16383" {
		t.Errorf("%d slots are uncovered: %s", n, text)
	}
	var names []string
	for i := range m.Nodes {
		names = append(names, m.Nodes[i].Name())
	}
	if want := []string{"10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000", "h1:7001", "[2001:db8::5]:7000", "node ffff6"}; !slices.Equal(names, want) {
		t.Errorf("%q: want %q", names, want)
	}
	if got := m.WithoutReplica(); m.OK || m.Epoch != 9 || m.Nodes[1].Hostname != "node-2.example" || !slices.Equal(got, []string{"10.0.0.2:7000"}) {
		t.Errorf("%+v without replica; %+v", got, m)
	}
	if p := m.PrimaryOf(&m.Nodes[3]); p != "10.0.0.1:7000" {
		t.Errorf("h1:7001 replicates %q", p)
	}
	// Each primary comes before its replicas, and failed nodes last.
	var order []string
	for _, s := range m.servers(respool.Options{Cluster: &respool.ClusterOptions{}}) {
		order = append(order, s.Addr)
	}
	if want := []string{"10.0.0.1:7000", "h1:7001", "10.0.0.2:7000", "[2001:db8::5]:7000", "10.0.0.3:7000", "node ffff6"}; !slices.Equal(order, want) {
		t.Errorf("%q: want %q", order, want)
	}
	// Without CLUSTER INFO, the map itself tells the state.
	if m, err = ParseClusterMap(clusterNodes, "", "h1:7000", nil); err != nil || m.OK || m.Epoch != 5 {
		t.Errorf("%+v, %v", m, err)
	}
	for _, text := range []string{"", "OK", "a b c", "# Server\r\nredis_version:7"} {
		if m, err := ParseClusterMap(text, "", "h1:7000", nil); err == nil {
			t.Errorf("%q is read as %+v", text, m)
		}
	}
}

func TestAddressesOfAClusterAreMapped(t *testing.T) {
	mapAddr := func(addr string) string {
		switch addr {
		case "10.0.0.1:7000":
			return "192.0.2.1:1"
		case "node-2.example:7000":
			return "192.0.2.2:2"
		}
		return addr
	}
	m, err := ParseClusterMap(clusterNodes, "", "h1:7000", mapAddr)
	if err != nil || m.Nodes[0].Addr != "192.0.2.1:1" || m.Nodes[1].Addr != "192.0.2.2:2" || m.Nodes[2].Addr != "10.0.0.3:7000" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestTheBetterReportOfACluster(t *testing.T) {
	down := &ClusterMap{From: "a", Epoch: 9}
	old, current := &ClusterMap{From: "b", OK: true, Epoch: 3}, &ClusterMap{From: "c", OK: true, Epoch: 4}
	for _, x := range []struct{ a, b, want *ClusterMap }{
		{nil, old, old}, {old, nil, old}, {&ClusterMap{}, old, old}, {down, old, old}, {old, down, old}, {old, current, current}, {current, old, current},
	} {
		if got := x.a.Better(x.b); got != x.want {
			t.Errorf("%+v or %+v: %+v", x.a, x.b, got)
		}
	}
}

// clusterState is a state of a cluster of three primaries with a replica each. Each line of down is not up.
func clusterState(t *testing.T, at time.Time, change func(st *State)) *State {
	t.Helper()
	nodes := strings.Join([]string{
		"a1 h:1@1 master - 0 0 1 connected 0-5460", "b1 h:2@2 master - 0 0 2 connected 5461-10922", "c1 h:3@3 master - 0 0 3 connected 10923-16383",
		"a2 h:4@4 slave a1 0 0 1 connected", "b2 h:5@5 slave b1 0 0 2 connected", "c2 h:6@6 slave c1 0 0 3 connected",
	}, "\n")
	m, err := ParseClusterMap(nodes, "cluster_state:ok", "h:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	st := &State{At: at, Service: "cluster of h:1", Cluster: m}
	for _, n := range m.Nodes {
		role := "primary"
		if n.Primary != "" {
			role = "replica"
		}
		st.Nodes = append(st.Nodes, NodeState{Addr: n.Addr, Role: role, Up: true, Last: &Snapshot{Connections: 30, MaxClients: 1000}})
	}
	if change != nil {
		change(st)
	}
	return st
}

func TestAlertsOfACluster(t *testing.T) {
	j, err := NewJudge(nil)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(0, 0)
	see := func(d time.Duration, change func(st *State)) (told []string) {
		t.Helper()
		for end := at.Add(d); at.Before(end); at = at.Add(5 * time.Second) {
			for _, a := range j.Look(&View{State: clusterState(t, at, change)}) {
				told = append(told, strings.TrimSpace(a.State.String()+" "+a.Rule+" "+a.Subject+a.Node))
			}
		}
		return told
	}
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q: want %q", what, got, want)
		}
	}
	check("healthy", see(10*time.Minute, nil))
	failed := func(st *State) {
		st.Cluster.Nodes[0].Failed, st.Cluster.Nodes[3].Failed, st.Cluster.OK = true, true, false
		st.Nodes[0].Up, st.Nodes[0].Err = false, net.ErrClosed
	}
	check("a shard fails", see(time.Minute, failed), "firing down h:1", "firing slots")
	unknown := func(st *State) {
		for i := range st.Nodes {
			st.Nodes[i].Up, st.Nodes[i].Err = false, net.ErrClosed
		}
		st.Cluster, st.Err = &ClusterMap{}, net.ErrClosed
	}
	check("nothing is seen", see(time.Minute, unknown), "firing down h:2", "firing down h:3", "firing down h:4", "firing down h:5", "firing down h:6", "firing no-primary")
	if got := see(10*time.Minute, nil); !slices.Contains(got, "resolved slots") || len(got) != 8 {
		t.Errorf("it is well again: %q", got)
	}
	check("a replica fails", see(5*time.Minute, func(st *State) { st.Cluster.Nodes[4].Failed = true }), "firing no-replica h:2")
	check("another starts", see(5*time.Minute, nil), "resolved no-replica h:2")
	hot := func(n int64) func(st *State) { return func(st *State) { st.Nodes[2].Last.Connections = n } }
	check("a hot node", see(10*time.Minute, hot(61)), "firing hot-node h:3")
	check("it cools", see(10*time.Minute, hot(50)), "resolved hot-node h:3")
	few := func(st *State) {
		for i := range st.Nodes {
			st.Nodes[i].Last.Connections = 3
		}
		st.Nodes[1].Last.Connections = 15
	}
	check("a small difference", see(10*time.Minute, few))
}
