package respoolprom

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Servers is a collector of a monitor's state. Create it with NewServers. It is safe for concurrent
// use if the functions passed to it are.
type Servers struct {
	state  func() *monitor.State
	alerts func() []monitor.Alert
	top    int
}

// DefaultTop is the default number of groups of clients for each server.
const DefaultTop = 20

// NewServers returns a collector of the state that state returns, such as monitor.Sampler.State,
// and of the alerts that alerts returns, such as the last list of monitor.Judge.Alerts. Either may
// be nil or return nil. Every read of the metrics calls both. For each server, it exports the top
// largest groups of clients, and the sum of the other groups; top 0 means DefaultTop.
func NewServers(state func() *monitor.State, alerts func() []monitor.Alert, top int) *Servers {
	if top <= 0 {
		top = DefaultTop
	}
	return &Servers{state: state, alerts: alerts, top: top}
}

// serverMeasure is a metric of each server.
type serverMeasure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// of returns the number, and whether it exists.
	of func(n *monitor.NodeState) (float64, bool)
}

func gauge(name, help string, of func(n *monitor.NodeState) (float64, bool)) serverMeasure {
	return serverMeasure{prometheus.NewDesc(name, help, []string{"node"}, nil), prometheus.GaugeValue, of}
}

func counts(name, help string, of func(n *monitor.NodeState) (float64, bool)) serverMeasure {
	return serverMeasure{prometheus.NewDesc(name, help, []string{"node"}, nil), prometheus.CounterValue, of}
}

// info returns a field of INFO.
func info(field string) func(n *monitor.NodeState) (float64, bool) {
	return func(n *monitor.NodeState) (float64, bool) {
		v, ok := n.Last.Info.Int(field)
		return float64(v), ok
	}
}

// always contains the metrics that are exported whether the server answers or not.
var always = []serverMeasure{
	gauge("respool_server_up", "Whether the server answered the last query (1) or not (0).",
		func(n *monitor.NodeState) (float64, bool) { return truth(n.Up), n.Up || n.Err != nil || n.Last != nil }),
	gauge("respool_server_full", "Whether the server refuses the monitor because maxclients is reached (1) or not (0).",
		func(n *monitor.NodeState) (float64, bool) { return truth(n.Full), true }),
	counts("respool_server_restarts_total", "Restarts of the server that the monitor saw.",
		func(n *monitor.NodeState) (float64, bool) { return float64(n.Restarts), true }),
	gauge("respool_server_last_look_timestamp_seconds", "When the server last answered.",
		func(n *monitor.NodeState) (float64, bool) {
			if n.Last == nil {
				return 0, false
			}
			return unix(n.Last.At), true
		}),
}

// answering contains the metrics that are exported only while the server answers, because old
// numbers would look current.
var answering = []serverMeasure{
	gauge("respool_server_connections", "Connections that count against maxclients: clients, replicas and other nodes, without those of the monitor.",
		func(n *monitor.NodeState) (float64, bool) { return float64(n.Last.Connections), !n.Last.Uncounted }),
	gauge("respool_server_maxclients", "Maximum number of connections that the server accepts.",
		func(n *monitor.NodeState) (float64, bool) {
			return float64(n.Last.MaxClients), n.Last.MaxClients > 0
		}),
	gauge("respool_server_blocked_clients", "Clients that wait in a blocking command.", info("blocked_clients")),
	counts("respool_server_connections_opened_total", "Connections that the server accepted since it started.", info("total_connections_received")),
	counts("respool_server_rejected_connections_total", "Connections that the server rejected since it started because maxclients was reached.", info("rejected_connections")),
	counts("respool_server_commands_total", "Commands that the server executed since it started.", info("total_commands_processed")),
	gauge("respool_server_clients_memory_bytes", "Memory of the server's normal clients, including buffers.", info("mem_clients_normal")),
	gauge("respool_server_memory_bytes", "Memory that the server has allocated.", info("used_memory")),
	gauge("respool_server_uptime_seconds", "Uptime of the server.", info("uptime_in_seconds")),
	gauge("respool_occupancy_ratio", "Share of maxclients in use, from 0 to 1.",
		func(n *monitor.NodeState) (float64, bool) { return n.Last.Occupancy() }),
	gauge("respool_exhaustion_seconds", "Seconds until maxclients is reached if connections grow at this rate. Absent if they do not grow steadily.",
		func(n *monitor.NodeState) (float64, bool) { return n.Forecast.In.Seconds(), n.Forecast.Trusted() }),
	gauge("respool_exhaustion_earliest_seconds", "The same at the highest growth rate in the 95% confidence interval.",
		func(n *monitor.NodeState) (float64, bool) { return n.Forecast.Earliest.Seconds(), n.Forecast.Trusted() }),
	gauge("respool_server_last_list_timestamp_seconds", "When the server last listed its clients, which is the time of respool_clients.",
		func(n *monitor.NodeState) (float64, bool) {
			if n.List == nil {
				return 0, false
			}
			return unix(n.List.At), true
		}),
	gauge("respool_server_replication_clients", "Clients that are replicas, or the primary. respool_clients excludes them.",
		func(n *monitor.NodeState) (float64, bool) {
			if n.List == nil {
				return 0, false
			}
			return float64(n.List.Replication), true
		}),
}

