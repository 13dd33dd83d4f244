package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"

	"github.com/seed-2b0d76a6/respool/resp"
)

// client is one connection of a client. Its link gives it bytes, lanes give it replies,
// and a worker, while there is one, carries out what has to be waited for.
//
// Locks are taken in this order: client.mu, those of lanes, pools and hubs, output.mu.
// No two clients' mu are held at a time.
type client struct {
	g           *Gateway
	id          int64
	addr, laddr string
	host        string // that counts against MaxClientsPerAddress
	born        time.Time
	out         netio.Output

	mu        sync.Mutex
	session   *session.Session
	set       *settings // as of its last request
	in        input
	pending   pendingReplies
	route     laneRoute
	dedicated dedicated
	user      *user                        // one of the gateway's own; nil: none
	token     string                       // of its user among the engine's
	tokens    []string                     // that, and those under which it is subscribed, but for the empty one
	topics    map[string]*pubsub.Listening // by the token under which they were subscribed to
	ticket    *ticket                      // of the subscription that is not confirmed yet
	waits     string                       // what the worker waits for before it sends anything, in the console's words
	barrier   *session.Step                // waits until all before it is answered, or for its own end
	ctx       context.Context
	cancel    context.CancelFunc

	// The flags stand together: there may be many thousand clients.
	working bool // the worker runs
	begun   bool // barrier is under way
	closing bool // no more is taken: the connection ends once all is answered
	gone    bool // the client has left
	reserve bool // it came when MaxClients were there: an operator, or nobody
}

// Input takes bytes that came. It reports whether to read on; else the link's resume
// follows when it is time.
func (c *client) Input(b []byte, batch *netio.FlushBatch) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false
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

// Room is where the client's link, which alone may ask, is to read to: straight into a large request if one
// has begun, else into b.
func (c *client) Room(b []byte) []byte {
	if !c.in.large.Load() {
		return b
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.room(b)
}

// Resume goes on with what was kept. It reports whether to read on.
func (c *client) Resume(batch *netio.FlushBatch) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pausedLocked() {
		return false
	}
	rest, more := c.scanLocked(c.in.rest, batch)
	c.in.keep(rest)
	c.closeIfDoneLocked()
	c.in.stopped = !more
	return more && !c.in.eof
}

// Kept is how many bytes of input are kept.
func (c *client) Kept() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.in.rest)
}

// Ended takes the end of what the client sends: what it has sent is answered still.
func (c *client) Ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.eof = true
	c.hangUpLocked()
	c.closeIfDoneLocked()
}

// HangUp takes note that the client sends no more than what it has sent, of which some may not be read yet.
func (c *client) HangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hangUpLocked()
}

// hangUpLocked ends a command that blocks: an element would be popped for nobody.
func (c *client) hangUpLocked() {
	c.in.hungUp = true
	if c.dedicated.blocked != nil && c.cancel != nil {
		c.cancel()
	}
	c.closeIfBlockedLocked()
}

// closeIfBlockedLocked ends the connection of a client that sends no more if its own connection is held up by a
// command that blocks.
func (c *client) closeIfBlockedLocked() {
	if c.in.hungUp && c.blockedOnPinLocked() {
		c.abandonLocked()
	}
}

// blockedOnPinLocked reports whether a blocking command is pending on the client's own connection.
func (c *client) blockedOnPinLocked() bool {
	s := c.pending.front()
	return s != nil && s.state == posted && s.step != nil && s.step.OnPin && c.g.optionsOf(&s.step.Step).Block != command.NoBlock
}

// abandonLocked ends the connection within a command that is over because nobody waits for its reply. Like a server, it
// writes nothing of it.
func (c *client) abandonLocked() {
	c.closing = true
	c.out.End()
}

// scanLocked takes requests until there are no more or the client has to wait,
// and gives the rest.
func (c *client) scanLocked(b []byte, batch *netio.FlushBatch) (rest []byte, more bool) {
	for !c.closing && !c.gone {
		if s := c.g.settings.Load(); s != c.set && !c.applySettingsLocked(s) {
			c.out.Close()
			return nil, false
		}
		c.in.scanner.Unauthenticated = !c.session.Authenticated()
		req, n, err := c.in.scanner.Next(b)
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
			if req.Owned {
				c.pending.replay.given = req.Raw
			}
			c.handleLocked(req, batch)
			if req.Owned {
				c.pending.replay.given = nil
			}
		}
		if c.pausedLocked() {
			return b, false
		}
	}
	return nil, false
}

