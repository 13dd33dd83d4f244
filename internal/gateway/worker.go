package gateway

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// execution is the state of a client's worker. The client's lock guards it.
type execution struct {
	ctx     context.Context // of the worker's commands; nil before the first
	cancel  context.CancelFunc
	running bool       // the goroutine of the worker runs
	waits   waitReason // before the worker sends its command
}

// context returns the context of the worker's commands. After abort it returns a new one, unless the client has left.
func (e *execution) context(parent context.Context, left bool) context.Context {
	if e.ctx == nil || e.ctx.Err() != nil && !left {
		e.ctx, e.cancel = context.WithCancel(parent)
	}
	return e.ctx
}

// abort cancels the worker's command.
func (e *execution) abort() {
	if e.cancel != nil {
		e.cancel()
	}
}

// startWorkerLocked starts the goroutine of the client's workers if the next pending command is queued. The goroutine
// ends when no queued command is next.
func (c *client) startWorkerLocked() {
	if s := c.pending.front(); c.execution.running || s == nil || s.state != queued || c.mustWaitLocked(s) {
		return
	}
	c.execution.running = true
	c.g.workers.Go(c.runWorker)
}

// runWorker executes queued commands, one at a time, each after the replies to all commands before it.
func (c *client) runWorker() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		s := c.pending.front()
		if s == nil || s.state != queued || c.mustWaitLocked(s) {
			c.execution.running = false
			return
		}
		c.executeLocked(s)
	}
}

// worker executes one pending command that cannot be posted at once.
type worker struct {
	c     *client
	step  *session.Step // nil: one multiplexed command
	key   engine.Identity
	raw   []byte
	n     int
	reads bool
	home  bool // in a cluster, the primary takes it although it only reads

	queuedAt       time.Time       // when it was queued
	behind         *ticket         // the subscription that it must not overtake
	level          pauseMode       // the mildest pause that holds it back
	earlierRefusal *engine.Refusal // an earlier refusal by a server
	overtaken      bool            // its reply is the refusal

	counted *quota.User // the user that counts the client and its connections; nil: none
	entered *quota.User // the verified user, which counts the client already
	holds   *quota.User // it counts the connection of the command

	token string // of the verified user
	user  *user  // the verified user, of the gateway's own
	close bool   // the client killed itself
	parks bool   // the command may wait in the engine

	waitsSince time.Time     // when it began to wait for something other than the server
	waited     time.Duration // how long it has waited

	abandoned bool // the command was canceled because nobody reads its reply
}

func (c *client) executeLocked(s *pendingReply) {
	tag := c.pending.head
	s.state = running
	queuedAt := s.at
	w := &worker{c: c, key: c.pending.identity, raw: c.pending.replay.bytes(s.from, s.to), n: s.want, reads: s.reads,
		earlierRefusal: s.refusal, token: c.login.token, user: c.login.user, queuedAt: time.Unix(0, s.at), behind: s.behind, level: s.level}
	if c.allowance != nil {
		w.counted = c.allowance.user
	}
	w.overtaken, w.home = c.overtakenLocked(s), c.route.readsPrimaries()
	if s.step != nil {
		w.step = &s.step.Step
		w.parks = !s.alone && mayPark(w.step)
	}
	ctx := c.execution.context(c.g.ctx, c.gone)
	pin := c.dedicated.pin
	c.mu.Unlock()
	c.tally().queue.add(queuedAt)
	started := time.Now()
	frames, err := w.run(ctx, pin)
	finished := time.Now()
	if c.g.engine.Clustered() {
		hideNodes(frames)
	}
	var failed *failure
	switch {
	case err == nil, err == errParks:
	case w.step != nil && w.step.Kind == session.Learn:
		failed = c.g.learnFailure(err)
	default:
		failed = c.g.failureOf(err, w.reads || w.step != nil && w.step.Kind == session.Subscribe, w.step != nil && w.step.Waits())
		failed.closes = failed.closes || w.userRefused(ctx, err)
	}
	c.mu.Lock()
	if err == errParks {
		c.parkQueuedLocked(c.pending.at(tag))
		return
	}
	w.abandoned = err != nil && ctx.Err() != nil
	var seen *observed
	if w.step != nil && w.step.Kind == session.Learn {
		if c.pending.at(tag) != nil {
			c.dispatchLearnedLocked(w, failed)
		}
	} else {
		if s = c.pending.at(tag); s != nil && failed == nil {
			seen = c.observeWorkerLocked(s, w, started, finished, totalSize(frames))
		}
		c.finishLocked(w, tag, frames, failed)
	}
	c.repostLocked()
	c.advanceLocked(nil)
	seen.end(c, tag < c.pending.head)
}

