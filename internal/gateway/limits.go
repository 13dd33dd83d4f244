package gateway

import (
	"bytes"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/gateway/turns"
)

// allowance is what a client may use, if its user or its rate has limits. The client's lock guards it.
type allowance struct {
	user         *quota.User // counts the client; nil: none
	pin, monitor *quota.User // count the client's dedicated connections
	rate         *rateLimit  // nil: no limit
}

// rateLimit holds back a client that is over a rate.
type rateLimit struct {
	quota.Client
	timer *time.Timer // ends the wait
	waits bool        // the client takes no request
}

// applyLimitsLocked applies the limits of the client's user, and of the settings.
func (c *client) applyLimitsLocked() {
	if c.gone {
		return
	}
	var u *quota.User
	if of := c.login.user; of != nil && c.session.Authenticated() {
		u = of.quota
	}
	if c.allowance == nil {
		if u == nil && c.set.ClientRate.IsZero() {
			return
		}
		c.allowance = &allowance{}
	}
	a := c.allowance
	if a.user != u {
		u.EnterBeyond()
		a.user.Leave()
		a.user = u
	}
	limited := !c.set.ClientRate.IsZero() || u.HasRate()
	switch {
	case limited && a.rate == nil:
		a.rate = &rateLimit{}
	case !limited && (a.rate == nil || !a.rate.waits):
		a.rate = nil
		return
	}
	if a.rate.Limit(c.set.ClientRate, u, time.Now()); a.rate.waits {
		a.rate.timer.Reset(0)
	}
}

// leaveLimitsLocked ends all that the client counts for.
func (c *client) leaveLimitsLocked() {
	a := c.allowance
	if a == nil {
		return
	}
	a.user.Leave()
	a.user = nil
	if a.rate != nil && a.rate.timer != nil {
		a.rate.timer.Stop()
	}
}

// admitLocked reports whether the client may take another request now. If a rate forbids it, the client resumes later.
func (c *client) admitLocked() bool {
	if c.allowance == nil || c.allowance.rate == nil {
		return true
	}
	r, now := c.allowance.rate, time.Now()
	wait, began := r.Admit(now, c.set.LimitWait)
	if began {
		c.g.count.limitWaits.Add(1)
	}
	if wait == 0 {
		return true
	}
	r.waits = true
	wait = untilResume(now, wait)
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, c.endWait)
	} else {
		r.timer.Reset(wait)
	}
	return false
}

// resumeEvery is the interval at which clients that are over a rate resume, all at the same time: a wake-up for each of them
// would cost more than their commands. The commands that a client may send by then follow at once.
const resumeEvery = 5 * time.Millisecond

// untilResume returns the time until the next end of an interval after a wait.
func untilResume(now time.Time, wait time.Duration) time.Duration {
	return wait + resumeEvery - time.Duration(now.Add(wait).UnixNano()%int64(resumeEvery))
}

// endWait resumes a client that was over a rate.
func (c *client) endWait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.allowance.rate
	if c.gone || r == nil || !r.waits { // the timer of an earlier wait, which a change of the limits has ended too
		return
	}
	r.waits = false
	c.out.Resume() // within the lock, because no goroutine may start for a client that has left
}

// overRateLocked reports whether the client waits because of a rate.
func (c *client) overRateLocked() bool {
	return c.allowance != nil && c.allowance.rate != nil && c.allowance.rate.waits
}

// tookLocked notes that the client has taken a request. It returns why the request must be refused, or an empty string.
func (c *client) tookLocked(bytes int) (refusal string) {
	if c.allowance == nil || c.allowance.rate == nil {
		return ""
	}
	r := c.allowance.rate
	refusal = r.Refusal()
	r.Took(bytes)
	return refusal
}

// chargeLocked charges bytes of a reply.
func (c *client) chargeLocked(bytes int) {
	if c.allowance != nil && c.allowance.rate != nil {
		c.allowance.rate.Charge(bytes)
	}
}

// refuseRequestLocked answers a request that waited too long because of a rate.
func (c *client) refuseRequestLocked(req request.Request, why string, batch *netio.FlushBatch) {
	c.g.count.limitRefused.Add(1)
	if c.set.CloseOnFailure {
		c.closing = true
		c.closeIfDoneLocked()
		return
	}
	step := c.session.Refuse(req.Raw, req.Args, retryable+" respool: "+why+" (the command was not sent)")
	c.startLocked(&step, batch)
}

// takeTurnLocked reports whether the client may take a request now, of which the reply may be large. Otherwise the client
// resumes later, and takes the request then.
func (c *client) takeTurnLocked(req request.Request) bool {
	p := &c.pending
	p.next = c.g.turns.Sizes.Expect(req.Raw, p.mean)
	if commands, open := c.session.Queued(); open {
		if !bytes.EqualFold(req.Args[0], []byte("EXEC")) {
			return true // the gateway answers it
		}
		p.next = c.g.turns.Sizes.ExpectAll(commands, p.mean)
	}
	n := p.next.Bytes()
	return p.inFlight+n <= turns.Free || c.turn.Covers(p.inFlight+n) || c.askTurnLocked(req.Args, n)
}

// askTurnLocked is takeTurnLocked for n bytes that exceed what the client may have in flight without a turn.
func (c *client) askTurnLocked(args [][]byte, n int) bool {
	if !session.IsMultiplexed(args) {
		return true // the gateway answers it, or it may take any time on a dedicated connection
	}
	if c.turn == nil {
		c.turn = &turns.Turn{}
	}
	p := &c.pending
	isFirst := !p.mean.Known() && !p.next.Exact()
	if p.queued > 0 || isFirst && p.n > 0 {
		return false // until the next reply
	}
	return c.g.turns.Ask(c.turn, p.inFlight, n, isFirst, &c.out)
}

// noteTurnLocked adds to a request that is posted or queued now how long it has waited for its turn. It returns that time.
func (c *client) noteTurnLocked(s *pendingReply, now int64) time.Duration {
	wait := max(now-c.turn.Since, 0)
	c.turn.Since = 0
	s.addWait(wait)
	return time.Duration(wait)
}

// trimTurnLocked returns what the client does not need after a reply.
func (c *client) trimTurnLocked() {
	p := &c.pending
	if c.turn.Waits() && p.inFlight+p.next.Bytes() <= turns.Free {
		c.g.turns.Leave(c.turn, p.inFlight)
		return
	}
	c.g.turns.Trim(c.turn, p.inFlight)
}

// endTurnLocked returns what the client does not need after it has taken its requests.
func (c *client) endTurnLocked() {
	if c.turn != nil {
		c.g.turns.End(c.turn, c.pending.inFlight)
	}
}

// leaveTurnLocked returns all that the client holds, and makes it wait for no turn.
func (c *client) leaveTurnLocked() {
	if c.turn != nil {
		c.g.turns.Leave(c.turn, 0)
	}
}
