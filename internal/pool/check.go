package pool

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Ping returns the command that verifies a connection. A user may lack permission for PING, and the server logs such
// refusals. HELLO needs no permission.
func (k Identity) Ping() []any {
	if k.User == "" {
		return []any{"PING"}
	}
	return []any{"HELLO"}
}

// defaultPatience applies if Lane.SuspectAfter is 0.
const defaultPatience = time.Second

// patience returns the time limit for the reply to a ping.
func (p *Pool) patience() time.Duration {
	if d := p.cfg.Lane.SuspectAfter; d > 0 {
		return d
	}
	return defaultPatience
}

// stale reports whether an idle conn was quiet for so long that a balancer or a firewall may have dropped it
// silently.
func (p *Pool) stale(c *member) bool {
	return p.cfg.StaleAfter > 0 && time.Since(c.lane.HeardAt()) > p.cfg.StaleAfter
}

// errCut ends checks when the pool closes or is suspended.
var errCut = errors.New("its check was cut short")

// check pings the server over a lane of an identity. Without a byte in time the error is a *lane.StallError.
func (p *Pool) check(ctx context.Context, l *lane.Lane, k Identity, opt lane.Options) error {
	asking, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	began := time.Now()
	_, err := l.Do(asking, k.Ping(), opt)
	switch {
	case err == nil || errors.Is(err, lane.ErrDraining) || l.HeardAt().After(began):
		return nil
	case ctx.Err() != nil:
		return errCut
	}
	return &lane.StallError{Silent: p.patience(), Reason: lane.NoPong}
}

// Confirm pings the conns of a user before later callers use them, and waits for the lanes. The user may have been
// deleted and created again: then the server has closed conns, and the pool may not have noticed yet.
func (p *Pool) Confirm(ctx context.Context, user string) {
	p.mu.Lock()
	var asked sync.WaitGroup
	for _, c := range p.members {
		switch {
		case c.subpool.identity.User != user || c.lane.Depth() < 0:
		case c.class == idle:
			p.checkIdleLocked(c, preparing)
		case c.class == shared && !c.draining:
			g := c.subpool
			asked.Go(func() { _ = p.check(ctx, c.lane, g.identity, lane.Options{Owner: g}) })
		}
	}
	p.unlock()
	asked.Wait()
}

// checkOwnIdleLocked checks a stale idle conn of g, for the first waiter.
func (p *Pool) checkOwnIdleLocked(g *Subpool) bool {
	if p.cfg.StaleAfter <= 0 || g.count[idle] == 0 {
		return false
	}
	c := p.idle.top(func(c *member) bool { return c.subpool == g && c.lane.Depth() >= 0 })
	if c != nil {
		p.checkIdleLocked(c, preparing)
	}
	return c != nil
}

// checkIdleLocked pings an idle conn on a new goroutine. Nobody else uses the conn meanwhile.
func (p *Pool) checkIdleLocked(c *member, as class) {
	p.idle.remove(c)
	p.moveLocked(c, as)
	c.lane.Undrain(nil, lane.NoProof)
	p.goroutines++
	go func(ctx context.Context, k Identity, since time.Time) {
		err := p.check(ctx, c.lane, k, lane.Options{})
		failSilent(c, err)
		p.mu.Lock()
		p.goroutines--
		p.handBackLocked(c, err, since)
		p.serveLocked()
		p.unlock()
	}(p.dials, c.subpool.identity, c.idleSince)
}

// handBackLocked returns a conn after a check: it becomes idle again, or closes because of err.
func (p *Pool) handBackLocked(c *member, err error, idleSince time.Time) {
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	p.endUseLocked(c, reason)
	if c.class != idle {
		return
	}
	p.serveSubpoolLocked(c.subpool)
	if c.class != idle {
		return
	}
	p.idle.remove(c)
	c.idleSince = idleSince // a check is no use
	p.idle.insert(c)
}

// failSilent fails a conn on which a ping received no byte. Its failure starts checks of other conns.
func failSilent(c *member, err error) {
	var stall *lane.StallError
	if errors.As(err, &stall) {
		c.lane.Fail(stall)
	}
}

// afterStallLocked checks the conns that received nothing since c became silent.
func (p *Pool) afterStallLocked(c *member, cause error) {
	var stall *lane.StallError
	if !errors.As(cause, &stall) || p.closed || p.suspended {
		return
	}
	since := time.Now().Add(-stall.Silent)
	for _, x := range p.members {
		if x == c || x.lane.HeardAt().After(since) {
			continue
		}
		switch x.class {
		case idle:
			p.checkIdleLocked(x, doubted)
		case shared:
			p.challengeLocked(x, stall.Reason == lane.AtLimit)
		case subscribed:
			select {
			case x.suspicion <- struct{}{}:
			default:
			}
		}
	}
}

// challengeLocked pings a lane and fails it without a reply in time. It leaves a lane with pending replies to the
// inquiry, unless no inquiry explained the silence: the server may hold these replies back.
func (p *Pool) challengeLocked(c *member, busy bool) {
	d := &c.doubts
	if c.draining || d.challenged || c.lane.Depth() > 0 && (!busy || time.Since(d.excused) < 2*p.patience()) {
		return
	}
	p.pingLaneLocked(c, true)
}

// pingLaneLocked pings a lane that others may use. With mustAnswer the lane fails without a reply in time; else the
// lane's own suspicion handles the silence.
func (p *Pool) pingLaneLocked(c *member, mustAnswer bool) {
	underway := &c.doubts.pinged
	if mustAnswer {
		underway = &c.doubts.challenged
	}
	*underway = true
	p.goroutines++
	go func(ctx context.Context, g *Subpool) {
		opt := lane.Options{Owner: g}
		if mustAnswer {
			failSilent(c, p.check(ctx, c.lane, g.identity, opt))
		} else {
			_, _ = c.lane.Do(ctx, g.identity.Ping(), opt)
		}
		p.mu.Lock()
		p.goroutines--
		*underway = false
		if ctx.Err() != nil && c.class != closing && c.lane.Depth() <= mostOwn {
			p.closeLocked(c, errCut.Error()) // nobody waits for the pending replies
		}
		p.unlock()
	}(p.dials, c.subpool)
}

// mostOwn is the maximum number of pending replies without a caller: two pings and a token.
const mostOwn = 3

// usedAt returns the last time when others than the health check used a lane.
func (c *member) usedAt() time.Time {
	if used := c.lane.UsedAt(); used.After(c.checkedAt.Add(c.pool.patience())) {
		return used
	}
	return c.quietSince
}
