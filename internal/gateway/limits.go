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

// takeTurnLocked reports whether the client may take a request now, of which the reply may be large. more reports that the
// client has sent more than this request. Otherwise the client resumes later, and takes the request then.
func (c *client) takeTurnLocked(req request.Request, more bool) bool {
	commands, n, open := c.session.Queued()
	if open && !bytes.EqualFold(req.Args[0], []byte("EXEC")) {
		return true // the gateway answers it
	}
	p := &c.pending
	p.next = c.expectLocked(req, commands, p.mean)
	trusted := c.window.Allows(int(p.n)+max(n-1, 0), more) || p.next.Exact()
	if all := p.inFlight + p.next.Bytes(); trusted && (all <= turns.Free || c.turn.Covers(all)) {
		return true
	}
	return c.askTurnLocked(req, commands, trusted)
}

// expectLocked returns what to expect of a request, or of an EXEC of these commands.
func (c *client) expectLocked(req request.Request, commands []byte, mean turns.Mean) turns.Expected {
	if commands != nil {
		return c.g.turns.Sizes.ExpectAll(commands, mean)
	}
	return c.g.turns.Sizes.Expect(req.Raw, mean)
}

// askTurnLocked is takeTurnLocked for a request that exceeds what the client may have in flight without a turn, or whose
// expected size is not trusted.
func (c *client) askTurnLocked(req request.Request, commands []byte, trusted bool) bool {
	if !session.IsMultiplexed(req.Args) {
		return true // the gateway answers it, or it may take any time on a dedicated connection
	}
	if c.aloneOnPinLocked() {
		return true // others may wait for its connection
	}
	if c.turn == nil {
		c.turn = &turns.Turn{}
	}
	p := &c.pending
	if p.queued > 0 || !trusted && p.n > 0 {
		return false // until the next reply
	}
	if !trusted {
		p.next = max(p.next, c.expectLocked(req, commands, 0))
	}
	n := p.next.Bytes()
	return p.inFlight+n <= turns.Free || c.g.turns.Ask(c.turn, p.inFlight, n, !trusted, &c.out)
}

// aloneOnPinLocked reports whether the next request is the only one of a client with a dedicated connection.
func (c *client) aloneOnPinLocked() bool { return c.dedicated.pin != nil && c.pending.n == 0 }

// awaitsConnectionLocked reports whether a queued request waits for nothing but a connection to a working server. Others may wait
// for long, for the end of a pause or for a node of a cluster that is down, and keep no turn meanwhile.
func (c *client) awaitsConnectionLocked(s *pendingReply) bool {
	return !c.g.engine.Clustered() && !(c.g.pauses.active.Load() && c.g.pauses.paused(s.level) != nil)
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
	if c.turn.Waits() && (p.inFlight+p.next.Bytes() <= turns.Free || c.aloneOnPinLocked()) {
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
