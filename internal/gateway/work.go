package gateway

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// kickLocked starts the client's worker if the next in turn is for it. The worker is a
// goroutine that ends when it has nothing to do.
func (c *client) kickLocked() {
	if s := c.pending.front(); c.working || s == nil || s.state != queued {
		return
	}
	c.working = true
	c.g.workers.Go(c.work)
}

// work carries out what has to be waited for, one at a time and each once all before it
// is answered.
func (c *client) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		s := c.pending.front()
		if s == nil || s.state != queued {
			c.working = false
			return
		}
		c.workLocked(s)
	}
}

// task is what the worker carries out.
type task struct {
	c     *client
	step  *session.Step // nil: a shared command
	key   engine.Identity
	raw   []byte
	n     int
	reads bool

	at     time.Time       // when it was left to the worker
	behind *ticket         // the subscription that it must not overtake
	level  pauseMode       // the mildest pause that holds it back
	before *engine.Refusal // that came already

	token string // of the user that a password has proven
	user  *user
	close bool // the client asked for its own end

	abandoned bool // it was ended since nobody waits for its reply
}

func (c *client) workLocked(s *pendingReply) {
	tag := c.pending.head
	s.state = running
	queuedAt := s.at
	t := &task{c: c, key: c.pending.identity, raw: c.pending.replay.bytes(s.from, s.to), n: s.want, reads: s.reads,
		before: s.refusal, token: c.token, user: c.user, at: time.Unix(0, s.at), behind: s.behind, level: s.level}
	if s.step != nil {
		t.step = &s.step.Step
	}
	ctx := c.contextLocked()
	pin := c.dedicated.pin
	c.mu.Unlock()
	c.g.count.queue.add(queuedAt)
	frames, err := t.run(ctx, pin)
	var failed *failure
	switch {
	case err == nil:
	case t.step != nil && t.step.Kind == session.Learn:
		failed = c.g.learnFailure(err)
	default:
		failed = c.g.failureOf(err, t.reads || t.step != nil && t.step.Kind == session.Subscribe, t.step != nil && t.step.Waits())
		failed.ends = failed.ends || t.disowned(ctx, err)
	}
	c.mu.Lock()
	t.abandoned = err != nil && ctx.Err() != nil
	if t.step != nil && t.step.Kind == session.Learn {
		if c.pending.at(tag) != nil {
			c.learntLocked(t, failed)
		}
	} else {
		c.finishLocked(t, tag, frames, failed)
	}
	c.repostLocked()
	c.advanceLocked(nil)
}

// finishLocked takes what came of a task.
func (c *client) finishLocked(t *task, tag uint64, frames [][]byte, failed *failure) {
	s := c.pending.at(tag)
	var err error
	if failed != nil {
		err = failed
	}
	if t.step != nil {
		if err == nil && t.step.Kind == session.Identify && len(frames) == 0 {
			c.becomeLocked(t.token)
			c.user = t.user
			c.session.LetServerDecide(t.token != "")
		}
		if !t.step.NeedsDone() {
			c.settleStepLocked(t.step)
		}
		out := c.session.Done(t.step, frames, err)
		c.followLocked(out)
		c.closing = c.closing || t.close
		if s != nil {
			s.reply = out.Reply
		}
		if s != nil && t.announces() {
			c.confirmLocked(s)
		}
		if t.step.Kind == session.Subscribe {
			c.g.gate.leave(c.ticket)
			c.ticket = nil
		}
	} else if s != nil && !s.silent {
		if err != nil {
			s.reply = resp.AppendError(nil, failed.text)
		} else {
			s.reply = frames[0]
		}
	}
	if t.abandoned && !c.gone {
		c.abandonLocked()
		return
	}
	if s != nil {
		c.pending.fill(s, s.reply)
		c.pending.queued--
		if failed != nil && failed.ends {
			s.state = broken
		}
	}
	c.endBarrierLocked(t.step)
}

// announces reports whether messages may follow that must not come before the task's reply.
func (t *task) announces() bool {
	return t.step.Kind == session.Subscribe || t.step.Kind == session.Monitor || t.step.Kind == session.Pin
}

