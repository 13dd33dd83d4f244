package serve

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// gatewayMetrics exports a gateway to Prometheus. docs/metrics.md lists the names.
type gatewayMetrics struct {
	stats func() gateway.Stats
	ready func() Readiness
}

// NewGatewayMetrics returns the metrics of a gateway. ready reports the state of /readyz.
func NewGatewayMetrics(stats func() gateway.Stats, ready func() Readiness) prometheus.Collector {
	return &gatewayMetrics{stats, ready}
}

// gatewayMeasure is one metric of a gateway.
type gatewayMeasure struct {
	desc *prometheus.Desc
	form prometheus.ValueType
	of   func(s *gateway.Stats) float64
}

func describeGateway(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("respool_gateway_"+name, help, labels, nil)
}

func gatewayGauge(name, help string, of func(s *gateway.Stats) float64) gatewayMeasure {
	return gatewayMeasure{describeGateway(name, help), prometheus.GaugeValue, of}
}

func gatewayCounter(name, help string, of func(s *gateway.Stats) uint64) gatewayMeasure {
	return gatewayMeasure{describeGateway(name, help), prometheus.CounterValue, func(s *gateway.Stats) float64 { return float64(of(s)) }}
}

var gatewayMeasures = []gatewayMeasure{
	gatewayGauge("clients", "Connected clients.", func(s *gateway.Stats) float64 { return float64(s.Clients) }),
	gatewayGauge("blocked_clients", "Clients in blocking commands.", func(s *gateway.Stats) float64 { return float64(s.Blocked) }),
	gatewayGauge("subscribed_clients", "Clients with subscriptions.", func(s *gateway.Stats) float64 { return float64(s.Subscribed) }),
	gatewayGauge("pinned_clients", "Clients with a dedicated connection.", func(s *gateway.Stats) float64 { return float64(s.Pinned) }),
	gatewayGauge("paused", "Whether a pause holds back commands (1) or not (0).", func(s *gateway.Stats) float64 {
		if s.Paused {
			return 1
		}
		return 0
	}),
	gatewayGauge("turn_waiting_clients", "Clients that wait for their turn.", func(s *gateway.Stats) float64 { return float64(s.TurnWaiting) }),
	gatewayGauge("buffered_bytes", "Bytes in the buffers of all clients, input and output.", func(s *gateway.Stats) float64 { return float64(s.Buffered) }),
	gatewayCounter("accepted_total", "Clients accepted.", func(s *gateway.Stats) uint64 { return s.Accepted }),
	gatewayCounter("refused_total", "Clients refused.", func(s *gateway.Stats) uint64 { return s.Refused }),
	gatewayCounter("closed_total", "Clients disconnected, or moved to another process.", func(s *gateway.Stats) uint64 { return s.Closed }),
	gatewayCounter("moved_total", "Clients that moved to another process.", func(s *gateway.Stats) uint64 { return s.Moved }),
	gatewayCounter("adopted_total", "Clients that moved here from another process.", func(s *gateway.Stats) uint64 { return s.Adopted }),
	gatewayCounter("slow_closed_total", "Clients disconnected because they did not read their replies.", func(s *gateway.Stats) uint64 { return s.SlowClosed }),
	gatewayCounter("commands_total", "Commands from clients.", func(s *gateway.Stats) uint64 { return s.Commands }),
	gatewayCounter("errors_total", "Malformed requests and wrong passwords.", func(s *gateway.Stats) uint64 { return s.Errors }),
	gatewayCounter("received_bytes_total", "Bytes from clients.", func(s *gateway.Stats) uint64 { return s.BytesIn }),
	gatewayCounter("slow_total", "Commands that took at least slow_threshold.", func(s *gateway.Stats) uint64 { return s.Slow }),
	gatewayCounter("turn_waits_total", "Commands that waited for the turn of their client.", func(s *gateway.Stats) uint64 { return s.TurnWaits }),
	gatewayCounter("limit_waits_total", "Commands that waited because of a rate limit.", func(s *gateway.Stats) uint64 { return s.LimitWaits }),
	gatewayCounter("limit_refused_total", "Commands refused because of a rate limit.", func(s *gateway.Stats) uint64 { return s.LimitRefused }),
	gatewayCounter("sent_bytes_total", "Bytes to clients.", func(s *gateway.Stats) uint64 { return s.BytesOut }),
}

var (
	gatewayReady       = describeGateway("ready", "Whether the gateway accepts clients and the server answers (1) or not (0).")
	gatewayPinned      = describeGateway("pinned_by", "Clients with a dedicated connection, by the command that needs it.", "reason")
	gatewayUserClients = describeGateway("user_clients", "Clients of a user with limits.", "user")
	gatewayUserConns   = describeGateway("user_connections", "Dedicated connections of a user with limits.", "user")
	gatewayUserWaits   = describeGateway("user_limit_waits_total", "Commands of a user that waited because of a limit.", "user")
	gatewayUserRefused = describeGateway("user_limit_refused_total", "Commands and clients of a user refused because of a limit.", "user")
	gatewayQueue       = describeGateway("queue_seconds", "Time that commands waited for a connection.")
	gatewayServer      = describeGateway("server_seconds", "Time from sending a command to its reply.")
)

// Describe implements prometheus.Collector.
func (g *gatewayMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range gatewayMeasures {
		ch <- m.desc
	}
	for _, d := range []*prometheus.Desc{gatewayReady, gatewayPinned, gatewayQueue, gatewayServer,
		gatewayUserClients, gatewayUserConns, gatewayUserWaits, gatewayUserRefused} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gatewayMetrics) Collect(ch chan<- prometheus.Metric) {
	s := g.stats()
	for _, m := range gatewayMeasures {
		ch <- prometheus.MustNewConstMetric(m.desc, m.form, m.of(&s))
	}
	ready := 0.0
	if g.ready().Status == "ok" {
		ready = 1
	}
	ch <- prometheus.MustNewConstMetric(gatewayReady, prometheus.GaugeValue, ready)
	for _, reason := range slices.Sorted(maps.Keys(s.PinnedBy)) {
		ch <- prometheus.MustNewConstMetric(gatewayPinned, prometheus.GaugeValue, float64(s.PinnedBy[reason]), reason)
	}
	for _, u := range s.Users {
		ch <- prometheus.MustNewConstMetric(gatewayUserClients, prometheus.GaugeValue, float64(u.Clients), u.Name)
		ch <- prometheus.MustNewConstMetric(gatewayUserConns, prometheus.GaugeValue, float64(u.Connections), u.Name)
		ch <- prometheus.MustNewConstMetric(gatewayUserWaits, prometheus.CounterValue, float64(u.Waits), u.Name)
		ch <- prometheus.MustNewConstMetric(gatewayUserRefused, prometheus.CounterValue, float64(u.Refused), u.Name)
	}
	ch <- prometheus.MustNewConstSummary(gatewayQueue, s.Queue.Count, s.Queue.Sum.Seconds(), nil)
	ch <- prometheus.MustNewConstSummary(gatewayServer, s.Server.Count, s.Server.Sum.Seconds(), nil)
}
