package gateway

import (
	"bytes"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/gateway/turns"
	"github.com/seed-2b0d76a6/respool/internal/lane"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Reply receives a reply from a lane.
func (c *client) Reply(tag uint64, frame []byte, owned bool, b *lane.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.pending.at(tag)
	if s == nil || s.state != posted {
		return
	}
	if s.step != nil {
		c.replyToStepLocked(tag, s, frame, owned, b)
		return
	}
	c.unpostLocked(s)
	c.chargeLocked(len(frame))
	if s.sample {
		c.tally().server.add(s.at)
		if s.waited == 0 { // otherwise its wait counts already
			c.tally().queue.addTime(0)
		}
	}
	failed := s.sent == 0 && frame[0] == '-'
	if failed && c.refusedLocked(s, [][]byte{frame}) {
		return
	}
	size := s.sent + len(frame)
	c.learnLocked(s, size, failed)
	if tag != c.pending.head || s.silent {
		switch {
		case s.silent:
			frame = nil
		case !owned:
			frame = bytes.Clone(frame)
		}
		if c.notableLocked(s, size, b) {
			c.observeLocked(s, b.Now(), size, false).end(c, false)
		}
		c.pending.fill(s, frame)
		c.advanceLocked(b)
		return
	}
	first, behind := c.out.AppendBehind(frame, owned)
	if first {
		b.Add(c)
	}
	if behind || c.notableLocked(s, size, b) {
		c.observeLocked(s, b.Now(), size, behind).end(c, true)
	}
	if s.sent > 0 {
		c.out.ReleasePushes()
	}
	c.pending.pop()
	c.advanceLocked(b)
}

// unpostLocked notes that a posted request has its replies, or gets none from its lane.
func (c *client) unpostLocked(s *pendingReply) {
	c.pending.posted--
	c.route.done(s.via)
}

// learnLocked records the size of the reply to a request.
func (c *client) learnLocked(s *pendingReply, size int, failed bool) {
	p := &c.pending
	p.learn(size)
	c.noteRepliesLocked(s, 1, size, failed)
	if large := size >= turns.Large; !failed && (large || s.sample || s.expected.Exact() || !p.mean.Known()) {
		sizes, raw := &c.g.turns.Sizes, p.replay.bytes(s.from, s.to)
		sizes.LearnFirst(raw, size)
		if large || s.expected.Exact() {
			sizes.Learn(raw, s.expected, size)
		}
	}
	if !s.expected.Exact() {
		p.mean.Add(size)
	}
}

// Part receives a part of a large reply from a lane. It returns false if earlier replies are pending.
func (c *client) Part(tag uint64, b []byte) (taken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.pending.at(tag)
	switch {
	case s == nil || s.state != posted:
		return true // the request is not pending any more
	case s.step != nil || tag != c.pending.head:
		return false
	}
	if s.sent == 0 && !s.silent {
		c.out.HoldPushes() // no push may come within the reply
	}
	s.sent += len(b)
	c.chargeLocked(len(b))
	if !s.silent && c.out.Append(b, true) {
		c.out.Flush()
	}
	return true
}

// replyToStepLocked handles one of the replies to a step.
func (c *client) replyToStepLocked(tag uint64, s *pendingReply, frame []byte, owned bool, b *lane.Batch) {
	if !owned {
		frame = bytes.Clone(frame)
	}
	s.step.frames = append(s.step.frames, frame)
	if s.want--; s.want > 0 {
		return
	}
	c.unpostLocked(s)
	switch {
	case !s.step.OnPin && c.refusedLocked(s, s.step.frames):
		s.reset()
		return
	case s.step.OnPin:
		c.dedicated.notice(s.step.frames)
	}
	size := totalSize(s.step.frames)
	c.learnStepLocked(s, s.step.frames)
	seen := c.observeStepLocked(s, b.Now(), size)
	c.completeLocked(s, s.step.frames, nil)
	c.advanceLocked(b)
	seen.end(c, tag < c.pending.head)
}

// learnStepLocked records the size of the replies to a step.
func (c *client) learnStepLocked(s *pendingReply, frames [][]byte) {
	p, size, n := &c.pending, totalSize(frames), commandsOf(&s.step.Step)
	failed := frames[len(frames)-1][0] == '-'
	c.noteRepliesLocked(s, n, size, failed)
	if !failed {
		if size < turns.Large && (s.sample || !p.mean.Known()) {
			c.g.turns.Sizes.LearnSmall(p.replay.bytes(s.from, s.to))
		}
		if size >= turns.Large && s.step.Kind == session.Transaction {
			c.learnTransactionLocked(s, frames[len(frames)-1])
		}
	}
	p.mean.Add(size / n)
}

// noteRepliesLocked notes n replies to a request, or to the commands of a transaction, for the turns and the window.
func (c *client) noteRepliesLocked(s *pendingReply, n, size int, failed bool) {
	if c.turn != nil {
		c.g.turns.Replied(c.turn)
		if !failed && c.window.Narrow() {
			c.g.turns.NoteFirst(c.turn, size)
		}
	}
	c.window.Note(n, int(c.pending.n)-1+n, c.in.stopped, size, s.expected)
}

// learnTransactionLocked records the sizes of large replies in the reply to EXEC.
func (c *client) learnTransactionLocked(s *pendingReply, reply []byte) {
	if replies, err := resp.Elements(reply); err == nil {
		ok := make([][]byte, 1, len(replies)+1) // for MULTI
		c.g.turns.Sizes.LearnLarge(c.pending.replay.bytes(s.from, s.to), append(ok, replies...))
	}
}

// completeLocked completes a step without a worker: frames are its replies, err is the error if there are none.
func (c *client) completeLocked(s *pendingReply, frames [][]byte, err error) {
	out := c.session.Done(&s.step.Step, frames, err)
	c.barrier.end(&s.step.Step)
	c.chargeLocked(len(out.Reply))
	c.pending.fill(s, out.Reply)
	c.applyOutcomeLocked(out)
}

// refusedLocked queues a request for the worker if the server seems to have refused all of it. frames are the replies.
func (c *client) refusedLocked(s *pendingReply, frames [][]byte) bool {
	if !c.g.engine.RefusedByRole(c.pending.replay.bytes(s.from, s.to), frames) {
		return false
	}
	for i := range frames {
		frames[i] = bytes.Clone(frames[i])
	}
	s.refusal = &engine.Refusal{Lane: c.route.laneOf(s.via), Frames: frames, Version: c.route.version(), Replica: c.route.onReplica(s.via)}
	c.requeueLocked(s)
	return true
}

// Fail handles the end of a lane or a reply timeout.
func (c *client) Fail(tag uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.pending.at(tag)
	if s == nil || s.state != posted {
		return
	}
	replica := c.route.onReplica(s.via)
	c.unpostLocked(s)
	if s.sent > 0 && !s.silent {
		c.out.Close() // an error cannot follow a part of the reply
		return
	}
	if !(s.step != nil && s.step.OnPin) && c.g.engine.MayRetry(err, s.reads && !c.pending.writesBehind(tag), replica) {
		s.reset()
		c.requeueLocked(s)
		return
	}
	f := c.g.failureOf(err, s.reads, s.step != nil && s.step.Waits())
	switch {
	case s.step != nil:
		c.completeLocked(s, nil, f)
	case s.silent:
		c.pending.fill(s, nil)
	default:
		c.pending.fill(s, resp.AppendError(nil, f.text))
	}
	if f.closes {
		s.state = broken
	}
	c.advanceLocked(nil)
}

// requeueLocked queues a posted request for the worker.
func (c *client) requeueLocked(s *pendingReply) {
	s.state = queued
	if s.level = multiplexedLevel(s.reads); s.step != nil {
		s.level = levelOf(&s.step.Step)
	}
	if !c.awaitsConnectionLocked(s) {
		c.pending.land(s)
	}
	c.pending.queued++
	c.startWorkerLocked()
}

// Flush writes the replies of a batch.
func (c *client) Flush() { c.out.Flush() }

// advanceLocked sends the replies that are next in order, and starts the commands that waited for them.
func (c *client) advanceLocked(b *lane.Batch) {
	if c.turn != nil {
		c.trimTurnLocked()
	}
	flush, ends := c.pending.sendAnswered(&c.out)
	if ends {
		c.closing = true
		c.out.End()
	}
	if flush {
		c.flushLocked(b)
	}
	c.pending.trim()
	if c.pending.n > 0 {
		c.startWorkerLocked()
	} else {
		c.route.lane = nil
		c.startBarrierLocked()
	}
	if c.in.eof || c.closing {
		c.closeIfDoneLocked()
	}
	if c.in.stopped && c.window.Resumes(int(c.pending.n)) && !c.pausedLocked() {
		c.out.Resume()
	}
	c.closeIfBlockedLocked()
}

// flushLocked writes the output now, or at the end of the batch if there is one.
func (c *client) flushLocked(b *lane.Batch) {
	if b != nil {
		b.Add(c)
		return
	}
	c.out.Flush()
}

// startBarrierLocked starts the step, if there is one, that has waited until no reply was pending.
func (c *client) startBarrierLocked() {
	step := c.barrier.take()
	if step == nil {
		return
	}
	if step.Kind == session.Transaction {
		c.pending.inFlight -= c.pending.next.Bytes()
	}
	var batch netio.FlushBatch
	c.dispatchLocked(step, &batch)
	batch.Flush()
}

var replyOK = []byte("+OK\r\n")
