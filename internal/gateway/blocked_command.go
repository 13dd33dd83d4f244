package gateway

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/blocking"
	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// parkedCommand is a blocking command that waits in the engine, without a connection and without a goroutine.
type parkedCommand struct {
	c    *client
	wait *blocking.Wait // nil if it could not start; the client's lock guards it

	mu     sync.Mutex       // taken under the client's lock
	result *blocking.Result // nil while it waits; noResult if the client has left
}

// noResult is the result of a wait whose client has left.
var noResult = &blocking.Result{}

// errParks is the error of a worker whose command may wait in the engine now.
var errParks = errors.New("the command waits in the engine")

// errHungUp ends the wait of a client that receives no more replies.
var errHungUp = errors.New("respool: the client has left")

// mayPark reports whether a step is a command that may wait in the engine, if the engine accepts it.
func mayPark(step *session.Step) bool { return step.Kind == session.Dedicated && step.Waits() }

// parkLocked makes a pending blocking command wait in the engine. It returns false if the command needs a dedicated
// connection.
func (c *client) parkLocked(s *pendingReply) bool {
	s.alone = true
	form := formOf(c.pending.replay.bytes(s.from, s.to))
	if form == nil {
		return false
	}
	if c.in.hungUp || c.out.IsClosed() {
		s.state = parked
		c.abandonLocked()
		return true
	}
	p := &parkedCommand{c: c}
	wait, ok, err := c.g.engine.StartWait(c.pending.identity, form, p.done)
	if !ok {
		return false
	}
	s.state, s.at = parked, time.Now().UnixNano()
	c.parked, p.wait = p, wait
	if err != nil {
		p.done(blocking.Result{Err: err})
	}
	return true
}

// parkQueuedLocked makes a command wait in the engine after a pause, or leaves it to the worker.
func (c *client) parkQueuedLocked(s *pendingReply) {
	if s == nil {
		return // the client has left
	}
	c.pending.queued--
	if !c.parkLocked(s) {
		s.state = queued
		c.pending.queued++
	}
}

// formOf returns a request as a blocking command that may wait in the engine, or nil.
func formOf(raw []byte) *blocking.Form {
	args, err := arguments(raw)
	if err != nil {
		return nil
	}
	form, _ := blocking.Parse(args)
	return form
}

// done receives the end of the wait. The engine may call it while the lock of any client is held, so the link passes
// the result to the client.
func (p *parkedCommand) done(r blocking.Result) {
	if errors.Is(r.Err, errHungUp) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.result == nil {
		p.result = &r
		p.c.out.Resume() // within the lock, because no goroutine may start for a client that has left
	}
}

// drop makes done ignore the result.
func (p *parkedCommand) drop() {
	p.mu.Lock()
	p.result = noResult
	p.mu.Unlock()
}

// unblock ends the wait like CLIENT UNBLOCK. It reports whether the command was waiting.
func (p *parkedCommand) unblock(withError bool) bool {
	return p.wait != nil && p.wait.Unblock(withError)
}

// leaveWaitLocked ends the wait of a client that receives no more replies. Elements go to the next client in line or
// back to their key. It returns false if the client does not wait, or if the wait has ended: then the result is there or
// comes soon, and may contain an element.
func (c *client) leaveWaitLocked() bool {
	p := c.parked
	if p == nil || p.wait == nil || !p.wait.Abandon(errHungUp) {
		return false
	}
	c.parked = nil
	return true
}

// unparkLocked handles the end of the client's wait, if it has ended. It resumes no input: its caller does, or closes the
// connection.
func (c *client) unparkLocked() {
	p := c.parked
	p.mu.Lock()
	r := p.result
	p.mu.Unlock()
	if r == nil {
		return
	}
	stopped := c.in.stopped
	c.in.stopped = false
	defer func() { c.in.stopped = stopped }()
	c.parked = nil
	s := c.pending.front()
	switch {
	case errors.Is(r.Err, blocking.ErrDedicated) && c.moves && c.holdsStillLocked():
		c.unreadLocked(s, r.Err)
		return
	case errors.Is(r.Err, blocking.ErrDedicated) && (c.closing || c.in.hungUp):
		c.abandonLocked() // the command would hold a connection for a client that receives no reply
		return
	case errors.Is(r.Err, blocking.ErrDedicated):
		c.runAloneLocked(s, r.Err)
		return
	case r.Err != nil:
		f := c.g.failureOf(r.Err, s.reads, true)
		c.completeLocked(s, nil, f)
		if f.closes || c.pending.identity.User != "" && refusesUser(r.Err) {
			s.state = broken
		}
	default:
		frames := [][]byte{r.Reply}
		if c.g.engine.Clustered() {
			hideNodes(frames)
		}
		c.completeLocked(s, frames, nil)
	}
	c.advanceLocked(nil)
}

