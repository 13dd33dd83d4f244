package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/upstream"
)

// client is one connection of a client. Its link gives it bytes, lanes give it replies,
// and a worker, while there is one, carries out what has to be waited for.
//
// Locks are taken in this order: client.mu, those of lanes, pools and hubs, output.mu.
// No two clients' mu are held at a time.
type client struct {
	g           *Gateway
	addr, laddr string
	host        string // that counts against MaxClientsPerAddress
	born        time.Time
	out         output

	mu       sync.Mutex
	session  *session.Session
	set      *settings // as of its last request
	scanner  request.Scanner
	user     *user  // one of the gateway's own; nil: none
	token    string // of its user among upstream's
	slots    slots
	slotKey  upstream.Key // of all slots
	lanes    upstream.Lanes
	lanesKey upstream.Key
	log      log
	lane     *lane.Lane // of what is posted
	onPin    bool       // that is the session's own connection's
	posted   int
	typical  int           // bytes of a reply, as of late
	behind   int           // bytes of replies that are not sent since others are due before them
	queued   int           // slots that the worker is to carry out, or does: nothing may overtake them
	working  bool          // the worker runs
	waits    string        // what the worker waits for before it sends anything, in the console's words
	barrier  *session.Step // waits until all before it is answered, or for its own end
	begun    bool          // barrier is under way
	rest     []byte        // input that is not taken yet
	eof      bool          // nothing more comes
	hungUp   bool          // nothing more comes than what is there already
	closing  bool          // no more is taken: the connection ends once all is answered
	gone     bool          // the client has left
	ctx      context.Context
	cancel   context.CancelFunc
	pin      upstream.Held // the session's own connection
	unpinned chan struct{} // closed when pin is given up
	monitor  upstream.Held
	blocked  *blocked                     // the blocking command under way
	topics   map[string]*pubsub.Listening // by the token under which they were subscribed to
	stopped  bool                         // its link does not read until resume
	commands uint64
	bytesIn  uint64
	lastAt   time.Time // of the last input, as the sweeper saw it
	inputs   uint64    // how often there was input
	seen     uint64    // inputs as the sweeper saw them
	whole    uint64    // commands when no request was begun, as the sweeper saw it
	wholeAt  time.Time // and when that was
	reserve  bool      // it came when MaxClients were there: an operator, or nobody
}

// input takes bytes that came. It reports whether to read on; else the link's resume
// follows when it is time.
func (c *client) input(b []byte, r *round) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false
	}
	c.inputs++
	c.bytesIn += uint64(len(b))
	if c.pausedLocked() || len(c.rest) > 0 {
		c.rest = append(c.rest, b...)
		c.stopped = true
		if !c.pausedLocked() {
			c.out.link.resume()
		}
		return false
	}
	rest, more := c.consumeLocked(b, r)
	c.rest = append(c.rest, rest...)
	c.stopped = !more
	return more
}

// resume goes on with what was kept. It reports whether to read on.
func (c *client) resume(r *round) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pausedLocked() {
		return false
	}
	if c.rest, more = c.consumeLocked(c.rest, r); len(c.rest) == 0 {
		c.rest = nil
	}
	c.settleLocked()
	c.stopped = !more
	return more && !c.eof
}

// kept is how many bytes of input are kept.
func (c *client) kept() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.rest)
}

// ended takes the end of what the client sends: what it has sent is answered still.
func (c *client) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eof = true
	c.hangUpLocked()
	c.settleLocked()
}

// hangUp takes note that the client sends no more than what it has sent, of which some may not be read yet.
func (c *client) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hangUpLocked()
}

// hangUpLocked ends a command that blocks: an element would be popped for nobody.
func (c *client) hangUpLocked() {
	c.hungUp = true
	if c.blocked != nil && c.cancel != nil {
		c.cancel()
	}
}

// consumeLocked takes requests until there are no more or the client has to wait,
// and gives the rest.
func (c *client) consumeLocked(b []byte, r *round) (rest []byte, more bool) {
	for !c.closing && !c.gone {
		if s := c.g.settings.Load(); s != c.set && !c.adoptLocked(s) {
			c.out.close()
			return nil, false
		}
		c.scanner.Unauthenticated = !c.session.Authenticated()
		req, n, err := c.scanner.Next(b)
		b = b[n:]
		switch {
		case err != nil:
			c.malformedLocked(err, r)
			return nil, false
		case req.Raw == nil:
			return nil, true
		default:
			c.commands++
			c.takeLocked(req, r)
		}
		if c.pausedLocked() {
			return b, false
		}
	}
	return nil, false
}

