// Package poolmetrics collects the numbers of one client's pool for the exporters in metrics. It
// depends on no exporter. It is not for programs, which use an exporter. It starts no goroutines.
package poolmetrics

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// Recorder receives durations as they occur. Many goroutines call it, and it must not block.
type Recorder interface {
	Record(what Time, d time.Duration)
}

// Pool contains the numbers of one client. It is safe for concurrent use.
type Pool struct {
	name     string
	minIdle  int
	recorder Recorder
	stats    atomic.Pointer[func() respool.Stats]
	timeouts atomic.Uint64
}

// New returns the numbers of a client that the caller creates with opt afterwards. It replaces
// opt.OnEvent by a function that also calls the previous one. opt may be nil: the caller then
// passes the client's events to OnEvent.
func New(name string, opt *respool.Options, r Recorder) *Pool {
	p := &Pool{name: strings.ToValidUTF8(name, "?"), recorder: r}
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

// Name returns the name of the pool, as valid UTF-8.
func (p *Pool) Name() string { return p.name }

// MinIdle returns the minimum of idle connections.
func (p *Pool) MinIdle() int { return p.minIdle }

// Timeouts returns the number of callers whose wait failed.
func (p *Pool) Timeouts() uint64 { return p.timeouts.Load() }

// Watch sets the source of the numbers. Every read of the metrics calls it.
func (p *Pool) Watch(stats func() respool.Stats) { p.stats.Store(&stats) }

// OnEvent receives an event of the client. It does not block.
func (p *Pool) OnEvent(e respool.Event) {
	switch e.Kind {
	case respool.EventDialed:
		p.recorder.Record(Created, e.Duration)
	case respool.EventWaitEnded:
		switch {
		case e.Err == nil:
			p.recorder.Record(Waited, e.Duration)
		case errors.Is(e.Err, respool.ErrPoolExhausted), errors.Is(e.Err, context.DeadlineExceeded):
			p.timeouts.Add(1)
		}
	case respool.EventReleased:
		if e.Class == "dedicated" {
			p.recorder.Record(Used, e.Duration)
		}
	}
}

// Read returns the numbers of each node, and those of the client's blocking commands. Before Watch,
// both are nil.
func (p *Pool) Read() (nodes []respool.Stats, blocking *respool.BlockingStats) {
	read := p.stats.Load()
	if read == nil {
		return nil, nil
	}
	s := (*read)()
	switch {
	case s.Nodes != nil:
		return s.Nodes, &s.Blocking
	case s.Service != nil:
		return nil, &s.Blocking // no node is known
	}
	return []respool.Stats{s}, &s.Blocking
}

// HostPort splits a node's address. The address of a Unix socket has no port.
func HostPort(addr string) (host, port string) {
	addr = strings.ToValidUTF8(addr, "?")
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, ""
	}
	return host, port
}
