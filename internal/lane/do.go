package lane

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Options of one request.
type Options struct {
	Reserved bool // uses a place promised by Reserve

	// NoTimeout leaves Config.ReplyTimeout out: whoever asked has a limit of their own, or wants none.
	NoTimeout bool

	Block command.Block // the server may hold the reply back for so long; <0: for ever

	// Owner, where set, is whom the lane has to serve: it may have been given to another
	// one since it was chosen, and refuses with ErrDraining then.
	Owner any

	// ReplyBytes is how large the reply is going to be, where it is known to be
	// large. Few such replies are due at a time: twice their size counts
	// against Config.WindowBytes.
	ReplyBytes int
}

func (o *Options) replyWeight() int { return 2 * o.ReplyBytes }

// Do sends one command and waits for its reply, which belongs to the caller.
// ctx and Config.ReplyTimeout bound the wait; args are not kept. An error is a
// *resp.ArgumentError, ErrDraining, or a *wire.Error that says whether the
// command was sent.
func (l *Lane) Do(ctx context.Context, args []any, opt Options) ([]byte, error) {
	if err := l.enter(ctx, &opt, load{replies: 1}, args); err != nil {
		return nil, err
	}
	size, err := l.encodeLocked(args)
	if err != nil {
		return nil, err
	}
	q := l.newRequest()
	flush, read, company := l.enqueueLocked(ctx, q, 1, size, &opt)
	l.mu.Unlock()
	if err := l.await(ctx, q, flush, read, company); err != nil {
		return nil, err
	}
	frame := q.frame
	l.recycle(q)
	return frame, nil
}

// encodeLocked appends a command to what is to be written, and gives its size.
// Where that can't be done it unlocks mu.
func (l *Lane) encodeLocked(args []any) (size int, err error) {
	buf, err := resp.AppendCommand(l.wbuf, args)
	if err != nil {
		l.grantLocked()
		l.unlockDrained()
		return 0, err
	}
	size = len(buf) - len(l.wbuf)
	l.wbuf = buf
	return size, nil
}

// DoRaw sends commands that are encoded already, in one piece, and waits for
// their n replies, at least one, which belong to the caller. Where the connection broke in
// between, the replies that came are returned beside the error. raw is not kept.
func (l *Lane) DoRaw(ctx context.Context, raw []byte, n int, opt Options) ([][]byte, error) {
	if err := l.enter(ctx, &opt, load{n, len(raw)}, nil); err != nil {
		return nil, err
	}
	l.wbuf = append(l.wbuf, raw...)
	q := l.newRequest()
	q.multi = true
	q.frames = make([][]byte, 0, n)
	flush, read, company := l.enqueueLocked(ctx, q, n, len(raw), &opt)
	l.mu.Unlock()
	if err := l.await(ctx, q, flush, read, company); err != nil {
		if q.state.Load() == done {
			return q.frames, err
		}
		return nil, err
	}
	frames := q.frames
	l.recycle(q)
	return frames, nil
}

// Send sends bytes that have no reply in the queue, as SUBSCRIBE on a
// connection whose frames are all pushes. raw is not kept.
func (l *Lane) Send(raw []byte) error {
	if err := l.enter(context.Background(), &Options{}, load{replies: 1}, nil); err != nil {
		return err
	}
	l.wbuf = append(l.wbuf, raw...)
	l.queued += uint64(len(raw))
	flush := !l.flushing
	l.flushing = true
	l.startClockLocked()
	l.mu.Unlock()
	if flush {
		l.flush(false)
	}
	return nil
}

// enter waits for room in the window, for want and the bytes of args, and
// returns with mu held, or with an error and mu free.
func (l *Lane) enter(ctx context.Context, opt *Options, want load, args []any) error {
	if ended(ctx) {
		if opt.Reserved {
			l.Unreserve()
		}
		return l.failure("wait for", false, ctx.Err())
	}
	l.mu.Lock()
	for {
		switch {
		case l.dead != nil:
			err := l.dead
			l.mu.Unlock()
			return l.failure("write", false, err)
		case l.refusesLocked(opt):
			return l.refuseLocked(opt)
		case l.window.Len() == 0 && l.roomLocked():
			l.keepPromiseLocked(opt)
			return nil
		}
		want.bytes += sizeOf(args) + opt.replyWeight()
		w := l.window.add(want, opt.Reserved)
		l.mu.Unlock()
		if err := l.awaitTurn(ctx, opt, &l.window, w); err != nil {
			return err
		}
		l.mu.Lock()
		if l.dead == nil {
			l.granted.sub(want)
			if l.retired {
				return l.refuseLocked(opt)
			}
			l.keepPromiseLocked(opt)
			return nil
		}
	}
}

