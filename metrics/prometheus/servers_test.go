package respoolprom_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	respoolprom "github.com/seed-2b0d76a6/respool/metrics/prometheus"
	"github.com/seed-2b0d76a6/respool/monitor"
)

const someInfo = `# Server
redis_version:7.0.15
run_id:abc
uptime_in_seconds:86400
# Clients
connected_clients:701
maxclients:1000
blocked_clients:12
# Memory
used_memory:5000000
mem_clients_normal:400000
# Stats
total_connections_received:12345
total_commands_processed:9876543
rejected_connections:6
role:master
`

// at is the time of the snapshots.
var at = time.Unix(1_700_000_000, 500_000_000)

func snapshot(t testing.TB, info string, clients ...string) *monitor.Snapshot {
	t.Helper()
	source := monitor.Source{At: at, Info: info}
	if clients != nil {
		source.List = strings.NewReader(strings.Join(clients, "\n") + "\n")
	}
	snap, err := monitor.NewSnapshot(source)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// client is a line of CLIENT LIST.
func client(id int, name, lib, user, rest string) string {
	return fmt.Sprintf("id=%d addr=10.0.0.9:%d name=%s lib-name=%s lib-ver= user=%s age=600 %s", id, id, name, lib, user, rest)
}

// servers is a collector of a state.
func servers(state *monitor.State, alerts ...monitor.Alert) *respoolprom.Servers {
	return respoolprom.NewServers(func() *monitor.State { return state }, func() []monitor.Alert { return alerts }, 0)
}

func someState(t testing.TB) *monitor.State {
	last := snapshot(t, someInfo)
	list := snapshot(t, someInfo,
		client(1, "orders:1:main", "go", "app", "idle=0 flags=N cmd=get"),
		client(2, "orders:1:main", "go", "app", "idle=30 flags=N cmd=get"),
		client(3, "orders:2:main", "go", "app", "idle=90 flags=N cmd=get"),
		client(4, "jobs:1:main", "py", "app", "idle=90 flags=b cmd=blpop"),
		client(5, "chat:1:main", "js", "chat", "idle=90 flags=P sub=2 cmd=subscribe"),
		client(6, "", "", "default", "idle=1 flags=S cmd=replconf"),
	)
	return &monitor.State{At: at, Service: "mymaster", Nodes: []monitor.NodeState{
		{Addr: "redis-1:6379", Role: "primary", Up: true, Last: last, List: list, Restarts: 2,
			Forecast: monitor.Forecast{Exists: true, In: 2 * time.Hour, Earliest: time.Hour}},
		{Addr: "redis-2:6379", Role: "replica", Last: last, List: list, Err: errors.New("refused"),
			Forecast: monitor.Forecast{Exists: true, In: time.Hour}},
		{Addr: "redis-3:6379", Full: true, Err: errors.New("max number of clients reached")},
	}}
}

// clusterState is a state of a cluster in which a node does not answer, and slots have no node.
func clusterState(t testing.TB) *monitor.State {
	t.Helper()
	m, err := monitor.ParseClusterMap("a1 n1:1@11 myself,master - 0 0 1 connected 0-5460\nb1 n2:1@11 master - 0 0 2 connected 5461-10922\n"+
		"c1 n3:1@11 master,fail - 0 0 3 disconnected 10923-16383\na2 n4:1@11 slave a1 0 0 1 connected", "cluster_state:fail", "n1:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	last := snapshot(t, someInfo)
	busy := *last
	busy.Connections = 3 * last.Connections
	return &monitor.State{At: at, Service: "cluster of n1:1", Cluster: m, Nodes: []monitor.NodeState{
		{Addr: "n1:1", Role: "primary", Up: true, Last: &busy}, {Addr: "n2:1", Role: "primary", Up: true, Last: last},
		{Addr: "n4:1", Role: "replica", Up: true, Last: last}, {Addr: "n3:1", Role: "primary", Last: last, Err: errors.New("refused")},
	}}
}

const someClusterLines = `
respool_cluster_hottest_connections{node="n1:1",service="cluster of n1:1"} 9
respool_cluster_hottest_ratio{service="cluster of n1:1"} 3
respool_cluster_node_slots{node="n1:1",service="cluster of n1:1"} 5461
respool_cluster_node_slots{node="n2:1",service="cluster of n1:1"} 5462
respool_cluster_node_slots{node="n3:1",service="cluster of n1:1"} 5461
respool_cluster_node_slots{node="n4:1",service="cluster of n1:1"} 0
respool_cluster_nodes_unreachable{service="cluster of n1:1"} 1
respool_cluster_shards_without_replica{service="cluster of n1:1"} 1
respool_cluster_shards{service="cluster of n1:1"} 2
respool_cluster_slots_covered{service="cluster of n1:1"} 10923
respool_cluster_slots_uncovered{service="cluster of n1:1"} 5461
`

func TestAClusterIsShown(t *testing.T) {
	st := clusterState(t)
	st.Nodes[0].Last.Connections, st.Nodes[1].Last.Connections = 9, 3
	var got []string
	for line := range strings.Lines(shownLines(t, servers(st))) {
		if strings.HasPrefix(line, "respool_cluster_") {
			got = append(got, line)
		}
	}
	for _, line := range missing(someClusterLines, strings.Join(got, "")) {
		t.Errorf("not shown: %s", line)
	}
	for _, line := range missing(strings.Join(got, ""), someClusterLines) {
		t.Errorf("shown too: %s", line)
	}
	// While no node reports the cluster, only what is known is shown.
	st.Cluster = &monitor.ClusterMap{}
	for line := range strings.Lines(shownLines(t, servers(st))) {
		if strings.HasPrefix(line, "respool_cluster_") && !strings.HasPrefix(line, "respool_cluster_nodes_unreachable") {
			t.Errorf("shown too: %s", line)
		}
	}
}

const someServers = `
respool_alerts{rule="down",severity="page",state="firing"} 2
respool_alerts{rule="leak",severity="warn",state="pending"} 1
respool_clients{lib="go",node="redis-1:6379",service="orders",state="active",user="app"} 1
respool_clients{lib="go",node="redis-1:6379",service="orders",state="blocked",user="app"} 0
respool_clients{lib="go",node="redis-1:6379",service="orders",state="idle",user="app"} 1
respool_clients{lib="go",node="redis-1:6379",service="orders",state="other",user="app"} 1
respool_clients{lib="go",node="redis-1:6379",service="orders",state="subscribed",user="app"} 0
respool_clients{lib="js",node="redis-1:6379",service="chat",state="active",user="chat"} 0
respool_clients{lib="js",node="redis-1:6379",service="chat",state="blocked",user="chat"} 0
respool_clients{lib="js",node="redis-1:6379",service="chat",state="idle",user="chat"} 0
respool_clients{lib="js",node="redis-1:6379",service="chat",state="other",user="chat"} 0
respool_clients{lib="js",node="redis-1:6379",service="chat",state="subscribed",user="chat"} 1
respool_clients{lib="py",node="redis-1:6379",service="jobs",state="active",user="app"} 0
respool_clients{lib="py",node="redis-1:6379",service="jobs",state="blocked",user="app"} 1
respool_clients{lib="py",node="redis-1:6379",service="jobs",state="idle",user="app"} 0
respool_clients{lib="py",node="redis-1:6379",service="jobs",state="other",user="app"} 0
respool_clients{lib="py",node="redis-1:6379",service="jobs",state="subscribed",user="app"} 0
respool_exhaustion_earliest_seconds{node="redis-1:6379"} 3600
respool_exhaustion_seconds{node="redis-1:6379"} 7200
respool_monitor_last_change_timestamp_seconds 1.7000000005e+09
respool_monitor_nodes 3
respool_occupancy_ratio{node="redis-1:6379"} 0.7
respool_server_blocked_clients{node="redis-1:6379"} 12
respool_server_clients_memory_bytes{node="redis-1:6379"} 400000
respool_server_commands_total{node="redis-1:6379"} 9.876543e+06
respool_server_connections_opened_total{node="redis-1:6379"} 12345
respool_server_connections{node="redis-1:6379"} 700
respool_server_full{node="redis-1:6379"} 0
respool_server_full{node="redis-2:6379"} 0
respool_server_full{node="redis-3:6379"} 1
respool_server_info{node="redis-1:6379",role="primary",version="Redis 7.0.15"} 1
respool_server_info{node="redis-2:6379",role="replica",version="Redis 7.0.15"} 1
respool_server_last_list_timestamp_seconds{node="redis-1:6379"} 1.7000000005e+09
respool_server_last_look_timestamp_seconds{node="redis-1:6379"} 1.7000000005e+09
respool_server_last_look_timestamp_seconds{node="redis-2:6379"} 1.7000000005e+09
respool_server_maxclients{node="redis-1:6379"} 1000
respool_server_memory_bytes{node="redis-1:6379"} 5e+06
respool_server_rejected_connections_total{node="redis-1:6379"} 6
respool_server_replication_clients{node="redis-1:6379"} 1
respool_server_restarts_total{node="redis-1:6379"} 2
respool_server_restarts_total{node="redis-2:6379"} 0
respool_server_restarts_total{node="redis-3:6379"} 0
respool_server_uptime_seconds{node="redis-1:6379"} 86400
respool_server_up{node="redis-1:6379"} 1
respool_server_up{node="redis-2:6379"} 0
respool_server_up{node="redis-3:6379"} 0
respool_service_primary_known{service="mymaster"} 1
`

func TestServersShowState(t *testing.T) {
	alert := func(rule string, severity monitor.Severity, state monitor.AlertState) monitor.Alert {
		return monitor.Alert{Finding: monitor.Finding{Rule: rule, Severity: severity}, State: state}
	}
	c := servers(someState(t), alert("down", monitor.Page, monitor.Firing), alert("down", monitor.Page, monitor.Firing),
		alert("leak", monitor.Warn, monitor.Pending), alert("full", monitor.Page, monitor.Resolved))
	got := shownLines(t, c)
	for _, line := range missing(someServers, got) {
		t.Errorf("not shown: %s", line)
	}
	for _, line := range missing(got, someServers) {
		t.Errorf("shown too: %s", line)
	}
}

// shownLines formats the series of collectors as Prometheus does.
func shownLines(t *testing.T, collectors ...prometheus.Collector) string {
	t.Helper()
	var lines strings.Builder
	for name, f := range gather(t, collectors...) {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			braces := "{" + strings.Join(labels, ",") + "}"
			if labels == nil {
				braces = ""
			}
			fmt.Fprintf(&lines, "%s%s %v\n", name, braces, number(m))
		}
	}
	return lines.String()
}

// missing returns the lines of a that are not in b.
func missing(a, b string) (lines []string) {
	for line := range strings.SplitSeq(a, "\n") {
		if line != "" && !strings.Contains("\n"+b, "\n"+line+"\n") {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestCountersKeepTheirKind(t *testing.T) {
	found := gather(t, servers(someState(t)))
	for name, f := range found {
		if is, want := f.GetType().String() == "COUNTER", strings.HasSuffix(name, "_total"); is != want {
			t.Errorf("%s is a %s", name, f.GetType())
		}
	}
	problems, err := testutil.CollectAndLint(servers(someState(t)))
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestWhatIsNotKnownIsNotShown(t *testing.T) {
	bare := snapshot(t, "connected_clients:3\n")
	for name, c := range map[string]prometheus.Collector{
		"nothing given": respoolprom.NewServers(nil, nil, 0),
		"nil state":     servers(nil),
		"empty state":   servers(&monitor.State{}),
		"nil snapshots": servers(&monitor.State{Nodes: []monitor.NodeState{{Addr: "a:1", Up: true}, {Addr: "b:1"}}}),
		"no list":       servers(&monitor.State{Nodes: []monitor.NodeState{{Addr: "a:1", Up: true, Last: bare}}}),
		"no owners":     servers(&monitor.State{Nodes: []monitor.NodeState{{Addr: "a:1", Up: true, Last: bare, List: bare}}}),
		"odd numbers": servers(&monitor.State{Nodes: []monitor.NodeState{{Addr: "a:1", Up: true, Last: &monitor.Snapshot{}, Forecast: monitor.Forecast{Exists: true, In: math.MaxInt64}},
			{Addr: "b\xff:1", Up: true, Last: &monitor.Snapshot{MaxClients: -1}}}}),
	} {
		t.Run(name, func(t *testing.T) {
			found := gather(t, c)
			if found["respool_monitor_nodes"] == nil {
				t.Error("the monitor does not show itself")
			}
			for _, m := range found["respool_server_up"].GetMetric() {
				if number(m) == 0 {
					t.Errorf("%v is shown as down before it was asked", labelsOf(m))
				}
			}
			for _, absent := range []string{"respool_occupancy_ratio", "respool_server_maxclients", "respool_clients", "respool_server_connections_opened_total"} {
				if found[absent] != nil {
					t.Errorf("%s is shown: %v", absent, found[absent])
				}
			}
		})
	}
}

func TestServiceWithoutPrimary(t *testing.T) {
	found := gather(t, servers(&monitor.State{Service: "mymaster", Err: errors.New("no sentinel answers")}))
	if got := value(t, found, "respool_service_primary_known", map[string]string{"service": "mymaster"}); got != 0 {
		t.Errorf("%v: want 0", got)
	}
}

// A sampler of a real server with a real client.
func TestServersOfARealSampler(t *testing.T) {
	server := redistest.Start(t, redistest.Config{Password: "sesame"})
	opt, err := respool.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan *monitor.State, 1)
	sampler, err := monitor.NewSampler(monitor.SamplerConfig{Options: opt, Every: 20 * time.Millisecond, ListEvery: 20 * time.Millisecond,
		OnState: func(s *monitor.State) {
			select {
			case states <- s:
			default:
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := respool.Open(t.Context(), server.URL()+"?client_name=orders:1:main")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), "SET", "k", "v").Err(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- sampler.Run(ctx) }()
	for s := range states {
		if n := s.Node(server.Addr()); n != nil && n.List != nil {
			break
		}
	}
	text := shownLines(t, respoolprom.NewServers(sampler.State, nil, 0))
	for _, want := range []string{
		`respool_server_up{node="` + server.Addr() + `"} 1`,
		`service="orders"`, `user="default"`, `role="primary"`, "respool_server_connections_opened_total", "respool_occupancy_ratio",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not shown in\n%s", want, text)
		}
	}
	if strings.Contains(text, "sesame") {
		t.Error("the password is shown")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
