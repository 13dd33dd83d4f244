package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
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
		return nil, &wire.Error{Op: "wait for the reply of", Addr: p.dialTo.Load().Addr, Err: ctx.Err()}
	}
}

// probed is the outcome of a probe.
type probed struct {
	frame []byte
	err   error
}

// ask runs a command on a new socket, whose place is taken already.
func (p *Pool) ask(ctx context.Context, args []any) probed {
	conn, err := p.dialTo.Load().Dial(ctx, p.cut, Identity{})
	if err != nil {
		p.mu.Lock()
		p.refuseLocked(&p.zero, err)
		p.unlock()
		p.endProbe()
		return probed{err: err}
	}
	frame, err := p.askOnce(ctx, conn, args)
	return probed{frame, err}
}

// askOnce runs a command on a conn outside the ledger, whose place is taken already, and closes the conn.
func (p *Pool) askOnce(ctx context.Context, conn *wire.Conn, args []any) ([]byte, error) {
	stop := context.AfterFunc(p.cut, conn.Abort)
	cfg := p.cfg.Lane
	cfg.OnDead, cfg.OnSuspect, cfg.OnClosed = nil, nil, func(*lane.Lane) {
		stop()
		p.endProbe()
	}
	l := lane.New(conn, &cfg)
	frame, err := l.Do(ctx, args, lane.Options{})
	l.Fail(wire.ErrClosed)
	return frame, err
}

// Try dials a conn to a destination, sends PING and closes the conn. Its socket counts against the bound: if no place is
// free, Try waits for one until ctx ends, and idle conns and lanes make room for it. An error reply to PING counts as a
// reply, except those of a server that serves nobody now, or that requires a login.
func (p *Pool) Try(ctx context.Context, to Destination) error {
	if err := p.claim(ctx); err != nil {
		return err
	}
	conn, err := to.Dial(ctx, p.cut, Identity{})
	if err != nil {
		p.endProbe()
		return err
	}
	frame, err := p.askOnce(ctx, conn, []any{"PING"})
	if err != nil {
		return err
	}
	if refusal := resp.ErrorIn(frame); refusal != nil && (refusal.Code == "NOAUTH" || !concernsIdentity(refusal)) {
		return &wire.Error{Op: wire.OpHandshake, Addr: to.Addr, Sent: true, Err: refusal}
	}
	return nil
}

// claimCheck is the interval at which claim looks for a free place.
const claimCheck = 2 * time.Millisecond

// claim takes a place for Try. While it waits, the bound is lower by one.
func (p *Pool) claim(ctx context.Context) error {
	tick := time.NewTicker(claimCheck)
	defer tick.Stop()
	p.mu.Lock()
	defer p.unlock()
	p.claims++
	p.applyLimitLocked()
	p.serveLocked()
	for {
		free := !p.closed && p.placesTakenLocked() < p.limit-(p.claims-1)
		if free || p.closed || ctx.Err() != nil {
			p.claims--
			p.applyLimitLocked()
			switch {
			case p.closed:
				return ErrClosed
			case free && p.roomLocked():
				p.probing++
				return nil
			case ctx.Err() != nil:
				err := fmt.Errorf("%w (%s)", ErrExhausted, p.stateLocked())
				p.serveLocked()
				return err
			}
			p.claims++
			p.applyLimitLocked()
		}
		p.unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		p.mu.Lock()
	}
}

// endProbe frees a probe's place.
func (p *Pool) endProbe() {
	p.mu.Lock()
	p.probing--
	p.serveLocked()
	p.unlock()
}