// finishLocked handles the frames or the failure of a worker.
func (c *client) finishLocked(w *worker, tag uint64, frames [][]byte, failed *failure) {
	s := c.pending.at(tag)
	var err error
	if failed != nil {
		err = failed
	}
	if w.entered != nil {
		defer func() {
			c.applyLimitsLocked()
			w.entered.Leave() // the client counts once
		}()
	}
	if w.step != nil {
		if err == nil && w.step.Kind == session.Identify && len(frames) == 0 {
			c.changeUserLocked(w.token)
			c.login.user = w.user
			c.session.LetServerDecide(w.token != "")
		}
		if !w.step.NeedsDone() {
			c.applyStepLocked(w.step)
		}
		if s != nil && err == nil && w.step.Kind == session.Transaction {
			c.learnStepLocked(s, frames)
		}
		out := c.session.Done(w.step, frames, err)
		c.applyOutcomeLocked(out)
		c.closing = c.closing || w.close
		if s != nil {
			s.reply = out.Reply
		}
		if s != nil && w.announces() {
			c.confirmLocked(s)
		}
		if w.step.Kind == session.Subscribe {
			c.subscriptions.confirm(&c.g.pauses)
		}
	} else if s != nil && !s.silent {
		if err != nil {
			s.reply = resp.AppendError(nil, failed.text)
		} else {
			s.reply = frames[0]
			c.learnLocked(s, len(s.reply), s.reply[0] == '-')
		}
	}
	if w.abandoned && !c.gone {
		c.abandonLocked()
		return
	}
	if s != nil {
		c.chargeLocked(len(s.reply))
		c.pending.fill(s, s.reply)
		c.pending.queued--
		if failed != nil && failed.closes {
			s.state = broken
		}
	}
	c.barrier.end(w.step)
}

// announces reports whether pushes may follow that must not precede the reply.
func (w *worker) announces() bool {
	return w.step.Kind == session.Subscribe || w.step.Kind == session.Monitor || w.step.Kind == session.Pin
}

// repostLocked posts the queued multiplexed commands that are next.
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
		if s.behind != nil && !isClosed(s.behind.passed) || c.g.pauses.active.Load() && c.g.pauses.paused(s.level) != nil {
			break
		}
		l, opt := c.route.pick(c.g.engine, c.pending.identity, c.engineLoop(), c.pending.replay.bytes(s.from, s.to), s.reads, s.expected.Large(), c.pending.posted)
		if l == nil || c.behindWriteLocked(l) && isPublish(commandOf(c.pending.replay.bytes(s.from, s.to))) ||
			l.Post(c.pending.replay.bytes(s.from, s.to), 1, c, tag, opt) != nil {
			break
		}
		s.state, s.want = posted, 1
		c.tally().queue.add(s.at)
		s.noteWait(batch.Now())
		s.via = c.route.posted(l)
		c.pending.queued--
		c.pending.posted++
		c.pending.launch(s)
		batch.AddLane(l)
	}
	batch.Flush()
}

// run executes the command, without the client's lock.
func (w *worker) run(ctx context.Context, pin *engine.Lease) ([][]byte, error) {
	if err := w.awaitTurn(ctx); err != nil {
		return nil, err
	}
	if w.parks {
		return nil, errParks
	}
	if w.overtaken {
		return w.earlierRefusal.Frames, nil
	}
	if w.takesConnection() {
		free, err := w.countConnection(ctx)
		if err != nil {
			return nil, err
		}
		defer free()
	}
	e := w.c.g.engine
	if w.step == nil {
		exchange := e.Exchange
		if w.home {
			exchange = e.ExchangeAtPrimary
		}
		frames, err := exchange(ctx, w.key, w.raw, w.n, w.reads, w.earlierRefusal)
		if e.Clustered() && err == nil {
			frames = w.c.faceOf(w.raw, frames)
		}
		return frames, err
	}
	switch w.step.Kind {
	case session.Transaction:
		if w.step.Restore {
			return w.runDedicated(ctx)
		}
		if !w.step.OnPin {
			return e.Exchange(ctx, w.key, w.raw, w.n, false, w.earlierRefusal)
		}
		return w.onPin(ctx, pin)
	case session.Pinned:
		return w.onPin(ctx, pin)
	case session.Pin:
		return w.pin(ctx)
	case session.Dedicated, session.Wait:
		return w.runDedicated(ctx)
	case session.Monitor:
		return w.monitor(ctx)
	case session.Subscribe:
		return w.subscribe(ctx)
	case session.Answer, session.Close, session.Unsubscribe:
		return w.answer(ctx)
	case session.Identify:
		return w.identify(ctx, pin)
	case session.Learn:
		return nil, w.learn(ctx, pin)
	case session.ClientCommand:
		return w.clientCommand(ctx)
	case session.Console:
		return w.console(ctx)
	}
	panic("gateway: cannot execute a step of kind " + w.step.Kind.String())
}

// options returns the lane options of the worker's command.
func (w *worker) options() lane.Options { return w.c.g.optionsOf(w.step) }

// optionsOf returns the lane options of a step, or those of a command that does not block if step is nil.
func (g *Gateway) optionsOf(step *session.Step) lane.Options {
	opt := lane.Options{NoTimeout: g.engine.NoReplyTimeout()}
	if step != nil {
		opt.Block = step.Block
	}
	return opt
}

