package gateway

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/observe"
	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/gateway/turns"

	"github.com/seed-2b0d76a6/respool/resp"
)

// client is one connection of a client. Its link passes input, lanes pass replies, and a worker executes the commands
// that cannot be posted at once.
//
// Lock order: client.mu, then the locks of lanes, pools and hubs, then the lock of the output. No goroutine holds the
// mu of two clients.
type client struct {
	g               *Gateway
	id              int64
	addr, localAddr string
	host            string // counts against MaxClientsPerAddress
	connectedAt     time.Time
	out             netio.Output

	mu            sync.Mutex
	session       *session.Session
	set           *settings // settings at its last request
	in            input
	pending       pendingReplies
	route         laneRoute
	dedicated     dedicated
	login         login
	subscriptions subscriptions
	barrier       barrier
	execution     execution
	turn          *turns.Turn                // nil: it has needed none
	allowance     *allowance                 // nil: no limits, and no users with limits
	parked        *parkedCommand             // the blocking command that waits in the engine
	leaving       atomic.Pointer[Subscriber] // set while it moves with its subscriptions

	// The small fields are adjacent to save memory: there may be many thousand clients.
	window       turns.Window // bounds the pending requests, until long pipelines have had small replies
	loop         uint8        // the number of its event loop; 0: goroutines serve it
	closing      bool         // no more requests: the connection ends after the last reply
	gone         bool         // the client has left
	moves        bool         // it takes no request, so that it can move to another process
	stays        bool         // the other process has refused it
	away         bool         // another process may serve it
	operatorOnly bool         // it connected beyond MaxClients: only operatorCommands are allowed
}

// engineLoop returns the event loop of the client, as a user of lanes.
func (c *client) engineLoop() engine.Loop {
	if c.loop == 0 {
		return engine.Loop{}
	}
	return engine.Loop{Number: int(c.loop), Of: len(c.g.tallies) - 1}
}

// Input receives bytes from the link. It reports whether the link may read on; otherwise Resume follows.
func (c *client) Input(b []byte, batch *netio.FlushBatch) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false
	}
	if c.pending.n == 0 && c.in.between() {
		c.route.endPipeline()
	}
	c.in.receive(b)
	if paused := c.pausedLocked(); paused || len(c.in.rest) > 0 {
		c.in.stop(b)
		if !paused {
			c.out.Resume()
		}
		return false
	}
	rest, more := c.scanLocked(b, batch)
	c.in.rest = append(c.in.rest, rest...)
	c.in.stopped = !more
	return more
}

// Room returns the buffer for the next read: the rest of a large request, or b. Only the link calls it.
func (c *client) Room(b []byte) []byte {
	if !c.in.large.Load() {
		return b
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.room(b)
}

// Resume continues with the input that the client keeps. It reports whether the link may read on.
func (c *client) Resume(batch *netio.FlushBatch) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parked != nil {
		c.unparkLocked()
	}
	if c.pausedLocked() {
		c.endTurnLocked()
		return false
	}
	rest, more := c.scanLocked(c.in.rest, batch)
	c.in.keep(rest)
	c.closeIfDoneLocked()
	c.in.stopped = !more
	return more && !c.in.eof
}

// Kept returns how many bytes of input the client keeps.
func (c *client) Kept() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.in.rest)
}

// Ended handles the end of the input. The client still gets the replies to what it sent.
func (c *client) Ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.eof = true
	c.hangUpLocked()
	c.closeIfDoneLocked()
}

// HangUp notes that the client sends no more. The link may not have read all of its input yet.
func (c *client) HangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hangUpLocked()
}

// hangUpLocked cancels a blocking command: otherwise it would pop an element that no client receives.
func (c *client) hangUpLocked() {
	c.in.hungUp = true
	if c.leaveWaitLocked() {
		c.abandonLocked()
	}
	if c.dedicated.blocked != nil {
		c.execution.abort()
	}
	c.closeIfBlockedLocked()
	if c.moves && c.in.stopped && !c.pausedLocked() {
		c.out.Resume() // it stays: its last requests run here
	}
}

// closeIfBlockedLocked ends the connection of a client that sends no more while a blocking command is pending on its
// dedicated connection.
func (c *client) closeIfBlockedLocked() {
	if c.in.hungUp && c.blockedOnPinLocked() {
		c.abandonLocked()
	}
}