// The other metrics, which have additional labels.
var (
	nodesDesc   = prometheus.NewDesc("respool_monitor_nodes", "Servers that the monitor watches. Absent without a monitor.", nil, nil)
	stateDesc   = prometheus.NewDesc("respool_monitor_last_change_timestamp_seconds", "When the state of the monitor last changed.", nil, nil)
	serviceDesc = prometheus.NewDesc("respool_service_primary_known", "Whether the sentinels report a primary of the service, or a node reports the cluster (1), or not (0).", []string{"service"}, nil)
	infoDesc    = prometheus.NewDesc("respool_server_info", "Always 1; the labels hold the server's role and version.", []string{"node", "role", "version"}, nil)
	clientsDesc = prometheus.NewDesc("respool_clients", "Clients of a server by service, library, user and state, when it last listed them.", []string{"node", "service", "lib", "user", "state"}, nil)
	alertsDesc  = prometheus.NewDesc("respool_alerts", "Alerts of the monitor that are pending or firing.", []string{"rule", "severity", "state"}, nil)
)

// clusterMeasure is a metric of a cluster.
type clusterMeasure struct {
	desc *prometheus.Desc
	of   func(s *monitor.State) float64
}

func clusterGauge(name, help string, of func(s *monitor.State) float64) clusterMeasure {
	return clusterMeasure{prometheus.NewDesc("respool_cluster_"+name, help, []string{"service"}, nil), of}
}

// clusterMeasures contains the metrics that are exported while a node reports the cluster.
var clusterMeasures = []clusterMeasure{
	clusterGauge("slots_covered", "Slots of the cluster that a node serves, of 16384.", func(s *monitor.State) float64 {
		n, _ := s.Cluster.Uncovered()
		return float64(monitor.ClusterSlots - n)
	}),
	clusterGauge("slots_uncovered", "Slots of the cluster that no node serves.", func(s *monitor.State) float64 {
		n, _ := s.Cluster.Uncovered()
		return float64(n)
	}),
	clusterGauge("shards", "Primaries of the cluster that serve slots.", func(s *monitor.State) float64 { return float64(len(s.Cluster.Primaries())) }),
	clusterGauge("shards_without_replica", "Primaries of the cluster that serve slots and have no replica that works.",
		func(s *monitor.State) float64 { return float64(len(s.Cluster.WithoutReplica())) }),
}

// The other metrics of a cluster.
var (
	unreachableDesc = prometheus.NewDesc("respool_cluster_nodes_unreachable", "Nodes of the cluster that did not answer the last query.", []string{"service"}, nil)
	hotRatioDesc    = prometheus.NewDesc("respool_cluster_hottest_ratio", "Connections of the primary with the most, divided by the mean of the other primaries. Absent if fewer than two answer.", []string{"service"}, nil)
	hotNodeDesc     = prometheus.NewDesc("respool_cluster_hottest_connections", "Connections of the primary with the most, and its address.", []string{"service", "node"}, nil)
	slotsDesc       = prometheus.NewDesc("respool_cluster_node_slots", "Slots that a node of the cluster owns.", []string{"service", "node"}, nil)
)

