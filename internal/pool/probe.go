package pool

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Probe sends one command to the node, in use or suspended. It does not count as use. It uses a lane that received
// bytes recently, if there is one. Otherwise it dials a socket, which takes a place until the server has closed it.
// Without a free place the error is ErrExhausted. It blocks until the reply, or until ctx ends.
func (p *Pool) Probe(ctx context.Context, args ...any) ([]byte, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	c := p.openLaneLocked(&p.zero)
	if c == nil {
		c = p.openLaneLocked(&p.readers)
	}
	if c != nil && (!p.roomLikelyLocked() || !c.lane.Avoided() && !p.stale(c)) {
		owner := c.subpool
		p.mu.Unlock()
		if frame, err := c.lane.Do(ctx, args, lane.Options{Owner: owner}); err == nil || ctx.Err() != nil {
			return frame, err
		}
		p.mu.Lock()
	}
	if err := p.refusals.inPause(Identity{}); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	if p.closed || !p.roomLocked() {
		err := fmt.Errorf("%w to ask %v (%s)", ErrExhausted, args[0], p.stateLocked())
		p.mu.Unlock()
		return nil, err
	}
	p.probing++
	p.refusals.attempted(Identity{})
	p.mu.Unlock()
	answer := make(chan probed, 1)
	go func() { answer <- p.ask(ctx, args) }()
	select {
	case a := <-answer:
		return a.frame, a.err
	case <-ctx.Done():
		return nil, &wire.Error{Op: "wait for the reply of", Addr: p.cfg.Addr, Err: ctx.Err()}
	}
}

// probed is the outcome of a probe.
type probed struct {
	frame []byte
	err   error
}

// ask runs a command on a new socket, whose place is taken already.
func (p *Pool) ask(ctx context.Context, args []any) probed {
	conn, err := p.cfg.Dial(ctx, p.cut, Identity{})
	if err != nil {
		p.mu.Lock()
		p.refuseLocked(&p.zero, err)
		p.unlock()
		p.endProbe()
		return probed{err: err}
	}
	stop := context.AfterFunc(p.cut, conn.Abort)
	cfg := p.cfg.Lane
	cfg.OnDead, cfg.OnSuspect, cfg.OnClosed = nil, nil, func(*lane.Lane) {
		stop()
		p.endProbe()
	}
	l := lane.New(conn, &cfg)
	frame, err := l.Do(ctx, args, lane.Options{})
	l.Fail(wire.ErrClosed)
	return probed{frame, err}
}

// endProbe frees a probe's place.
func (p *Pool) endProbe() {
	p.mu.Lock()
	p.probing--
	p.serveLocked()
	p.unlock()
}
