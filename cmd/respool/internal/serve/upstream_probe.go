package serve

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// upstreamProbe pings the server every second, over the shared connections of the clients. It owns
// one goroutine; close waits for it.
type upstreamProbe struct {
	cancel context.CancelFunc
	done   chan struct{}

	failures atomic.Uint64 // pings without a reply

	mu  sync.Mutex
	err error // why the server does not answer; nil if it does
}

const (
	probeInterval = time.Second
	probeTimeout  = 2 * time.Second
)

var errNotAsked = errors.New("the server was not queried yet")

func startUpstreamProbe(client *respool.Client, log *slog.Logger) *upstreamProbe {
	ctx, cancel := context.WithCancel(context.Background())
	p := &upstreamProbe{cancel: cancel, done: make(chan struct{}), err: errNotAsked}
	go p.run(ctx, client, log)
	return p
}

func (p *upstreamProbe) run(ctx context.Context, client *respool.Client, log *slog.Logger) {
	defer close(p.done)
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, probeTimeout)
		err := client.Do(asking, "PING").Err()
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.failures.Add(1)
		}
		p.mu.Lock()
		before := p.err
		p.err = err
		p.mu.Unlock()
		switch {
		case err == nil && before != nil:
			log.Info("the server answers")
		case err != nil && (before == nil || errors.Is(before, errNotAsked)):
			log.Warn("the server does not answer", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lastError is why the server does not answer, or nil if it does.
func (p *upstreamProbe) lastError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *upstreamProbe) close() {
	p.cancel()
	<-p.done
}

// poolViews returns a function that reports the pool of the gateway at this call and the call before. One goroutine
// at a time may call it.
func (srv *Server) poolViews() func() map[string]monitor.PoolView {
	before, at := srv.client.Stats(), time.Now()
	var pings uint64
	return func() map[string]monitor.PoolView {
		now, asked := srv.client.Stats(), time.Now()
		failed := srv.probe.failures.Load()
		v := monitor.PoolView{Before: before, Now: now, Between: asked.Sub(at)}
		callersOnly(&v, srv.gateway.Stats().Clients, failed-pings+ownBetween)
		before, at, pings = now, asked, failed
		return map[string]monitor.PoolView{"gateway": v}
	}
}

// ownBetween is how many more queries of this process may fail between two calls: a reading of the watch, and a ping whose failure
// is not counted yet.
const ownBetween = 2

// callersOnly removes the waits of this process itself from a view: its pings and the readings of its watch, which share the pool
// with the clients. own is the number of its failed queries. Without clients there are no callers.
func callersOnly(v *monitor.PoolView, clients int, own uint64) {
	limit := func(before, now uint64) uint64 {
		failed := now - min(before, now)
		if clients == 0 {
			return before
		}
		return before + failed - min(own, failed)
	}
	v.Now.FailedWaits = limit(v.Before.FailedWaits, v.Now.FailedWaits)
	v.Now.Refused = limit(v.Before.Refused, v.Now.Refused)
	v.Now.Waiting = min(v.Now.Waiting, clients)
}