// blockedOnPinLocked reports whether a blocking command is pending on the client's dedicated connection.
func (c *client) blockedOnPinLocked() bool {
	s := c.pending.front()
	return s != nil && s.state == posted && s.step != nil && s.step.OnPin && c.g.optionsOf(&s.step.Step).Block != command.NoBlock
}

// abandonLocked ends the connection during a command whose reply nobody reads. Like a server, it does not write that
// reply.
func (c *client) abandonLocked() {
	c.closing = true
	c.out.End()
}

// scanLocked handles requests until the input ends or the client must wait. It returns the remaining bytes.
func (c *client) scanLocked(b []byte, batch *netio.FlushBatch) (rest []byte, more bool) {
	rest, more = c.takeRequestsLocked(b, batch)
	c.endTurnLocked()
	return rest, more
}

func (c *client) takeRequestsLocked(b []byte, batch *netio.FlushBatch) (rest []byte, more bool) {
	for !c.closing && !c.gone {
		if s := c.g.settings.Load(); s != c.set && !c.applySettingsLocked(s) {
			c.out.Close()
			return nil, false
		}
		if len(b) > 0 && !c.admitLocked() {
			return b, false
		}
		c.in.scanner.Unauthenticated = !c.session.Authenticated()
		req, n, err := c.in.scanner.Next(b)
		if req.Raw != nil && err == nil && !c.takeTurnLocked(req, len(b) > n) {
			if c.turn.Since == 0 {
				c.turn.Since = batch.Now()
			}
			return c.in.unread(req, b[:n], b[n:]), false
		}
		b = b[n:]
		switch {
		case err != nil:
			c.malformedLocked(err, batch)
			return nil, false
		case req.Raw == nil:
			c.in.noteLarge()
			return nil, true
		default:
			c.in.commands++
			if observe.Sampled(c.in.commands, c.id) && !c.set.NoHotKeys && c.session.Authenticated() {
				c.g.hot.Observe(req.Args)
			}
			if req.Owned {
				c.pending.replay.given = req.Raw
			}
			if refusal := c.tookLocked(len(req.Raw)); refusal == "" {
				c.handleLocked(req, batch)
			} else {
				c.refuseRequestLocked(req, refusal, batch)
			}
			if req.Owned {
				c.pending.replay.given = nil
			}
			if c.turn != nil {
				c.turn.Since = 0 // also if the request was answered without a server
			}
		}
		if c.pausedLocked() {
			return b, false
		}
	}
	return nil, false
}

// applySettingsLocked applies new settings, and the new permissions of the client's user. It reports whether the client
// may stay.
func (c *client) applySettingsLocked(s *settings) bool {
	c.set = s
	c.in.scanner.Limits = s.requestLimits()
	c.session.Reconfigure(&s.session)
	if c.g.engine.Clustered() {
		c.route.setOrder(s.Order)
	}
	u := s.users[c.session.Identity().User]
	c.login.user = u
	c.applyLimitsLocked()
	return s.users == nil || !c.session.Authenticated() || u != nil && !u.disabled
}

// pausedLocked reports whether the client may take no request now.
func (c *client) pausedLocked() bool {
	if c.away || c.moves && c.holdsStillLocked() {
		return true
	}
	return c.barrier.closed() || c.closing || c.gone || c.turn.Waits() || c.overRateLocked() || c.pending.full(c.set.Pipeline, c.set.OutputBuffer) || c.out.Overfull(c.set.OutputBuffer)
}

// malformedLocked answers a malformed request and ends the connection.
func (c *client) malformedLocked(err error, batch *netio.FlushBatch) {
	var pe *request.ProtocolError
	var reply []byte
	switch {
	case errors.As(err, &pe):
		reply = resp.AppendError(nil, "-"+pe.Reply())
	case errors.Is(err, request.ErrTooLarge):
		reply = resp.AppendError(nil, fmt.Sprintf("respool: the request is larger than %s (input_buffer)", sizeText(c.set.requestLimits().Total)))
	}
	c.g.count.malformed.Add(1)
	c.answerLocked(reply, batch)
	c.closing = true
	c.closeIfDoneLocked()
}

