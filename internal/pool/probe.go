package pool

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Probe asks the node one command, in use or suspended, and does not count as
// use. It goes over a lane where there is one. Otherwise it has a socket of
// its own, which takes a slot until the server has closed it; without a free
// one the error is ErrExhausted. ctx bounds it.
func (p *Pool) Probe(ctx context.Context, args ...any) ([]byte, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	if c := p.openLaneLocked(); c != nil {
		p.mu.Unlock()
		if frame, err := c.lane.Do(ctx, args, lane.Options{}); err == nil || ctx.Err() != nil {
			return frame, err
		}
		p.mu.Lock()
	}
	if p.closed || p.usedLocked() >= p.max {
		err := fmt.Errorf("%w to ask %v (%s)", ErrExhausted, args[0], p.stateLocked())
		p.mu.Unlock()
		return nil, err
	}
	p.probing++
	p.mu.Unlock()
	conn, err := p.cfg.Dial(ctx, p.cut)
	if err != nil {
		p.probed()
		return nil, err
	}
	stop := context.AfterFunc(p.cut, conn.Abort)
	cfg := p.cfg.Lane
	cfg.OnDead, cfg.OnClosed = nil, func(*lane.Lane) {
		stop()
		p.probed()
	}
	l := lane.New(conn, &cfg)
	frame, err := l.Do(ctx, args, lane.Options{})
	l.Condemn(wire.ErrClosed)
	return frame, err
}

// probed gives a probe's slot back.
func (p *Pool) probed() {
	p.mu.Lock()
	p.probing--
	p.serveLocked()
	p.unlock()
}