// applySettingsLocked makes new settings the client's, with the rights that its user has by them. It reports whether
// the client may stay.
func (c *client) applySettingsLocked(s *settings) bool {
	c.set = s
	c.in.scanner.Limits = s.requestLimits()
	c.session.Reconfigure(&s.session)
	c.user = s.users[c.session.Identity().User]
	return s.users == nil || !c.session.Authenticated() || c.user != nil && !c.user.disabled
}

// pausedLocked reports whether no request may be taken now.
func (c *client) pausedLocked() bool {
	return c.barrier != nil || c.closing || c.gone || c.pending.full(c.set.Pipeline, c.set.OutputBuffer) || c.out.Overfull(c.set.OutputBuffer)
}

// malformedLocked answers what is no request, and ends the connection.
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

// handleLocked takes one request.
func (c *client) handleLocked(req request.Request, batch *netio.FlushBatch) {
	if c.pending.n == 0 && c.dedicated.pinLost() {
		c.applyOutcomeLocked(c.session.Lost())
		if c.closing {
			c.closeIfDoneLocked()
			return
		}
	}
	if c.postMultiplexedLocked(req, batch) {
		return
	}
	step := c.nextLocked(req)
	if step.Kind == session.Subscribe && len(step.Topics) > 0 {
		c.ticket = c.g.pauses.enter(step.Topics)
	}
	if step.Kind == session.Multiplexed && c.pending.queued == 0 && c.postLocked(&step, batch) {
		return
	}
	if step.Barrier && c.pending.n > 0 {
		c.deferLocked(&step)
		return
	}
	c.dispatchLocked(&step, batch)
}

// postMultiplexedLocked posts a request of the commonest kind, at the least cost. It reports whether the
// request was one of that kind.
func (c *client) postMultiplexedLocked(req request.Request, batch *netio.FlushBatch) bool {
	if c.pending.queued > 0 || c.reserve || c.user != nil || c.g.pauses.active.Load() {
		return false
	}
	info, ok := c.session.NextMultiplexed(req.Args)
	return ok && c.postRawLocked(req.Raw, 1, info != nil && info.ReadOnly, c.key(c.session.Identity()), batch) != nil
}

// nextLocked asks the session, unless the user may not do such a thing.
func (c *client) nextLocked(req request.Request) session.Step {
	if c.reserve {
		if text := c.g.denyReason(c, req.Args); text != "" {
			return c.session.Refuse(req.Raw, req.Args, text)
		}
	}
	if c.user != nil && c.session.Authenticated() {
		info, class, known := c.g.classify(req.Args)
		if known == command.NotAsked && !c.user.unrestricted() {
			return c.session.Learn(req.Raw)
		}
		if text := c.user.denyReason(req.Args, info, class); text != "" {
			return c.session.Refuse(req.Raw, req.Args, text)
		}
	}
	return c.session.Next(req.Raw, req.Args)
}

// deferLocked makes a step the barrier, with memory of its own.
func (c *client) deferLocked(step *session.Step) {
	kept := *step
	kept.Raw = bytes.Clone(step.Raw)
	c.barrier = &kept
}

// closeIfDoneLocked ends the connection if nothing is left to be done on it.
func (c *client) closeIfDoneLocked() {
	if c.pending.n > 0 || c.barrier != nil || c.gone {
		return
	}
	if c.closing || c.in.ended() {
		c.closing = true // what comes now would be carried out, and its reply get lost
		c.out.End()
	}
}

// applyOutcomeLocked does what follows from a step that is done.
func (c *client) applyOutcomeLocked(out session.Outcome) {
	c.dedicated.release(out.Release)
	c.closing = c.closing || out.Close
	c.out.SetProto(c.session.Identity().Proto)
}

// Left takes the end of the connection: everything that it held is given e.
func (c *client) Left() {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	c.gone = true
	c.g.pauses.leave(c.ticket)
	if c.cancel != nil {
		c.cancel()
	}
	c.dedicated.release(c.session.Ended())
	for _, l := range c.topics {
		l.Close()
	}
	c.topics = nil
	for len(c.tokens) > 0 {
		c.leaveUserLocked(c.tokens[0])
	}
	c.pending.drop()
	c.in.rest, c.barrier, c.route.lane = nil, nil, nil
	c.mu.Unlock()
	c.out.Close()
	c.g.forget(c)
}
