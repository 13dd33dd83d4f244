package gateway

import (
	"bytes"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/observe"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// dispatchLocked answers a step, posts it, or queues it for the worker.
func (c *client) dispatchLocked(step *session.Step, batch *netio.FlushBatch) {
	switch step.Kind {
	case session.Answer, session.Close, session.Unsubscribe:
		if len(leaving(step)) > 0 || c.g.pauses.holds(step) {
			step.Barrier = step.Barrier || step.Kind == session.Close
			c.queueLocked(step)
			return
		}
		c.applyStepLocked(step)
		c.answerLocked(step.Reply, batch)
		c.out.SetProto(c.session.Identity().Proto)
		if c.closing {
			c.closeIfDoneLocked()
		}
	case session.Pinned:
		if c.pending.queued > 0 || !c.postPinLocked(step, batch) {
			c.queueLocked(step)
		}
		c.closeIfBlockedLocked()
	case session.Multiplexed:
		if c.pending.queued > 0 || !c.postLocked(step, batch) {
			c.queueLocked(step)
		}
	case session.Transaction:
		if step.OnPin {
			if c.pending.queued > 0 || !c.postPinLocked(step, batch) {
				c.queueLocked(step)
			}
			return
		}
		if step.Barrier || c.pending.queued > 0 || !c.postLocked(step, batch) {
			c.queueLocked(step)
		}
	default:
		c.queueLocked(step)
	}
}

// applyStepLocked applies a step that the gateway answers without a server, except for the reply.
func (c *client) applyStepLocked(step *session.Step) {
	if step.Reset {
		c.subscriptions.close() // they have no topics any more
		c.changeUserLocked("")
		c.login.user = c.set.users[command.DefaultUser]
		c.applyLimitsLocked()
	}
	c.releaseLocked(step.Release)
	c.closing = c.closing || step.Kind == session.Close
}

// leaving returns the topics that a step removes from the client. The client gets all their messages before the reply,
// and none after it.
func leaving(step *session.Step) []session.Topic {
	if step.Reset {
		return step.Release.Topics
	}
	return step.Topics
}

// postLocked posts a step to a lane. It returns false if no lane accepts it now.
func (c *client) postLocked(step *session.Step, batch *netio.FlushBatch) bool {
	if c.g.pauses.holds(step) {
		return false
	}
	s := c.postRawLocked(step.Raw, step.Replies, step.Info != nil && step.Info.ReadOnly, publishes(step), c.login.identity(step.Identity), batch)
	if s == nil {
		return false
	}
	if s.silent = step.Silent; step.Kind != session.Multiplexed {
		s.step = &stepReplies{Step: *step}
	}
	return true
}

// postRawLocked posts a request with a number of replies to a lane. It returns nil if no lane accepts the request now.
// The replies wait for the client's lock.
func (c *client) postRawLocked(raw []byte, replies int, reads, publishes bool, key engine.Identity, batch *netio.FlushBatch) *pendingReply {
	if !reads {
		c.route.wrote()
	}
	l, opt := c.route.pick(c.g.engine, key, c.engineLoop(), raw, reads, c.pending.next.Large(), c.pending.posted)
	if l == nil || publishes && c.behindWriteLocked(l) {
		return nil
	}
	tag, s := c.pending.push(key)
	s.state, s.reads, s.want = posted, reads, replies
	if len(raw) < lane.LeastLoan {
		if l.Post(raw, replies, c, tag, opt) != nil {
			c.pending.undo()
			return nil
		}
		s.from, s.to = c.pending.replay.add(raw)
	} else if !c.postLoanLocked(s, raw, l, tag, opt) {
		return nil
	}
	if s.sample = (c.in.commands+uint64(c.id))%sampleEvery == 0; s.sample { // the id spreads the sample over clients that send one command
		s.at = time.Now().UnixNano()
	} else if c.set.SlowThreshold > 0 {
		s.at = batch.Now()
	}
	if c.turn != nil && c.turn.Since != 0 {
		c.tally().queue.addTime(c.noteTurnLocked(s, batch.Now()))
	}
	s.via = c.route.posted(l)
	c.pending.posted++
	c.pending.launch(s)
	batch.AddLane(l)
	return s
}

// postLoanLocked posts a large request from the memory of the replay buffer. It returns false, and s is not pending any
// more, if the lane does not accept it now.
func (c *client) postLoanLocked(s *pendingReply, raw []byte, l *lane.Lane, tag uint64, opt lane.Options) bool {
	replay := &c.pending.replay
	loan := replay.lend(raw)
	if l.PostLoan(loan, s.want, c, tag, opt) != nil {
		replay.takeBack(loan, raw)
		c.pending.undo()
		return false
	}
	s.from, s.to = replay.addLoan(loan)
	return true
}

// sampleEvery is the number of commands for each one whose time is measured.
const sampleEvery = 64

// postPinLocked posts a step to the session's dedicated connection. Its replies keep their order among the pushes
// there.
func (c *client) postPinLocked(step *session.Step, batch *netio.FlushBatch) bool {
	if c.dedicated.pin == nil || c.g.pauses.holds(step) {
		return false
	}
	tag, s := c.pending.push(c.login.identity(step.Identity))
	s.state, s.silent, s.want = posted, step.Silent, step.Replies
	s.step, s.at = &stepReplies{Step: *step, size: len(step.Raw)}, batch.Now()
	if c.set.observes() {
		s.step.about = observe.DescribeRaw(step.Raw, commandsOf(step))
	}
	s.from, s.to = c.pending.replay.add(nil)
	l := c.dedicated.pin.Lane()
	if l.Post(step.Raw, step.Replies, c, tag, c.g.optionsOf(step)) != nil {
		c.pending.undo()
		return false
	}
	if step.Barrier {
		c.barrier.begin(&s.step.Step)
	}
	if c.turn != nil && c.turn.Since != 0 {
		c.tally().queue.addTime(c.noteTurnLocked(s, s.at))
	}
	c.route.lane, c.route.dedicated = l, true
	if c.g.optionsOf(step).Block == command.NoBlock { // others may take any time
		c.pending.launch(s)
	}
	c.pending.posted++
	batch.AddLane(l)
	return true
}

// barrier is a step after which a client may take no request until it is done. The step first waits for all earlier
// replies. The client's lock guards it.
type barrier struct {
	step    *session.Step // nil: no barrier
	running bool
}

// wait makes a copy of a step wait for the earlier replies.
func (b *barrier) wait(step *session.Step) {
	kept := *step
	kept.Raw = bytes.Clone(step.Raw)
	b.step = &kept
}

// take returns the step that waits, and removes it. It returns nil if no step waits.
func (b *barrier) take() *session.Step {
	if b.running {
		return nil
	}
	step := b.step
	b.step = nil
	return step
}

// begin notes that a step runs.
func (b *barrier) begin(step *session.Step) { b.step, b.running = step, true }

// end removes the step if it is the one that runs.
func (b *barrier) end(step *session.Step) {
	if b.running && b.step == step {
		b.step, b.running = nil, false
	}
}

// closed reports whether the client may take no request.
func (b *barrier) closed() bool { return b.step != nil }

// queueLocked queues a step for the worker, or parks it if it is a blocking command that may wait in the engine.
func (c *client) queueLocked(step *session.Step) {
	_, s := c.pending.push(c.login.identity(step.Identity))
	s.state, s.silent, s.want = queued, step.Silent, step.Replies
	if s.reads = step.Info != nil && step.Info.ReadOnly; !s.reads {
		c.route.wrote()
	}
	s.from, s.to = c.pending.replay.add(step.Raw)
	s.at = time.Now().UnixNano()
	if c.turn != nil && c.turn.Since != 0 {
		c.tally().queue.extend(c.noteTurnLocked(s, s.at))
	}
	s.level, s.behind = levelOf(step), c.g.pauses.behind(step)
	if step.Kind != session.Multiplexed {
		s.step = &stepReplies{Step: *step}
		if step.Barrier {
			c.barrier.begin(&s.step.Step)
		}
	}
	if mayPark(step) && !c.g.pauses.holds(step) && c.parkLocked(s) {
		return
	}
	if (step.Kind == session.Multiplexed || step.Kind == session.Transaction) && c.awaitsConnectionLocked(s) {
		c.pending.launch(s)
	}
	c.pending.queued++
	c.startWorkerLocked()
}

// answerLocked sends a reply after those of the earlier requests.
func (c *client) answerLocked(reply []byte, batch *netio.FlushBatch) {
	if len(reply) == 0 {
		return
	}
	c.chargeLocked(len(reply))
	if c.pending.n > 0 {
		_, s := c.pending.pushSame()
		c.pending.fill(s, reply)
		return
	}
	if c.out.Answer(reply, c.session.Identity().Proto) {
		if batch == nil {
			c.out.Flush()
		} else {
			batch.AddOutput(&c.out)
		}
	}
}