// handleLocked handles one request.
func (c *client) handleLocked(req request.Request, batch *netio.FlushBatch) {
	if c.pending.n == 0 && c.dedicated.pinLost() {
		c.applyOutcomeLocked(c.session.PinLost())
		if c.closing {
			c.closeIfDoneLocked()
			return
		}
	}
	if c.postMultiplexedLocked(req, batch) {
		return
	}
	step := c.nextLocked(req)
	c.startLocked(&step, batch)
}

// startLocked starts the step of a request.
func (c *client) startLocked(step *session.Step, batch *netio.FlushBatch) {
	if step.Kind == session.Subscribe && len(step.Topics) > 0 {
		c.subscriptions.ticket = c.g.pauses.enter(step.Topics)
	}
	if step.Kind == session.Multiplexed && c.pending.queued == 0 && c.postLocked(step, batch) {
		return
	}
	if step.Barrier && c.pending.n > 0 {
		c.barrier.wait(step)
		if step.Kind == session.Transaction {
			c.pending.inFlight += c.pending.next.Bytes() // it keeps its turn
		}
		return
	}
	c.dispatchLocked(step, batch)
}

// postMultiplexedLocked posts a request of the most frequent kind, at the lowest cost. It returns false for all other
// requests.
func (c *client) postMultiplexedLocked(req request.Request, batch *netio.FlushBatch) bool {
	if c.pending.queued > 0 || c.operatorOnly || c.login.user != nil || c.g.pauses.active.Load() {
		return false
	}
	info, ok := c.session.NextMultiplexed(req.Args)
	return ok && c.postRawLocked(req.Raw, 1, info != nil && info.ReadOnly, isPublish(info), c.login.identity(c.session.Identity()), batch) != nil
}

// nextLocked returns the session's step for a request, or a refusal if the user may not run it.
func (c *client) nextLocked(req request.Request) session.Step {
	if c.operatorOnly {
		if text := c.g.denyReason(c, req.Args); text != "" {
			return c.session.Refuse(req.Raw, req.Args, text)
		}
	}
	if u := c.login.user; u != nil && c.session.Authenticated() {
		info, class, known := c.g.classify(req.Args)
		if known == command.NotAsked && !u.unrestricted() {
			return c.session.Learn(req.Raw)
		}
		if text := u.denyReason(req.Args, info, class); text != "" {
			return c.session.Refuse(req.Raw, req.Args, text)
		}
	}
	return c.session.Next(req.Raw, req.Args)
}

// closeIfDoneLocked ends the connection if no reply is pending and no request can follow.
func (c *client) closeIfDoneLocked() {
	if c.pending.n > 0 || c.barrier.closed() || c.gone {
		return
	}
	if c.closing || c.in.ended() {
		c.closing = true // a later request would run and its reply would be lost
		c.out.End()
	}
}

// applyOutcomeLocked applies the outcome of a completed step.
func (c *client) applyOutcomeLocked(out session.Outcome) {
	c.releaseLocked(out.Release)
	c.closing = c.closing || out.Close
	c.out.SetProto(c.session.Identity().Proto)
}

// disconnect closes the connection and takes no more requests. If an element has come for a blocked client, it sends
// the element first.
func (c *client) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disconnectLocked()
}

func (c *client) disconnectLocked() {
	c.closing = true
	if c.leaveWaitLocked() || c.parked == nil {
		c.out.Close()
		return
	}
	c.unparkLocked() // or Resume does, after which the connection ends
}

// Left handles the end of the connection: it releases everything that the client holds.
func (c *client) Left() {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	c.gone = true
	if !c.leaveWaitLocked() && c.parked != nil {
		c.parked.drop()
		c.parked = nil
	}
	c.execution.abort()
	c.releaseLocked(c.session.End())
	c.leaveLimitsLocked()
	c.leaveTurnLocked()
	c.subscriptions.confirm(&c.g.pauses)
	c.subscriptions.close()
	c.login.leaveAll(c.g.engine)
	c.pending.drop()
	c.in.rest, c.barrier, c.route = nil, barrier{}, laneRoute{}
	c.mu.Unlock()
	c.out.Close()
	c.g.forget(c)
}