// contextLocked ends when the client leaves.
func (c *client) contextLocked() context.Context {
	if c.ctx == nil || c.ctx.Err() != nil && !c.gone {
		c.ctx, c.cancel = context.WithCancel(c.g.ctx)
	}
	return c.ctx
}

// repostLocked puts shared commands that follow in turn back on a lane.
func (c *client) repostLocked() {
	var batch netio.FlushBatch
	for tag := c.pending.head; ; tag++ {
		s := c.pending.at(tag)
		if s == nil || s.state == queued && (s.step != nil || s.refusal != nil) {
			break
		}
		if s.state != queued {
			continue
		}
		if s.behind != nil && !isClosed(s.behind.passed) || c.g.gate.shut.Load() && c.g.gate.paused(s.level) != nil {
			break
		}
		l, opt := c.route.pick(c.g.engine, c.pending.identity, s.reads, c.pending.posted)
		if l == nil || l.Post(c.pending.replay.bytes(s.from, s.to), 1, c, tag, opt) != nil {
			break
		}
		s.state, s.want = posted, 1
		c.pending.queued--
		c.pending.posted++
		c.route.lane = l
		batch.AddLane(l)
	}
	batch.Flush()
}

// run carries the task out, without the client's lock.
func (t *task) run(ctx context.Context, pin *engine.Lease) ([][]byte, error) {
	if err := t.awaitGate(ctx); err != nil {
		return nil, err
	}
	e := t.c.g.engine
	if t.step == nil {
		return e.Exchange(ctx, t.key, t.raw, t.n, t.reads, t.before)
	}
	switch t.step.Kind {
	case session.Transaction:
		if t.step.Restore {
			return t.hold(ctx)
		}
		if !t.step.OnPin {
			return e.Exchange(ctx, t.key, t.raw, t.n, false, t.before)
		}
		return t.onPin(ctx, pin)
	case session.Pinned:
		return t.onPin(ctx, pin)
	case session.Pin:
		return t.pin(ctx)
	case session.Hold, session.Wait:
		return t.hold(ctx)
	case session.Monitor:
		return t.monitor(ctx)
	case session.Subscribe:
		return t.subscribe(ctx)
	case session.Answer, session.Close, session.Unsubscribe:
		return t.answer(ctx)
	case session.Identify:
		return t.identify(ctx, pin)
	case session.Learn:
		return nil, t.learn(ctx, pin)
	case session.Registry:
		return t.registry(ctx)
	case session.Console:
		return t.console(ctx)
	}
	panic("gateway: no way to carry out " + t.step.Kind.String())
}

// acquire waits for a connection that the client has for itself.
func (c *client) acquire(ctx context.Context, key engine.Identity) (*engine.Lease, error) {
	c.setWaits("waiting")
	defer c.setWaits("")
	return c.g.engine.Lease(ctx, key)
}

func (c *client) setWaits(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = what
}

// options of a command that the server may hold back.
func (t *task) options() lane.Options { return t.c.g.optionsOf(t.step) }

// optionsOf a step, or of what nothing holds back where that is nil.
func (g *Gateway) optionsOf(step *session.Step) lane.Options {
	opt := lane.Options{NoTimeout: g.engine.NoReplyTimeout()}
	if step != nil {
		opt.Block = step.Block
	}
	return opt
}

func (t *task) onPin(ctx context.Context, pin *engine.Lease) ([][]byte, error) {
	if pin == nil {
		return nil, errPinLost
	}
	return pin.Lane().DoRaw(ctx, t.raw, t.n, t.options())
}

// pin gives the session a connection of its own.
func (t *task) pin(ctx context.Context) ([][]byte, error) {
	held, err := t.c.acquire(ctx, t.key)
	if err != nil {
		return nil, err
	}
	c := t.c
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		held.Release()
		return nil, context.Canceled
	}
	unpinned := c.dedicated.setPin(held)
	c.out.HoldPushes()                // until the reply is sent
	held.Lane().OnPush(c.push, false) // HELLO 3 may follow
	c.g.workers.Go(func() { c.watchPin(held, unpinned) })
	c.mu.Unlock()
	return held.Lane().DoRaw(ctx, t.raw, t.n, t.options())
}

