package gateway

import (
	"bytes"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/lane"

	"github.com/seed-2b0d76a6/respool/resp"
)

// fillLocked keeps a reply until its turn.
func (c *client) fillLocked(s *slot, reply []byte) {
	s.state, s.reply = answered, reply
	c.behind += len(reply)
}

// Reply takes a reply from a lane.
func (c *client) Reply(tag uint64, frame []byte, owned bool, b *lane.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots.at(tag)
	if s == nil || s.state != posted {
		return
	}
	if s.step != nil {
		c.replyToStepLocked(s, frame, owned, b)
		return
	}
	c.posted--
	c.learnLocked(s.sent + len(frame))
	if s.at != 0 {
		c.g.count.server.add(s.at)
		c.g.count.queue.none()
	}
	if s.sent == 0 && frame[0] == '-' && c.refusedLocked(s, [][]byte{frame}) {
		return
	}
	if tag != c.slots.head || s.silent {
		switch {
		case s.silent:
			frame = nil
		case !owned:
			frame = bytes.Clone(frame)
		}
		c.fillLocked(s, frame)
		c.advanceLocked(b)
		return
	}
	if c.out.Append(frame, owned) {
		b.Add(c)
	}
	if s.sent > 0 {
		c.out.ReleasePushes()
	}
	c.slots.pop()
	c.advanceLocked(b)
}

// Part takes a piece of a large reply from a lane, if it is that reply's turn.
func (c *client) Part(tag uint64, b []byte) (taken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots.at(tag)
	switch {
	case s == nil || s.state != posted:
		return true // nobody waits for it any more
	case s.step != nil || tag != c.slots.head:
		return false
	}
	if s.sent == 0 && !s.silent {
		c.out.HoldPushes() // none may come in the midst of it
	}
	s.sent += len(b)
	if !s.silent && c.out.Append(b, true) {
		c.out.Flush()
	}
	return true
}

// replyToStepLocked takes a reply to a step with several.
func (c *client) replyToStepLocked(s *slot, frame []byte, owned bool, b *lane.Batch) {
	if !owned {
		frame = bytes.Clone(frame)
	}
	s.step.frames = append(s.step.frames, frame)
	if s.want--; s.want > 0 {
		return
	}
	c.posted--
	switch {
	case !s.step.OnPin && c.refusedLocked(s, s.step.frames):
		s.want, s.step.frames = s.step.Replies, nil
		return
	case s.step.OnPin && c.pin != nil:
		for _, f := range s.step.frames {
			c.pin.Notice(f)
		}
	}
	out := c.session.Done(&s.step.Step, s.step.frames, nil)
	c.endBarrierLocked(&s.step.Step)
	c.fillLocked(s, out.Reply)
	c.followLocked(out)
	c.advanceLocked(b)
}

// refusedLocked leaves a slot to the worker if the server seems to have refused all of it. frames are the replies.
func (c *client) refusedLocked(s *slot, frames [][]byte) bool {
	if !c.g.engine.Refused(c.log.bytes(s.from, s.to), frames) {
		return false
	}
	for i := range frames {
		frames[i] = bytes.Clone(frames[i])
	}
	s.refusal = &engine.Refusal{Lane: c.lane, Frames: frames}
	c.requeueLocked(s)
	return true
}

// Fail takes the end of a lane, or of the patience with it.
func (c *client) Fail(tag uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots.at(tag)
	if s == nil || s.state != posted {
		return
	}
	c.posted--
	if s.sent > 0 && !s.silent {
		c.out.Close() // there is no way to say so within a reply
		return
	}
	if !(s.step != nil && s.step.OnPin) && c.g.engine.MayRetry(err, s.reads && !c.writesBehindLocked(tag)) {
		s.want = 1
		if s.step != nil {
			s.want, s.step.frames = s.step.Replies, nil
		}
		c.requeueLocked(s)
		return
	}
	f := c.g.failureOf(err, s.reads, s.step != nil && s.step.Waits())
	switch {
	case s.step != nil:
		out := c.session.Done(&s.step.Step, nil, f)
		c.endBarrierLocked(&s.step.Step)
		c.fillLocked(s, out.Reply)
		c.followLocked(out)
	case s.silent:
		c.fillLocked(s, nil)
	default:
		c.fillLocked(s, resp.AppendError(nil, f.text))
	}
	if f.ends {
		s.state = broken
	}
	c.advanceLocked(nil)
}

// writesBehindLocked reports whether a command that does more than read was posted behind a slot: it
// may have been carried out, and what is sent again would come after it.
func (c *client) writesBehindLocked(tag uint64) bool {
	for i := tag + 1; ; i++ {
		s := c.slots.at(i)
		if s == nil {
			return false
		}
		if s.state == posted && !s.reads {
			return true
		}
	}
}

// requeueLocked leaves a slot that was posted to the worker.
func (c *client) requeueLocked(s *slot) {
	s.state = queued
	if s.level = sharedLevel(s.reads); s.step != nil {
		s.level = levelOf(&s.step.Step)
	}
	c.queued++
	c.kickLocked()
}

// Flush writes what a batch of replies has left here.
func (c *client) Flush() { c.out.Flush() }

// advanceLocked sends replies whose turn it is, and begins what waited for that.
func (c *client) advanceLocked(b *lane.Batch) {
	first := false
	for s := c.slots.front(); s != nil && s.state == answered; s = c.slots.front() {
		first = c.out.Append(s.reply, true) || first
		c.behind -= len(s.reply)
		c.slots.pop()
	}
	if s := c.slots.front(); s != nil && s.state == broken {
		c.closing = true
		c.out.End()
	}
	if first {
		c.flushLocked(b)
	}
	if s := c.slots.front(); s == nil {
		c.lane = nil
		c.log.clear()
		if c.barrier != nil && !c.begun {
			c.startBarrierLocked()
		}
	} else {
		c.kickLocked()
		c.log.dropTo(s.from)
	}
	if c.eof || c.closing {
		c.settleLocked()
	}
	if c.stopped && !c.pausedLocked() {
		c.out.Resume()
	}
	c.leaveBlockedLocked()
}

// flushLocked writes what there is, or has it written at the end of a batch.
func (c *client) flushLocked(b *lane.Batch) {
	if b != nil {
		b.Add(c)
		return
	}
	c.out.Flush()
}

// startBarrierLocked begins the step that waited until all before it was answered.
func (c *client) startBarrierLocked() {
	step := c.barrier
	c.barrier = nil
	var batch netio.FlushBatch
	c.carryLocked(step, &batch)
	batch.Flush()
}