func (w *worker) onPin(ctx context.Context, pin *engine.Lease) ([][]byte, error) {
	if pin == nil {
		return nil, errPinLost
	}
	return pin.Lane().DoRaw(ctx, w.raw, w.n, w.options())
}

// pin leases a dedicated connection for the session.
func (w *worker) pin(ctx context.Context) ([][]byte, error) {
	c := w.c
	held, reply, err := w.leasePin(ctx)
	if held == nil {
		return reply, err
	}
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		held.Destroy("the client is gone")
		return nil, context.Canceled
	}
	unpinned := c.dedicated.setPin(held)
	if w.holds != nil {
		c.allowance.pin, w.holds = w.holds, nil
	}
	c.out.HoldPushes()                // until the reply is sent
	held.Lane().OnPush(c.push, false) // HELLO 3 may follow
	c.g.workers.Go(func() { c.watchPin(held, unpinned) })
	c.mu.Unlock()
	if reply != nil {
		return reply, nil
	}
	return held.Lane().DoRaw(ctx, w.raw, w.n, w.options())
}

// leasePin waits for the session's dedicated connection. In a cluster it is one of the node that accepts the command, and
// leasePin returns the reply too. held is nil if there is none.
func (w *worker) leasePin(ctx context.Context) (held *engine.Lease, reply [][]byte, err error) {
	if !w.c.g.engine.Clustered() {
		held, err = w.acquire(ctx)
		return held, nil, err
	}
	w.setWaits(waitsForConnection)
	defer w.setWaits(notWaiting)
	held, frame, err := w.c.g.engine.LeaseWith(ctx, w.key, w.raw, w.options())
	if err != nil {
		return nil, nil, err
	}
	return held, [][]byte{frame}, nil
}

// watchPin handles the end of a dedicated connection on which pushes may come: there may be no later request that would
// notice it. It returns when the session releases the connection.
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
	c.applyOutcomeLocked(c.session.PinLost())
	c.closeIfDoneLocked()
}

// push forwards an out-of-band frame from a dedicated connection.
func (c *client) push(frame []byte) {
	c.out.Push(frame, c.g.settings.Load().OutputBuffer)
}

// runDedicated runs one command on a dedicated connection.
func (w *worker) runDedicated(ctx context.Context) ([][]byte, error) {
	w.setWaits(waitsForConnection)
	defer w.setWaits(notWaiting)
	key := w.key
	frames, err := w.exchangeLeased(ctx, key)
	if w.step.AnyDB && key.DB != 0 && isBusy(err) {
		key.DB = 0
		return w.exchangeLeased(ctx, key)
	}
	return frames, err
}

// isBusy reports whether the server refused SELECT because a script runs.
func isBusy(err error) bool {
	refusal, ok := errors.AsType[*resp.ServerError](err)
	return ok && refusal.Code == "BUSY"
}

func (w *worker) exchangeLeased(ctx context.Context, key engine.Identity) ([][]byte, error) {
	return w.c.g.engine.ExchangeLeased(ctx, key, w.raw, w.reads, func(l *lane.Lane, raw []byte) (frames [][]byte, after engine.After, err error) {
		w.setWaits(notWaiting)
		b := &blockedCommand{w: w, done: make(chan struct{})}
		frames, err = b.run(ctx, l, raw)
		if err != nil {
			return nil, engine.After{Spoilt: "its command got no reply"}, err
		}
		db, known := w.step.Database(frames)
		if known {
			after.DB = &db
		}
		switch {
		case w.step.Destroy && !unknownCommand(frames[0]):
			after.Spoilt = "it ran a command that may have changed it"
		case w.step.Restore && !unknownCommand(frames[0]):
			after.Unsure = "it ran an unknown command"
		case !known:
			after.Unsure = "its database is unknown"
		case b.unblockPending(frames[len(frames)-1]):
			after.Spoilt = "its command was unblocked or may be unblocked later"
		}
		return frames, after, nil
	})
}

var replyUnblocked = []byte("-UNBLOCKED")

// unknownCommand reports whether the server does not know a command either, so that its connection is unchanged.
func unknownCommand(frame []byte) bool {
	return bytes.HasPrefix(frame, []byte("-ERR unknown command")) || bytes.HasPrefix(frame, []byte("-ERR unknown subcommand"))
}

// monitor starts MONITOR on a dedicated connection.
func (w *worker) monitor(ctx context.Context) ([][]byte, error) {
	c := w.c
	held, err := w.acquire(ctx)
	if err != nil {
		return nil, err
	}
	c.out.HoldPushes() // until the reply is sent
	held.Lane().OnPush(c.push, true)
	frames, err := held.Lane().DoRaw(ctx, w.raw, w.n, w.c.g.optionsOf(nil))
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
	if w.holds != nil {
		c.allowance.monitor, w.holds = w.holds, nil
	}
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
	c.applyOutcomeLocked(c.session.MonitorLost())
	c.closeIfDoneLocked()
}