// adoptLocked makes new settings the client's, with the rights that its user has by them. It reports whether
// the client may stay.
func (c *client) adoptLocked(s *settings) bool {
	c.set = s
	c.scanner.Limits = s.requestLimits()
	c.session.Reconfigure(&s.session)
	c.user = s.users[c.session.Key().User]
	return s.users == nil || !c.session.Authenticated() || c.user != nil && !c.user.disabled
}

// pausedLocked reports whether no request may be taken now.
func (c *client) pausedLocked() bool {
	return c.barrier != nil || c.closing || c.gone || c.slots.n >= c.set.Pipeline ||
		c.slots.n*c.typical > c.set.OutputBuffer || c.behind > c.set.OutputBuffer || c.out.overfull(c.set.OutputBuffer)
}

// firstPipeline is how many commands of a client may be under way before the size of its replies
// is known: the output buffer has to hold all that are due.
const firstPipeline = 16

// learnLocked takes note of the size of a reply.
func (c *client) learnLocked(size int) { c.typical = max(size, c.typical-c.typical>>3) }

// malformedLocked answers what is no request, and ends the connection.
func (c *client) malformedLocked(err error, r *round) {
	var pe *request.ProtocolError
	var reply []byte
	switch {
	case errors.As(err, &pe):
		reply = errorReply("-" + pe.Reply())
	case errors.Is(err, request.ErrTooLarge):
		reply = errorReply(fmt.Sprintf("respool: the request is larger than %s (input_buffer)", sizeText(c.set.requestLimits().Total)))
	}
	c.g.count.malformed.Add(1)
	c.answerLocked(reply, r)
	c.closing = true
	c.settleLocked()
}

// takeLocked takes one request.
func (c *client) takeLocked(req request.Request, r *round) {
	if c.pin != nil && c.pin.Lane().Depth() < 0 && c.slots.n == 0 {
		c.followLocked(c.session.Lost())
		if c.closing {
			c.settleLocked()
			return
		}
	}
	step := c.nextLocked(req)
	if step.Kind == session.Share && c.queued == 0 && c.postLocked(&step, r) {
		return
	}
	if step.Barrier && c.slots.n > 0 {
		c.keepLocked(&step)
		return
	}
	c.carryLocked(&step, r)
}

// nextLocked asks the session, unless the user may not do such a thing.
func (c *client) nextLocked(req request.Request) session.Step {
	if c.reserve {
		if text := c.g.objection(c, req.Args); text != "" {
			return c.session.Refuse(req.Raw, req.Args, text)
		}
	}
	if c.user != nil && c.session.Authenticated() {
		if text := c.user.objection(req.Args); text != "" {
			return c.session.Refuse(req.Raw, req.Args, text)
		}
	}
	return c.session.Next(req.Raw, req.Args)
}

// keepLocked makes a step the barrier, with memory of its own.
func (c *client) keepLocked(step *session.Step) {
	kept := *step
	kept.Raw = bytes.Clone(step.Raw)
	c.barrier = &kept
}

// carryLocked does what a step says.
func (c *client) carryLocked(step *session.Step, r *round) {
	switch step.Kind {
	case session.Answer:
		if step.Reset {
			c.token, c.user = "", c.set.users[defaultUser]
		}
		c.releaseLocked(step.Release) // no message may come behind the reply that ends them
		c.answerLocked(step.Reply, r)
		c.out.setProto(c.session.Key().Proto)
	case session.Close:
		c.answerLocked(step.Reply, r)
		c.closing = true
		c.settleLocked()
	case session.Unsubscribe:
		if len(step.Topics) == 0 {
			c.answerLocked(step.Reply, r)
			return
		}
		c.unsubscribeLocked(step.Topics)
		c.queueLocked(step)
	case session.Pinned:
		if c.queued > 0 || !c.postPinLocked(step, r) {
			c.queueLocked(step)
		}
	case session.Share:
		if c.queued > 0 || !c.postLocked(step, r) {
			c.queueLocked(step)
		}
	case session.Transaction:
		if step.OnPin {
			if c.queued > 0 || !c.postPinLocked(step, r) {
				c.queueLocked(step)
			}
			return
		}
		if step.Barrier || c.queued > 0 || !c.postLocked(step, r) {
			c.queueLocked(step)
		}
	default:
		c.queueLocked(step)
	}
}