// refusesLocked reports whether a request has to go elsewhere.
func (l *Lane) refusesLocked(opt *Options) bool {
	if opt.Reserved {
		return l.draining && l.retired
	}
	return l.draining || opt.Owner != nil && opt.Owner != l.owner
}

// keepPromiseLocked ends the promise of a request that has its place, or gives up.
func (l *Lane) keepPromiseLocked(opt *Options) {
	if opt.Reserved {
		l.reserved--
	}
}

// roomLocked reports whether one more request may enter.
func (l *Lane) roomLocked() bool { return !l.alone.held && l.fitsLocked() }

// fitsLocked reports whether one more request fits: the window is passed by
// no more than one.
func (l *Lane) fitsLocked() bool {
	return l.callersDueLocked()+l.granted.replies < l.cfg.Window && l.dueBytes+l.granted.bytes < l.cfg.WindowBytes
}

// grantLocked hands freed room in the window to those who wait, in order.
func (l *Lane) grantLocked() {
	if !l.alone.held {
		l.admitLocked()
	}
}

// admitLocked lets those in who wait in the window now, as far as there is room, and reports
// whether there were any.
func (l *Lane) admitLocked() (any bool) {
	for l.window.Len() > 0 && l.fitsLocked() {
		l.granted.add(l.window.First().want)
		l.window.grant()
		any = true
	}
	return any
}

// awaitTurn waits until w, an entry of list, is decided, for ctx and Config.ReplyTimeout at most.
func (l *Lane) awaitTurn(ctx context.Context, opt *Options, list *waitList, w *windowWait) error {
	var timeout <-chan time.Time
	if l.cfg.ReplyTimeout > 0 && !opt.NoTimeout {
		timer := time.NewTimer(l.cfg.ReplyTimeout)
		defer timer.Stop()
		timeout = timer.C
	}
	var cause error
	select {
	case err := <-w.ch:
		if err == ErrDraining {
			l.mu.Lock()
			return l.refuseLocked(opt)
		}
		return l.windowFailure(err)
	case <-ctx.Done():
		cause = ctx.Err()
	case <-timeout:
		cause = errWindowTimeout
		if list != &l.window {
			cause = errAloneTimeout
		}
	}
	l.mu.Lock()
	l.keepPromiseLocked(opt)
	if !list.Remove(w) {
		// Decided in the same moment: the room goes to the next one.
		if err := <-w.ch; err == nil && l.dead == nil {
			l.granted.sub(w.want)
			l.grantLocked()
		}
	}
	l.unlockDrained()
	return l.failure("wait for the window of", false, cause)
}

func (l *Lane) windowFailure(err error) error {
	if err == nil {
		return nil
	}
	return l.failure("write", false, err)
}

// enqueueLocked puts a request for n replies in the queue, whose bytes stand in wbuf, and tells the caller what else falls to it: to flush, to read for itself,
// and whether others are about.
func (l *Lane) enqueueLocked(ctx context.Context, q *request, n, bytes int, opt *Options) (flush, read, company bool) {
	l.queueLocked(q, n, bytes, opt)
	l.scanCtxLocked(ctx, q)
	flush, l.flushing = !l.flushing, true
	if l.reading == nobody {
		l.reading, read, q.self = caller, true, true
	}
	company = l.queue.n > 1 || l.expect > 1
	l.expect = max(0, l.expect-1)
	return flush, read, company
}

// queueLocked puts a request in the queue.
func (l *Lane) queueLocked(q *request, n, bytes int, opt *Options) {
	p := place{q, n, bytes + opt.replyWeight()}
	q.start = l.queued
	l.queued += uint64(bytes)
	l.dueBytes += p.bytes
	q.block = opt.Block
	l.startClockLocked()
	q.due = 0
	if !opt.NoTimeout {
		q.due = l.clock.due(l.cfg.ReplyTimeout, q.block)
	}
	l.queue.push(p)
	l.due += p.want
	l.publishDepthLocked()
	if l.proof.left -= n; l.proof.left < 0 {
		l.proveLocked()
	}
}

// await does the caller's share of the work and waits for the replies.
func (l *Lane) await(ctx context.Context, q *request, flush, read, company bool) (err error) {
	if flush {
		l.flush(company)
	}
	switch {
	case read:
		err = l.readForSelf(q)
	case q.ctx != nil || ctx.Done() == nil:
		<-q.wake
		err = q.err
	default:
		select {
		case <-q.wake:
			err = q.err
		case <-ctx.Done():
			err = l.leave(ctx, q)
		}
	}
	if err != nil && q.unwatch != nil {
		q.unwatch()
	}
	return err
}

// leave gives up waiting because ctx ended.
func (l *Lane) leave(ctx context.Context, q *request) error {
	if q.state.CompareAndSwap(waiting, left) {
		return l.failure("wait for the reply of", true, ctx.Err())
	}
	<-q.wake // decided in the same moment
	return q.err
}
