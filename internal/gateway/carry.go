package gateway

import (
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// carryLocked does what a step says.
func (c *client) carryLocked(step *session.Step, batch *netio.FlushBatch) {
	switch step.Kind {
	case session.Answer, session.Close, session.Unsubscribe:
		if len(leaving(step)) > 0 || c.g.gate.holds(step) {
			step.Barrier = step.Barrier || step.Kind == session.Close
			c.queueLocked(step)
			return
		}
		c.settleStepLocked(step)
		c.answerLocked(step.Reply, batch)
		c.out.SetProto(c.session.Identity().Proto)
		if c.closing {
			c.settleLocked()
		}
	case session.Pinned:
		if c.queued > 0 || !c.postPinLocked(step, batch) {
			c.queueLocked(step)
		}
		c.leaveBlockedLocked()
	case session.Share:
		if c.queued > 0 || !c.postLocked(step, batch) {
			c.queueLocked(step)
		}
	case session.Transaction:
		if step.OnPin {
			if c.queued > 0 || !c.postPinLocked(step, batch) {
				c.queueLocked(step)
			}
			return
		}
		if step.Barrier || c.queued > 0 || !c.postLocked(step, batch) {
			c.queueLocked(step)
		}
	default:
		c.queueLocked(step)
	}
}

// settleStepLocked does what follows from a step that the gateway answers by itself, but for the answer.
func (c *client) settleStepLocked(step *session.Step) {
	if step.Reset {
		for _, l := range c.topics {
			l.Close() // they hold nothing any more
		}
		c.topics = nil
		c.becomeLocked("")
		c.user = c.set.users[defaultUser]
	}
	c.releaseLocked(step.Release)
	c.closing = c.closing || step.Kind == session.Close
}

// leaving are the topics that a step takes from the client. No message of them may come behind its reply, and none be
// missing before that.
func leaving(step *session.Step) []session.Topic {
	if step.Reset {
		return step.Release.Topics
	}
	return step.Topics
}

// key says which connections the session's commands go out on.
func (c *client) key(k session.Identity) engine.Identity {
	return engine.Identity{User: c.token, DB: k.DB, Proto: k.Proto}
}

// postLocked puts a step on a lane, if one takes it now.
func (c *client) postLocked(step *session.Step, batch *netio.FlushBatch) bool {
	if c.g.gate.holds(step) {
		return false
	}
	s := c.postRawLocked(step.Raw, step.Replies, step.Info != nil && step.Info.ReadOnly, c.key(step.Key), batch)
	if s == nil {
		return false
	}
	if s.silent = step.Silent; step.Kind != session.Share {
		s.step = &stepSlot{Step: *step}
	}
	return true
}

// postRawLocked puts a request with so many replies on a lane, and gives its slot, if a lane takes it now.
// No reply is looked at before the client is unlocked.
func (c *client) postRawLocked(raw []byte, replies int, reads bool, key engine.Identity, batch *netio.FlushBatch) *slot {
	l, opt := c.laneLocked(key, reads)
	if l == nil {
		return nil
	}
	tag, s := c.pushLocked(key)
	s.state, s.reads, s.want = posted, reads, replies
	if l.Post(raw, replies, c, tag, opt) != nil {
		c.slots.undo()
		return nil
	}
	s.from, s.to = c.log.add(raw)
	if (c.commands+uint64(c.id))%sampleEvery == 0 { // clients that send one are sampled too
		s.at = time.Now().UnixNano()
	}
	c.lane = l
	c.posted++
	batch.AddLane(l)
	return s
}

// sampleEvery is of how many commands one has its time taken.
const sampleEvery = 64

// laneLocked picks the lane for a command: the one that carries what the client has
// posted, while there is any.
func (c *client) laneLocked(key engine.Identity, reads bool) (*lane.Lane, lane.Options) {
	if c.lanes == nil || key != c.lanesKey {
		c.lanes, c.lanesKey = c.g.engine.Lanes(key), key
	}
	l, opt := c.lanes.Lane(reads)
	switch {
	case c.posted == 0:
		c.onPin = false
	case c.onPin:
		return nil, opt // what is due comes on the session's own connection
	case l != nil:
		return c.lane, opt
	}
	return l, opt
}

// postPinLocked puts a step on the session's own connection. Its replies come in their order
// among the pushes there.
func (c *client) postPinLocked(step *session.Step, batch *netio.FlushBatch) bool {
	if c.pin == nil || c.g.gate.holds(step) {
		return false
	}
	tag, s := c.pushLocked(c.key(step.Key))
	s.state, s.silent, s.want = posted, step.Silent, step.Replies
	s.step = &stepSlot{Step: *step}
	s.from, s.to = c.log.add(nil)
	l := c.pin.Lane()
	if l.Post(step.Raw, step.Replies, c, tag, c.g.optionsOf(step)) != nil {
		c.slots.undo()
		return false
	}
	if step.Barrier {
		c.barrier, c.begun = &s.step.Step, true
	}
	c.lane, c.onPin = l, true
	c.posted++
	batch.AddLane(l)
	return true
}

// endBarrierLocked lets requests in again that waited for a step's end.
func (c *client) endBarrierLocked(step *session.Step) {
	if c.begun && c.barrier == step {
		c.barrier, c.begun = nil, false
	}
}

// pushLocked makes a slot. While there are any they have one key: steps that change it are barriers.
func (c *client) pushLocked(key engine.Identity) (tag uint64, s *slot) {
	if c.slots.n == 0 {
		c.slotKey = key
	}
	return c.slots.push()
}

// queueLocked leaves a step to the worker.
func (c *client) queueLocked(step *session.Step) {
	_, s := c.pushLocked(c.key(step.Key))
	s.state, s.silent, s.want = queued, step.Silent, step.Replies
	s.reads = step.Info != nil && step.Info.ReadOnly
	s.from, s.to = c.log.add(step.Raw)
	s.at = time.Now().UnixNano()
	s.level, s.behind = levelOf(step), c.g.gate.behind(step)
	if step.Kind != session.Share {
		s.step = &stepSlot{Step: *step}
		if step.Barrier {
			c.barrier = &s.step.Step
			c.begun = true
		}
	}
	c.queued++
	c.kickLocked()
}

// answerLocked sends a reply in its turn.
func (c *client) answerLocked(reply []byte, batch *netio.FlushBatch) {
	if len(reply) == 0 {
		return
	}
	if c.slots.n > 0 {
		_, s := c.slots.push()
		c.fillLocked(s, reply)
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