func collectCluster(ch chan<- prometheus.Metric, s *monitor.State) {
	tell(ch, unreachableDesc, prometheus.GaugeValue, float64(len(s.Unreachable())), s.Service)
	if !s.Cluster.Known() {
		return // old numbers would look current
	}
	for _, m := range clusterMeasures {
		tell(ch, m.desc, prometheus.GaugeValue, m.of(s), s.Service)
	}
	if n, ratio, _ := s.Hottest(); n != nil {
		tell(ch, hotRatioDesc, prometheus.GaugeValue, ratio, s.Service)
		tell(ch, hotNodeDesc, prometheus.GaugeValue, float64(n.Last.Connections), s.Service, n.Addr)
	}
	for i := range s.Cluster.Nodes {
		n := &s.Cluster.Nodes[i]
		tell(ch, slotsDesc, prometheus.GaugeValue, float64(n.Slots), s.Service, n.Name())
	}
}

// Describe implements prometheus.Collector.
func (s *Servers) Describe(ch chan<- *prometheus.Desc) {
	for _, list := range [][]serverMeasure{always, answering} {
		for _, m := range list {
			ch <- m.desc
		}
	}
	for _, m := range clusterMeasures {
		ch <- m.desc
	}
	for _, d := range []*prometheus.Desc{unreachableDesc, hotRatioDesc, hotNodeDesc, slotsDesc, nodesDesc, stateDesc, serviceDesc, infoDesc, clientsDesc, alertsDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Servers) Collect(ch chan<- prometheus.Metric) {
	var state *monitor.State
	if s.state != nil {
		state = s.state()
	}
	if state == nil {
		state = &monitor.State{}
	}
	tell(ch, nodesDesc, prometheus.GaugeValue, float64(len(state.Nodes)))
	if !state.At.IsZero() {
		tell(ch, stateDesc, prometheus.GaugeValue, unix(state.At))
	}
	if state.Service != "" {
		tell(ch, serviceDesc, prometheus.GaugeValue, truth(state.Err == nil), state.Service)
	}
	if state.Cluster != nil {
		collectCluster(ch, state)
	}
	for i := range state.Nodes {
		s.collectNode(ch, &state.Nodes[i])
	}
	if s.alerts != nil {
		collectAlerts(ch, s.alerts())
	}
}

func (s *Servers) collectNode(ch chan<- prometheus.Metric, n *monitor.NodeState) {
	collectMeasures(ch, n, always)
	if n.Last == nil {
		return
	}
	tell(ch, infoDesc, prometheus.GaugeValue, 1, n.Addr, n.Role, n.Last.Info.Server())
	if !n.Up {
		return
	}
	collectMeasures(ch, n, answering)
	if n.List == nil {
		return
	}
	for who, group := range largest(n.List.Owners, s.top) {
		for i, state := range clientStates {
			tell(ch, clientsDesc, prometheus.GaugeValue, float64(group[i]), n.Addr, who.service, who.lib, who.user, state)
		}
	}
}

func collectMeasures(ch chan<- prometheus.Metric, n *monitor.NodeState, list []serverMeasure) {
	for _, m := range list {
		if v, ok := m.of(n); ok {
			tell(ch, m.desc, m.kind, v, n.Addr)
		}
	}
}

func collectAlerts(ch chan<- prometheus.Metric, alerts []monitor.Alert) {
	type key struct{ rule, severity, state string }
	number := map[key]int{}
	for i := range alerts {
		a := &alerts[i]
		if a.State == monitor.Pending || a.State == monitor.Firing {
			number[key{a.Rule, a.Severity.String(), a.State.String()}]++
		}
	}
	for k, n := range number {
		tell(ch, alertsDesc, prometheus.GaugeValue, float64(n), k.rule, k.severity, k.state)
	}
}

// tell exports a number, unless it is not finite.
func tell(ch chan<- prometheus.Metric, d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "?")
	}
	ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
