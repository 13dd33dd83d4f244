package respoolotel

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/poolmetrics"
)

// Pool holds the numbers of one client. Make it with NewPool before the client,
// and give it the client's Stats with Watch. It is safe for concurrent use.
type Pool struct {
	core *poolmetrics.Pool

	mu     sync.Mutex // held while meters changes; Record does not take it
	meters atomic.Pointer[[]*meterTimes]
}

// NewPool returns the numbers of a client that is made of opt afterwards. It puts
// itself before opt.OnEvent, which is called as before. The name tells the
// pools of a program apart, such as "orders" or "cache-replicas".
//
// opt belongs to that one client from then on: a client that is made of the same
// options later would be counted here too. opt may be nil: the program passes
// the client's events to OnEvent then.
func NewPool(name string, opt *respool.Options) *Pool {
	p := &Pool{}
	p.core = poolmetrics.New(name, opt, (*recorder)(p))
	return p
}

// Watch sets the source of the numbers, which is called whenever metrics are
// read. Until then the pool shows only its durations.
func (p *Pool) Watch(stats func() respool.Stats) { p.core.Watch(stats) }

// OnEvent takes an event of the client, as Options.OnEvent does. It does not
// block.
func (p *Pool) OnEvent(e respool.Event) { p.core.OnEvent(e) }

// recorder records the durations of a pool with all its meters.
type recorder Pool

// Record implements poolmetrics.Recorder.
func (r *recorder) Record(what poolmetrics.Time, d time.Duration) {
	if meters := r.meters.Load(); meters != nil {
		for _, m := range *meters {
			m.record(what, d)
		}
	}
}

// meterTimes are the histograms of one meter, for one pool.
type meterTimes struct {
	times  [poolmetrics.TimeKinds]metric.Float64Histogram
	option []metric.RecordOption
}

func (m *meterTimes) record(what poolmetrics.Time, d time.Duration) {
	m.times[what].Record(context.Background(), d.Seconds(), m.option...)
}

// changeMeters replaces the list by a changed copy.
func (p *Pool) changeMeters(change func(list []*meterTimes) []*meterTimes) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*meterTimes
	if old := p.meters.Load(); old != nil {
		list = slices.Clone(*old)
	}
	list = change(list)
	p.meters.Store(&list)
}

// attributes are the attributes of all metrics of the pool.
func (p *Pool) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String(poolmetrics.AttrPool, p.core.Name()), attribute.String(poolmetrics.AttrSystem, poolmetrics.System)}
}
