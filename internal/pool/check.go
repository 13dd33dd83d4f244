package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Ping is what asks for a sign of life. A user may be denied PING, and the server keeps
// account of that; HELLO is open to all.
func (k Identity) Ping() []any {
	if k.User == "" {
		return []any{"PING"}
	}
	return []any{"HELLO"}
}

// defaultPatience is for pools whose lanes suspect nothing.
const defaultPatience = time.Second

// patience is how long the answer to a ping may take on a conn that is good.
func (p *Pool) patience() time.Duration {
	if d := p.cfg.Lane.SuspectAfter; d > 0 {
		return d
	}
	return defaultPatience
}

// stale reports whether an idle conn was quiet for so long that a balancer or a firewall may
// have dropped it without a word.
func (p *Pool) stale(c *member) bool {
	return p.cfg.StaleAfter > 0 && time.Since(c.lane.HeardAt()) > p.cfg.StaleAfter
}

// errCut ends checks when the pool is closed or suspended.
var errCut = errors.New("its check was cut short")

// check pings the server over a lane that works for a key. Where nothing was heard in time
// the error is a *lane.StallError.
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

// Confirm has the conns of a user answer a ping before any of them is used again by callers that come later, and waits for
// the lanes: the user may have been deleted and made again, and the server has ended conns of which that is not seen yet.
func (p *Pool) Confirm(ctx context.Context, user string) {
	p.mu.Lock()
	var asked sync.WaitGroup
	for _, c := range p.members {
		switch {
		case c.group.key.User != user || c.lane.Depth() < 0:
		case c.class == idle:
			p.vetLocked(c, preparing)
		case c.class == shared && !c.draining:
			g := c.group
			asked.Go(func() { _ = p.check(ctx, c.lane, g.key, lane.Options{Owner: g}) })
		}
	}
	p.unlock()
	asked.Wait()
}

// vetOwnLocked checks a stale conn of g for whoever is next in line.
func (p *Pool) vetOwnLocked(g *Subpool) bool {
	if p.cfg.StaleAfter <= 0 || g.count[idle] == 0 {
		return false
	}
	for i := len(p.stack) - 1; i >= 0; i-- {
		if c := p.stack[i]; c.group == g && c.lane.Depth() >= 0 {
			p.vetLocked(c, preparing)
			return true
		}
	}
	return false
}

// vetLocked has an idle conn answer a ping before anybody uses it.
func (p *Pool) vetLocked(c *member, as class) {
	p.unstackLocked(c)
	p.moveLocked(c, as)
	c.lane.Undrain(nil, lane.NoProof)
	p.errands++
	go func(ctx context.Context, k Identity, since time.Time) {
		err := p.check(ctx, c.lane, k, lane.Options{})
		condemnSilent(c, err)
		p.mu.Lock()
		p.errands--
		p.handBackLocked(c, err, since)
		p.serveLocked()
		p.unlock()
	}(p.dials, c.group.key, c.idleSince)
}

// handBackLocked makes a conn idle again that was out of sight since an errand began, or ends it for err.
func (p *Pool) handBackLocked(c *member, err error, idleSince time.Time) {
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	p.giveUpLocked(c, reason)
	if c.class != idle {
		return
	}
	p.serveGroupLocked(c.group)
	if c.class != idle {
		return
	}
	p.unstackLocked(c)
	c.idleSince = idleSince // to check it is not to use it
	i, _ := slices.BinarySearchFunc(p.stack, idleSince, func(x *member, t time.Time) int { return x.idleSince.Compare(t) })
	p.stack = slices.Insert(p.stack, i, c)
}

// condemnSilent ends a conn on which a ping brought nothing, and casts doubt on others.
func condemnSilent(c *member, err error) {
	var stall *lane.StallError
	if errors.As(err, &stall) {
		c.lane.Fail(stall)
	}
}

// doubts are what speaks for a conn's path being dead.
type doubts struct {
	mark       uint64    // bytes that had come on it when that was found first
	since      time.Time // when; zero: not yet
	excused    time.Time // when the server said last why it does not answer
	challenged bool      // a ping is under way that has to be answered in time
	pinged     bool      // a ping of the health check is under way
}

// afterStallLocked casts doubt on the conns that were not heard since c fell silent.
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
			p.vetLocked(x, doubted)
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

// challengeLocked condemns a lane on which a ping brings nothing. One on which replies are due
// already is left to the inquiry about it, unless none brought anything: the server may
// have its reasons to hold them back.
func (p *Pool) challengeLocked(c *member, busy bool) {
	d := &c.doubts
	if c.draining || d.challenged || c.lane.Depth() > 0 && (!busy || time.Since(d.excused) < 2*p.patience()) {
		return
	}
	p.pingLaneLocked(c, true)
}

// pingLaneLocked pings a lane that others may use. With mustAnswer it is condemned where that brings
// nothing in time; else its silence is looked into as that of any lane.
func (p *Pool) pingLaneLocked(c *member, mustAnswer bool) {
	underway := &c.doubts.pinged
	if mustAnswer {
		underway = &c.doubts.challenged
	}
	*underway = true
	p.errands++
	go func(ctx context.Context, g *Subpool) {
		opt := lane.Options{Owner: g}
		if mustAnswer {
			condemnSilent(c, p.check(ctx, c.lane, g.key, opt))
		} else {
			_, _ = c.lane.Do(ctx, g.key.Ping(), opt)
		}
		p.mu.Lock()
		p.errands--
		*underway = false
		if ctx.Err() != nil && c.class != closing && c.lane.Depth() <= mostOwn {
			p.closeLocked(c, errCut.Error()) // nobody waits for what is due
		}
		p.unlock()
	}(p.dials, c.group)
}

// mostOwn is how many replies may be due on a lane that nobody waits for: two pings, and a proof beside.
const mostOwn = 3

// usedAt is when a lane was last used by others than the health check.
func (c *member) usedAt() time.Time {
	if used := c.lane.UsedAt(); used.After(c.checkedAt.Add(c.pool.patience())) {
		return used
	}
	return c.quietSince
}