// watchPin sees that a connection on which pushes are expected has ended: no request
// may follow that would notice. It is over when the connection is given up.
func (c *client) watchPin(held *engine.Lease, unpinned <-chan struct{}) {
	select {
	case <-held.Lane().Done():
	case <-unpinned:
		return
	case <-c.g.ctx.Done():
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dedicated.pin != held || c.pending.n > 0 || c.gone {
		return
	}
	c.followLocked(c.session.Lost())
	c.settleLocked()
}

// push forwards what came out of band on a connection of the client's own.
func (c *client) push(frame []byte) {
	c.out.Push(frame, c.g.settings.Load().OutputBuffer)
}

// hold runs one command on a connection of its own.
func (t *task) hold(ctx context.Context) ([][]byte, error) {
	t.c.setWaits("waiting")
	defer t.c.setWaits("")
	key := t.key
	frames, err := t.onLent(ctx, key)
	if t.step.AnyDB && key.DB != 0 && isBusy(err) {
		key.DB = 0
		return t.onLent(ctx, key)
	}
	return frames, err
}

// isBusy reports whether the server refused a connection of its kind since a script runs: it selects no database then.
func isBusy(err error) bool {
	refusal, ok := errors.AsType[*resp.ServerError](err)
	return ok && refusal.Code == "BUSY"
}

func (t *task) onLent(ctx context.Context, key engine.Identity) ([][]byte, error) {
	return t.c.g.engine.ExchangeLeased(ctx, key, t.raw, t.reads, func(l *lane.Lane) (frames [][]byte, after engine.After, err error) {
		t.c.setWaits("")
		b := &blockedCommand{t: t, done: make(chan struct{})}
		frames, err = b.run(ctx, l)
		if err != nil {
			return nil, engine.After{Spoilt: "its client's command was not answered"}, err
		}
		db, known := t.step.Database(frames)
		if known {
			after.DB = &db
		}
		switch {
		case t.step.Destroy && !unknownCommand(frames[0]):
			after.Spoilt = "it ran a command that may have changed it"
		case t.step.Restore && !unknownCommand(frames[0]):
			after.Unsure = "it ran a command of which nothing is known"
		case !known:
			after.Unsure = "its database is not known"
		case b.unsettled(frames[len(frames)-1]):
			after.Spoilt = "its command was unblocked, or may be yet"
		}
		return frames, after, nil
	})
}

var replyUnblocked = []byte("-UNBLOCKED")

// unknownCommand reports whether the server knows a command no better, so that its connection is as it was.
func unknownCommand(frame []byte) bool {
	return bytes.HasPrefix(frame, []byte("-ERR unknown command")) || bytes.HasPrefix(frame, []byte("-ERR unknown subcommand"))
}

// monitor begins a stream of everything that the server does.
func (t *task) monitor(ctx context.Context) ([][]byte, error) {
	c := t.c
	held, err := c.acquire(ctx, t.key)
	if err != nil {
		return nil, err
	}
	c.out.HoldPushes() // until the reply is sent
	held.Lane().OnPush(c.push, true)
	frames, err := held.Lane().DoRaw(ctx, t.raw, t.n, t.c.g.optionsOf(nil))
	if err != nil || frames[0][0] == '-' {
		held.Destroy("MONITOR has failed")
		return frames, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		held.Destroy("the client is gone")
		return nil, context.Canceled
	}
	c.dedicated.monitor = held
	c.g.workers.Go(func() { c.watchMonitor(held) })
	return frames, nil
}

func (c *client) watchMonitor(held *engine.Lease) {
	select {
	case <-held.Lane().Done():
	case <-c.g.ctx.Done():
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dedicated.monitor != held || c.gone {
		return
	}
	c.followLocked(c.session.MonitorLost())
	c.settleLocked()
}
