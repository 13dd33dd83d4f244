package respoolprom_test

import (
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/poolmetrics/pooltest"
	respoolprom "github.com/seed-2b0d76a6/respool/metrics/prometheus"
)

// The exporter for OpenTelemetry is tested against the same series.
func TestPrometheusTellsWhatOTelTells(t *testing.T) {
	var got []string
	for i, one := range pooltest.Pools() {
		p := respoolprom.NewPool(one.Name, &respool.Options{MinIdle: one.MinIdle})
		p.Watch(func() respool.Stats { return one.Stats })
		pooltest.Events(i, p.OnEvent)
		for name, f := range gather(t, p) {
			for _, m := range f.GetMetric() {
				got = append(got, pooltest.Line(name, pooltest.LabelText(labelsOf(m)), number(m)))
			}
		}
	}
	pooltest.Check(t, got)
}
