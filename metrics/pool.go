package metrics

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-2b0d76a6/respool"
)

// Pool shows one client. Make it with NewPool before the client, and give it
// the client's Stats with Watch. It is safe for concurrent use.
type Pool struct {
	name     string
	minIdle  int
	stats    atomic.Pointer[func() respool.Stats]
	timeouts atomic.Uint64
	times    [timedKinds]prometheus.Histogram
	descs    poolDescs

	mu     sync.Mutex // held by those who change meters; who records does not take it
	meters atomic.Pointer[[]*meterTimes]
}

// NewPool makes the view of a client that is made of opt afterwards. It puts
// itself before opt.OnEvent, which is called as before. The name tells the
// pools of a program apart, such as "orders" or "cache-replicas": a registry
// refuses two of the same name.
//
// opt belongs to that one client from then on: one that is made of the same
// options later would be counted here too. It may be nil: whoever makes the
// client passes its events to OnEvent then.
func NewPool(name string, opt *respool.Options) *Pool {
	p := &Pool{name: strings.ToValidUTF8(name, "?")}
	p.describe()
	if opt == nil {
		return p
	}
	p.minIdle = opt.MinIdle
	next := opt.OnEvent
	opt.OnEvent = p.OnEvent
	if next != nil {
		opt.OnEvent = func(e respool.Event) {
			p.OnEvent(e)
			next(e)
		}
	}
	return p
}

// Watch shows from now on what stats gives, which is asked for whenever the
// metrics are read. Until then the pool shows nothing but its times.
func (p *Pool) Watch(stats func() respool.Stats) { p.stats.Store(&stats) }

// OnEvent takes in what Options.OnEvent is told. It does not block.
func (p *Pool) OnEvent(e respool.Event) {
	switch e.Kind {
	case respool.EventDialed:
		p.record(created, e.Duration)
	case respool.EventWaitEnded:
		switch {
		case e.Err == nil:
			p.record(waited, e.Duration)
		case errors.Is(e.Err, respool.ErrPoolExhausted), errors.Is(e.Err, context.DeadlineExceeded):
			p.timeouts.Add(1)
		}
	case respool.EventReleased:
		if e.Class == "dedicated" {
			p.record(used, e.Duration)
		}
	}
}

func (p *Pool) record(what timed, d time.Duration) {
	p.times[what].Observe(d.Seconds())
	if meters := p.meters.Load(); meters != nil {
		for _, m := range *meters {
			m.record(what, d)
		}
	}
}

// nodes gives what is to be shown, node by node.
func (p *Pool) nodes() []respool.Stats {
	read := p.stats.Load()
	if read == nil {
		return nil
	}
	s := (*read)()
	switch {
	case s.Nodes != nil:
		return s.Nodes
	case s.Service != nil:
		return nil // no node is known
	}
	return []respool.Stats{s}
}

// hostPort takes a node's address apart; that of a unix socket has no port.
func hostPort(addr string) (host, port string) {
	addr = strings.ToValidUTF8(addr, "?")
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, ""
	}
	return host, port
}