// runAloneLocked runs a command whose wait ended with err, blocking.ErrDedicated, on a dedicated connection, with the rest
// of its timeout.
func (c *client) runAloneLocked(s *pendingReply, err error) {
	raw := c.restLocked(s, err)
	c.pending.replay.clear() // a barrier is the only pending request
	s.from, s.to = c.pending.replay.add(raw)
	s.state, s.at = queued, time.Now().UnixNano()
	c.pending.queued++
	c.startWorkerLocked()
}

// restLocked returns the blocking command of a wait that ended with err, blocking.ErrDedicated, with the rest of its timeout.
func (c *client) restLocked(s *pendingReply, err error) []byte {
	raw := bytes.Clone(c.pending.replay.bytes(s.from, s.to))
	if args, broken := arguments(raw); broken == nil {
		if form, ok := blocking.Parse(args); ok {
			raw = engine.RestOf(s.step.Info, args, raw, form.Timeout(), time.Since(time.Unix(0, s.at)), err)
		}
	}
	return raw
}

// blockedLocked reports whether a blocking command of the client waits.
func (c *client) blockedLocked() bool { return c.parked != nil || c.dedicated.blocked != nil }

// blockedCommand is a command that runs on a dedicated connection. If it may block, CLIENT UNBLOCK ends it by the
// connection's ID. If the handshake did not return the ID, run queries it first, but only as the gateway's own user:
// another user may lack the permission.
type blockedCommand struct {
	w    *worker
	done chan struct{}

	mu        sync.Mutex
	askedID   bool
	id        int64 // ID of the connection; 0 if unknown
	want      int
	frames    [][]byte
	err       error
	asking    int  // CLIENT UNBLOCK requests without a reply
	unblocked bool // the server has confirmed an UNBLOCK
	ended     bool
}

var rawClientID = []byte("*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n")

// run sends the command, which raw contains with the rest of its timeout, and waits for its replies.
func (b *blockedCommand) run(ctx context.Context, l *lane.Lane, raw []byte) ([][]byte, error) {
	w := b.w
	opt := w.options()
	b.want = w.n
	if opt.Block != command.NoBlock && !w.step.Destroy && !w.step.Restore {
		b.id = l.Conn().ID()
		if b.id == 0 && w.key.User == "" {
			b.askedID = true
			b.want++
			raw = append(bytes.Clone(rawClientID), raw...)
		}
		b.enter()
		defer b.leave()
	}
	if err := l.Post(raw, b.want, b, 0, opt); err != nil {
		return nil, err
	}
	l.Flush(false)
	select {
	case <-b.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.frames, b.err
}

// enter registers the command as its client's blocking command.
func (b *blockedCommand) enter() {
	c := b.w.c
	c.mu.Lock()
	c.dedicated.blocked = b
	if c.in.hungUp {
		c.execution.abort()
	}
	c.mu.Unlock()
}

func (b *blockedCommand) leave() {
	c := b.w.c
	c.mu.Lock()
	c.dedicated.blocked = nil
	c.mu.Unlock()
}

// Reply receives a reply.
func (b *blockedCommand) Reply(_ uint64, frame []byte, owned bool, _ *lane.Batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.want--
	if b.askedID {
		b.askedID = false
		if id, err := strconv.ParseInt(string(bytes.TrimSpace(frame[1:])), 10, 64); frame[0] == byte(resp.Integer) && err == nil {
			b.id = id
		}
		return
	}
	if !owned {
		frame = bytes.Clone(frame)
	}
	b.frames = append(b.frames, frame)
	if b.want == 0 {
		b.endLocked(nil)
	}
}

// Part refuses a part of a reply, so that the lane passes the reply as a whole.
func (b *blockedCommand) Part(uint64, []byte) bool { return false }

// Fail handles the end of the connection.
func (b *blockedCommand) Fail(_ uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(err)
}

func (b *blockedCommand) endLocked(err error) {
	if !b.ended {
		b.ended, b.err = true, err
		close(b.done)
	}
}

// unblock sends CLIENT UNBLOCK for the command and reports whether the server ended it.
func (b *blockedCommand) unblock(ctx context.Context, e *engine.Engine, fail bool) (bool, error) {
	b.mu.Lock()
	id := b.id
	if id == 0 || b.ended {
		b.mu.Unlock()
		return false, nil
	}
	b.asking++
	b.mu.Unlock()
	how := "TIMEOUT"
	if fail {
		how = "ERROR"
	}
	raw, _ := resp.AppendCommand(nil, []any{"CLIENT", "UNBLOCK", id, how})
	frames, err := e.Exchange(ctx, engine.Identity{Proto: 2}, raw, 1, false, nil)
	if err != nil {
		return false, err // the server may still unblock it
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asking--
	done := string(frames[0]) == ":1\r\n"
	b.unblocked = b.unblocked || done
	return done, nil
}

// unblockPending reports whether an unconfirmed CLIENT UNBLOCK may still end the next command on the connection, or
// whether another client of the server ended this command. last is the last reply to the completed command.
func (b *blockedCommand) unblockPending(last []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := b.asking
	if bytes.HasPrefix(last, replyUnblocked) && !b.unblocked {
		open-- // the unconfirmed request ended this command
	}
	return open != 0
}
