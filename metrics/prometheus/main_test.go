package respoolprom_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gather registers collectors with a pedantic registry, and returns their metrics.
func gather(t testing.TB, collectors ...prometheus.Collector) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*dto.MetricFamily{}
	for _, f := range families {
		found[f.GetName()] = f
	}
	return found
}

// labelsOf returns the labels of a metric.
func labelsOf(m *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}

// number is the value of a metric, or the count of a histogram.
func number(m *dto.Metric) float64 {
	switch {
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Counter != nil:
		return m.Counter.GetValue()
	}
	return float64(m.Histogram.GetSampleCount())
}

// value returns the value of the one series with these labels.
func value(t testing.TB, found map[string]*dto.MetricFamily, name string, labels map[string]string) float64 {
	t.Helper()
	var values []float64
	for _, m := range found[name].GetMetric() {
		has, all := labelsOf(m), true
		for k, v := range labels {
			all = all && has[k] == v
		}
		if all {
			values = append(values, number(m))
		}
	}
	if len(values) != 1 {
		t.Fatalf("%s with %v: %d series: want 1", name, labels, len(values))
	}
	return values[0]
}