// key says which connections the session's commands go out on.
func (c *client) key(k session.Key) upstream.Key {
	return upstream.Key{User: c.token, DB: k.DB, Proto: k.Proto}
}

// postLocked puts a command on a lane, if one takes it now.
func (c *client) postLocked(step *session.Step, r *round) bool {
	reads := step.Info != nil && step.Info.ReadOnly
	key := c.key(step.Key)
	l, opt := c.laneLocked(key, reads)
	if l == nil {
		return false
	}
	tag, s := c.pushLocked(key)
	s.state, s.silent, s.reads, s.want = posted, step.Silent, reads, step.Replies
	if step.Kind != session.Share {
		s.step = &stepSlot{Step: *step}
	}
	if l.Post(step.Raw, step.Replies, c, tag, opt) != nil {
		c.slots.undo()
		return false
	}
	s.from, s.to = c.log.add(step.Raw)
	if (c.commands+uint64(c.session.ID()))%sampleEvery == 0 { // clients that send one are sampled too
		s.at = time.Now().UnixNano()
	}
	c.lane = l
	c.posted++
	r.posted(l)
	return true
}

// sampleEvery is of how many commands one has its time taken.
const sampleEvery = 64

// laneLocked picks the lane for a command: the one that carries what the client has
// posted, while there is any.
func (c *client) laneLocked(key upstream.Key, reads bool) (*lane.Lane, lane.Options) {
	if c.g.paused.Load() {
		return nil, lane.Options{}
	}
	if c.lanes == nil || key != c.lanesKey {
		c.lanes, c.lanesKey = c.g.up.Lanes(key), key
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
func (c *client) postPinLocked(step *session.Step, r *round) bool {
	if c.pin == nil {
		return false
	}
	tag, s := c.pushLocked(c.key(step.Key))
	s.state, s.silent, s.want = posted, step.Silent, step.Replies
	s.step = &stepSlot{Step: *step}
	s.from, s.to = c.log.add(nil)
	l := c.pin.Lane()
	if l.Post(step.Raw, step.Replies, c, tag, blockOptions(step)) != nil {
		c.slots.undo()
		return false
	}
	if step.Barrier {
		c.barrier, c.begun = &s.step.Step, true
	}
	c.lane, c.onPin = l, true
	c.posted++
	r.posted(l)
	return true
}

// endBarrierLocked lets requests in again that waited for a step's end.
func (c *client) endBarrierLocked(step *session.Step) {
	if c.begun && c.barrier == step {
		c.barrier, c.begun = nil, false
	}
}

// pushLocked makes a slot. While there are any they have one key: steps that change it are barriers.
func (c *client) pushLocked(key upstream.Key) (tag uint64, s *slot) {
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
func (c *client) answerLocked(reply []byte, r *round) {
	if len(reply) == 0 {
		return
	}
	if c.slots.n > 0 {
		_, s := c.slots.push()
		c.fillLocked(s, reply)
		return
	}
	if c.out.answer(reply, c.session.Key().Proto) {
		if r == nil {
			c.out.flush()
		} else {
			r.answered(c)
		}
	}
}

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
	if s.sent == 0 && frame[0] == '-' && c.g.up.Refused(c.lane, frame) {
		c.requeueLocked(s)
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
	if c.out.append(frame, owned) {
		b.Add(c)
	}
	if s.sent > 0 {
		c.out.release()
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
		c.out.holdPushes() // none may come in the midst of it
	}
	s.sent += len(b)
	if !s.silent && c.out.append(b, true) {
		c.out.flush()
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
	for _, f := range s.step.frames {
		if f[0] == '-' && c.g.up.Refused(c.lane, f) && !s.step.OnPin && errorsOnly(s.step.frames) {
			s.want, s.step.frames = s.step.Replies, nil
			c.requeueLocked(s)
			return
		}
	}
	out := c.session.Done(&s.step.Step, s.step.frames, nil)
	c.endBarrierLocked(&s.step.Step)
	c.fillLocked(s, out.Reply)
	c.followLocked(out)
	c.advanceLocked(b)
}

// errorsOnly reports whether nothing of a step was done.
func errorsOnly(frames [][]byte) bool {
	last := frames[len(frames)-1]
	if bytes.HasPrefix(last, []byte("-EXECABORT")) {
		return true
	}
	for _, f := range frames {
		if f[0] != '-' {
			return false
		}
	}
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
		c.out.close() // there is no way to say so within a reply
		return
	}
	if !(s.step != nil && s.step.OnPin) && c.g.up.Again(err, s.reads && !c.writesBehindLocked(tag)) {
		s.want = 1
		if s.step != nil {
			s.want, s.step.frames = s.step.Replies, nil
		}
		c.requeueLocked(s)
		return
	}
	switch {
	case s.step != nil:
		out := c.session.Done(&s.step.Step, nil, c.g.public(err))
		c.endBarrierLocked(&s.step.Step)
		c.fillLocked(s, out.Reply)
		c.followLocked(out)
	case s.silent:
		c.fillLocked(s, nil)
	default:
		c.fillLocked(s, failureReply(c.g.public(err)))
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
	c.queued++
	c.kickLocked()
}

// Flush writes what a batch of replies has left here.
func (c *client) Flush() { c.out.flush() }

// advanceLocked sends replies whose turn it is, and begins what waited for that.
func (c *client) advanceLocked(b *lane.Batch) {
	first := false
	for s := c.slots.front(); s != nil && s.state == answered; s = c.slots.front() {
		first = c.out.append(s.reply, true) || first
		c.behind -= len(s.reply)
		c.slots.pop()
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
		c.out.link.resume()
	}
}

// flushLocked writes what there is, or has it written at the end of a batch.
func (c *client) flushLocked(b *lane.Batch) {
	if b != nil {
		b.Add(c)
		return
	}
	c.out.flush()
}

// startBarrierLocked begins the step that waited until all before it was answered.
func (c *client) startBarrierLocked() {
	step := c.barrier
	c.barrier = nil
	var r round
	c.carryLocked(step, &r)
	for _, l := range r.lanes {
		l.Flush(false)
	}
	if len(r.clients) > 0 {
		c.out.flush()
	}
}

// settleLocked ends the connection if nothing is left to be done on it.
func (c *client) settleLocked() {
	if c.slots.n > 0 || c.barrier != nil || c.gone {
		return
	}
	if c.closing || c.eof && len(c.rest) == 0 {
		c.closing = true // what comes now would be carried out, and its reply get lost
		c.out.end()
	}
}

// followLocked does what follows from a step that is done.
func (c *client) followLocked(out session.Outcome) {
	c.releaseLocked(out.Release)
	c.closing = c.closing || out.Close
	c.out.setProto(c.session.Key().Proto)
}

// releaseLocked gives up what the session does not need any more.
func (c *client) releaseLocked(rel session.Release) {
	if c.pin != nil && rel.Conn != session.Keep {
		c.pin.Lane().OnPush(nil, false)
		close(c.unpinned)
		if rel.Conn == session.Clean {
			c.pin.Release()
		} else {
			c.pin.Destroy(rel.Reason)
		}
		c.pin = nil
	}
	if rel.Monitor && c.monitor != nil {
		c.monitor.Destroy(rel.Reason)
		c.monitor = nil
	}
	c.unsubscribeLocked(rel.Topics)
}

// left takes the end of the connection: everything that it held is given up.
func (c *client) left() {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	c.gone = true
	if c.cancel != nil {
		c.cancel()
	}
	c.releaseLocked(c.session.Ended())
	for _, l := range c.topics {
		l.Close()
	}
	c.topics = nil
	c.slots, c.log, c.rest, c.barrier = slots{head: c.slots.head + uint64(c.slots.n)}, log{}, nil, nil
	c.posted, c.queued, c.behind, c.lane = 0, 0, 0, nil
	c.mu.Unlock()
	c.out.close()
	c.g.forget(c)
}
