package serve

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// upstreamProbe pings the server every second, over the shared connections of the clients. It owns
// one goroutine; close waits for it.
type upstreamProbe struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	err error // why the server does not answer; nil if it does
}

const (
	probeInterval = time.Second
	probeTimeout  = 2 * time.Second
)

var errNotAsked = errors.New("the server was not queried yet")

func startUpstreamProbe(client *respool.Client, log *slog.Logger) *upstreamProbe {
	ctx, cancel := context.WithCancel(pool.Observe(context.Background())) // a ping is not a caller
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
	return func() map[string]monitor.PoolView {
		now, asked := srv.client.Stats(), time.Now()
		v := monitor.PoolView{Before: before, Now: now, Between: asked.Sub(at)}
		before, at = now, asked
		return map[string]monitor.PoolView{"gateway": v}
	}
}
