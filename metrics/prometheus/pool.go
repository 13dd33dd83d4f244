package respoolprom

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/poolmetrics"
)

// Pool is a collector of one client. Create it with NewPool before the client, and pass the
// client's Stats to Watch. It is safe for concurrent use.
type Pool struct {
	core  *poolmetrics.Pool
	times poolTimes
	descs poolDescs
}

// poolTimes are the histograms of the durations.
type poolTimes [poolmetrics.TimeKinds]prometheus.Histogram

// Record implements poolmetrics.Recorder.
func (t *poolTimes) Record(what poolmetrics.Time, d time.Duration) { t[what].Observe(d.Seconds()) }

// poolDescs are the descriptions of the other metrics.
type poolDescs struct {
	nodes, blocking, commands []*prometheus.Desc // in the order of the functions of poolmetrics
	idleMin, timeouts         *prometheus.Desc
}

// NewPool returns a collector of a client that the program creates with opt afterwards. It replaces
// opt.OnEvent by a function that also calls the previous one. The name identifies the pool in the
// program, such as "orders" or "cache-replicas". A registry refuses two pools of the same name.
//
// Use opt for that one client only: the pool would count a second client with the same options too.
// opt may be nil: the program then passes the client's events to OnEvent.
func NewPool(name string, opt *respool.Options) *Pool {
	p := &Pool{}
	p.core = poolmetrics.New(name, opt, &p.times)
	p.describe()
	return p
}

// Watch sets the source of the numbers. Every read of the metrics calls it. Before that, the pool
// shows only its durations.
func (p *Pool) Watch(stats func() respool.Stats) { p.core.Watch(stats) }

// OnEvent receives an event of the client, like Options.OnEvent. It does not block.
func (p *Pool) OnEvent(e respool.Event) { p.core.OnEvent(e) }

// describe prepares the metrics. The pool's name is a constant label of each, so a registry accepts
// several pools.
func (p *Pool) describe() {
	constant := prometheus.Labels{label(poolmetrics.AttrPool): p.core.Name(), label(poolmetrics.AttrSystem): poolmetrics.System}
	p.descs.nodes = describeAll(poolmetrics.Nodes(), constant, label(poolmetrics.AttrServer), label(poolmetrics.AttrPort))
	p.descs.blocking = describeAll(poolmetrics.Blocking(), constant)
	p.descs.commands = describeAll(poolmetrics.Commands(), constant, label(poolmetrics.AttrCommand))
	idleMin, timeouts := poolmetrics.IdleMin(), poolmetrics.Timeouts()
	p.descs.idleMin = prometheus.NewDesc(metricName(&idleMin), idleMin.Help, nil, constant)
	p.descs.timeouts = prometheus.NewDesc(metricName(&timeouts), timeouts.Help, nil, constant)
	for i, m := range poolmetrics.Times() {
		p.times[i] = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: metricName(&m), Help: m.Help, ConstLabels: constant, Buckets: poolmetrics.Bounds(),
		})
	}
}

// describeAll describes measures. Their own attribute is the last label.
func describeAll[T any](list []poolmetrics.Source[T], constant prometheus.Labels, labels ...string) (descs []*prometheus.Desc) {
	for i := range list {
		m := &list[i].Measure
		all := labels
		if m.Attr != "" {
			all = append(slices.Clip(labels), label(m.Attr))
		}
		descs = append(descs, prometheus.NewDesc(metricName(m), m.Help, all, constant))
	}
	return descs
}

// Describe implements prometheus.Collector.
func (p *Pool) Describe(ch chan<- *prometheus.Desc) {
	for _, list := range [][]*prometheus.Desc{p.descs.nodes, p.descs.blocking, p.descs.commands} {
		for _, d := range list {
			ch <- d
		}
	}
	ch <- p.descs.idleMin
	ch <- p.descs.timeouts
	for _, h := range p.times {
		h.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (p *Pool) Collect(ch chan<- prometheus.Metric) {
	nodes, blocking := p.core.Read()
	for i := range nodes {
		host, port := poolmetrics.HostPort(nodes[i].Addr)
		collect(ch, p.descs.nodes, poolmetrics.Nodes(), &nodes[i], host, port)
	}
	if blocking != nil {
		collect(ch, p.descs.blocking, poolmetrics.Blocking(), blocking)
		for name, counts := range blocking.Commands {
			collect(ch, p.descs.commands, poolmetrics.Commands(), &counts, name)
		}
	}
	ch <- prometheus.MustNewConstMetric(p.descs.idleMin, prometheus.GaugeValue, float64(p.core.MinIdle()))
	ch <- prometheus.MustNewConstMetric(p.descs.timeouts, prometheus.CounterValue, float64(p.core.Timeouts()))
	for _, h := range p.times {
		h.Collect(ch)
	}
}

// collect reads measures from s.
func collect[T any](ch chan<- prometheus.Metric, descs []*prometheus.Desc, list []poolmetrics.Source[T], s *T, labels ...string) {
	for i := range list {
		m := &list[i]
		for _, r := range m.Readings {
			all := labels
			if m.Attr != "" {
				all = append(slices.Clip(labels), r.Value)
			}
			value := float64(r.Of(s))
			if m.Form == poolmetrics.Highest {
				value = time.Duration(r.Of(s)).Seconds()
			}
			ch <- prometheus.MustNewConstMetric(descs[i], valueType(m.Form), value, all...)
		}
	}
}

func valueType(f poolmetrics.Form) prometheus.ValueType {
	if f == poolmetrics.Counter {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

// metricName converts a name to Prometheus, by the rules of OpenTelemetry.
func metricName(m *poolmetrics.Measure) string {
	name := label(m.Name)
	if m.Unit == "s" {
		name += "_seconds"
	}
	if m.Form == poolmetrics.Counter {
		name += "_total"
	}
	return name
}

// label converts an attribute to a label of Prometheus.
func label(attr string) string { return strings.ReplaceAll(attr, ".", "_") }
