package lane

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Options of one request.
type Options struct {
	Reserved bool // uses a reservation of Reserve

	// NoTimeout disables Config.ReplyTimeout for this request.
	NoTimeout bool

	// Patient states that no caller waits for the reply, so that the reader does not poll for it.
	Patient bool

	Block command.Block // how long the server may hold the reply back

	// Owner, if set, must equal the lane's owner. The lane may belong to another one since the caller picked it; the
	// request then fails with ErrDraining.
	Owner any

	// ReplyBytes is the expected size of a large reply, in bytes; else 0. Twice this size counts against
	// Config.WindowBytes, so few such replies are pending at a time.
	ReplyBytes int
}

func (o *Options) replyWeight() int { return 2 * o.ReplyBytes }

// Do sends one command and blocks until its reply, which the caller then owns. ctx and Config.ReplyTimeout limit the
// wait. args are not retained. An error is a *resp.ArgumentError, ErrDraining, or a *wire.Error that states whether
// the command was sent.
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

// encodeLocked appends a command to the write buffer and returns its size. After an error it has unlocked mu.
func (l *Lane) encodeLocked(args []any) (size int, err error) {
	buf, err := resp.AppendCommand(l.out.buf, args)
	if err != nil {
		l.grantLocked()
		l.unlockDrained()
		return 0, err
	}
	size = len(buf) - len(l.out.buf)
	l.out.buf = buf
	return size, nil
}

// DoRaw sends encoded commands in one write and blocks until their n replies (at least one), which the caller then
// owns. If the connection breaks in between, it returns the replies so far with the error. raw is not retained.
func (l *Lane) DoRaw(ctx context.Context, raw []byte, n int, opt Options) ([][]byte, error) {
	if err := l.enter(ctx, &opt, load{n, len(raw)}, nil); err != nil {
		return nil, err
	}
	l.out.buf = append(l.out.buf, raw...)
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

// Send sends bytes without a reply in the queue, such as SUBSCRIBE on a connection whose frames are all pushes. It
// waits for room in the window, for Config.ReplyTimeout at most. raw is not retained.
func (l *Lane) Send(raw []byte) error {
	if err := l.enter(context.Background(), &Options{}, load{replies: 1}, nil); err != nil {
		return err
	}
	l.out.buf = append(l.out.buf, raw...)
	l.out.queued += uint64(len(raw))
	flush := l.out.begin()
	l.startClockLocked()
	l.mu.Unlock()
	if flush {
		l.flush(false)
	}
	return nil
}

// enter waits for room in the window for want and the bytes of args. It returns with mu held, or with an error and
// without mu.
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
		case l.window.waiting.Len() == 0 && l.roomLocked():
			l.keepPromiseLocked(opt)
			return nil
		}
		want.bytes += sizeOf(args) + opt.replyWeight()
		w := l.window.waiting.add(want, opt.Reserved)
		l.mu.Unlock()
		if err := l.awaitTurn(ctx, opt, &l.window.waiting, w); err != nil {
			return err
		}
		l.mu.Lock()
		if l.dead == nil {
			l.window.granted.sub(want)
			if l.retired {
				return l.refuseLocked(opt)
			}
			l.keepPromiseLocked(opt)
			return nil
		}
	}
}

// refusesLocked reports whether a request must use another lane.
func (l *Lane) refusesLocked(opt *Options) bool {
	if opt.Reserved {
		return l.draining && l.retired
	}
	return l.draining || opt.Owner != nil && opt.Owner != l.owner
}

// keepPromiseLocked ends the reservation of a request that has entered, or given up.
func (l *Lane) keepPromiseLocked(opt *Options) {
	if opt.Reserved {
		l.reserved--
	}
}

// roomLocked reports whether one more request may enter.
func (l *Lane) roomLocked() bool { return !l.alone.held && l.window.fits(l.callersDueLocked()) }

// grantLocked gives freed room in the window to waiting requests, in order.
func (l *Lane) grantLocked() {
	if !l.alone.held {
		l.window.admit(l.callersDueLocked())
	}
}

// awaitTurn waits until w, an entry of list, is decided. ctx and Config.ReplyTimeout limit the wait.
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
		if list != &l.window.waiting {
			cause = errAloneTimeout
		}
	}
	l.mu.Lock()
	l.keepPromiseLocked(opt)
	if !list.Remove(w) {
		// Decided at the same time: the room goes to the next request.
		if err := <-w.ch; err == nil && l.dead == nil {
			l.window.granted.sub(w.want)
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

// enqueueLocked adds a request for n replies to the queue. Its bytes are in wbuf already. The results state whether
// the caller must flush, whether it must read its own reply, and whether other callers are active.
func (l *Lane) enqueueLocked(ctx context.Context, q *request, n, bytes int, opt *Options) (flush, read, company bool) {
	l.queueLocked(q, n, bytes, opt)
	l.scanCtxLocked(ctx, q)
	flush = l.out.begin()
	if l.reading == nobody {
		l.reading, read, q.self = caller, true, true
	}
	company = l.queue.n > 1 || l.expect > 1
	l.expect = max(0, l.expect-1)
	return flush, read, company
}

// queueLocked adds a request to the queue.
func (l *Lane) queueLocked(q *request, n, bytes int, opt *Options) {
	p := place{q, n, bytes + opt.replyWeight()}
	q.start = l.out.queued
	l.out.queued += uint64(bytes)
	q.block, q.patient = opt.Block, opt.Patient
	l.startClockLocked()
	q.due = 0
	if !opt.NoTimeout {
		q.due = l.clock.due(l.cfg.ReplyTimeout, q.block)
	}
	l.queue.push(p)
	l.window.due.add(load{p.want, p.bytes})
	l.publishDepthLocked()
	if l.proof.due(n) {
		l.proveLocked()
	}
}

// await flushes and reads if the caller must, and waits for the replies.
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

// leave ends a wait because ctx ended.
func (l *Lane) leave(ctx context.Context, q *request) error {
	if q.state.CompareAndSwap(waiting, left) {
		return l.failure("wait for the reply of", true, ctx.Err())
	}
	<-q.wake // decided at the same time
	return q.err
}
