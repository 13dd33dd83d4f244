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

// Pool contains the numbers of one client. Create it with NewPool before the client, and pass the
// client's Stats to Watch. It is safe for concurrent use.
type Pool struct {
	core *poolmetrics.Pool

	mu     sync.Mutex // guards changes of meters; Record does not take it
	meters atomic.Pointer[[]*meterTimes]
}

// NewPool returns the numbers of a client that the program creates with opt afterwards. It replaces
// opt.OnEvent by a function that also calls the previous one. The name identifies the pool in the
// program, such as "orders" or "cache-replicas".
//
// Use opt for that one client only: the pool would count a second client with the same options too.
// opt may be nil: the program then passes the client's events to OnEvent.
func NewPool(name string, opt *respool.Options) *Pool {
	p := &Pool{}
	p.core = poolmetrics.New(name, opt, (*recorder)(p))
	return p
}

// Watch sets the source of the numbers. Every read of the metrics calls it. Before that, the pool
// shows only its durations.
func (p *Pool) Watch(stats func() respool.Stats) { p.core.Watch(stats) }

// OnEvent receives an event of the client, like Options.OnEvent. It does not block.
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

// attributes returns the common attributes of the pool's metrics.
func (p *Pool) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String(poolmetrics.AttrPool, p.core.Name()), attribute.String(poolmetrics.AttrSystem, poolmetrics.System)}
}
