package lane

import (
	"context"
	"errors"

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// alone serves requests that may not share the lane: while one has its turn no other
// reply is due. A server may leave such a command unanswered behind others, and every later
// reply would reach the wrong caller. Its fields are guarded by Lane.mu.
type alone struct {
	held      bool     // newcomers wait, or go to other lanes
	out       bool     // one has its turn, until its reply is there
	forbidden bool     // newcomers do not wait, and none of these has its turn
	waiting   waitList // for their turn
}

var (
	errAloneTimeout = &wire.TimeoutError{Text: "replies to other commands stayed due for the socket timeout"}
	errPushOnly     = errors.New("a reply could not be told from what the server sends there unasked")
	errChanged      = errors.New("the connection has changed since it was chosen")
)

// DoAlone is Do for a command that a server may leave unanswered, such as AUTH: it is
// sent once no reply is due, and nothing else is sent before its reply is there. Newcomers
// wait meanwhile, as for a full window. If ctx or Config.ReplyTimeout ends the wait for the
// reply, the lane stays closed to others until the reply comes or the lane fails.
func (l *Lane) DoAlone(ctx context.Context, args []any, opt Options) ([]byte, error) {
	return l.DoAloneIf(ctx, args, opt, func() bool { return true })
}

// DoAloneIf is DoAlone for a command that is sent only if still reports true when its turn
// has come. still must be quick, and must not call the lane.
func (l *Lane) DoAloneIf(ctx context.Context, args []any, opt Options, still func() bool) ([]byte, error) {
	raw, err := resp.AppendCommand(nil, args)
	if err == nil && ended(ctx) {
		err = l.failure("wait for", false, ctx.Err())
	}
	if err != nil {
		if opt.Reserved {
			l.Unreserve()
		}
		return nil, err
	}
	if err := l.enterAlone(ctx, &opt); err != nil {
		return nil, err
	}
	if l.pushOnly || !still() {
		l.unlockDrained()
		return nil, l.failure("write", false, errChanged) // it has become another's, or a subscriber's
	}
	l.wbuf = append(l.wbuf, raw...)
	q := l.newRequest()
	flush, read, company := l.enqueueLocked(ctx, q, 1, len(raw), &opt)
	l.mu.Unlock()
	if err := l.await(ctx, q, flush, read, company); err != nil {
		return nil, err
	}
	frame := q.frame
	l.recycle(q)
	return frame, nil
}

// enterAlone waits until nothing is due, and returns with mu held, or with an error and mu free.
func (l *Lane) enterAlone(ctx context.Context, opt *Options) error {
	l.mu.Lock()
	if err := l.dead; err != nil {
		l.mu.Unlock()
		return l.failure("write", false, err)
	}
	if l.refusesLocked(opt) {
		return l.refuseLocked(opt)
	}
	if l.pushOnly {
		l.keepPromiseLocked(opt)
		l.unlockDrained()
		return l.failure("write", false, errPushOnly)
	}
	a := &l.alone
	w := a.waiting.add(load{replies: 1}, opt.Reserved)
	a.held = a.held || !a.forbidden
	l.publishDepthLocked()
	l.unlockDrained()
	if err := l.awaitTurn(ctx, opt, &a.waiting, w); err != nil {
		return err
	}
	l.mu.Lock()
	if err := l.dead; err != nil {
		l.mu.Unlock()
		return l.failure("write", false, err)
	}
	l.granted.sub(w.want)
	if l.retired {
		return l.refuseLocked(opt)
	}
	l.keepPromiseLocked(opt)
	return nil
}

// nextAloneLocked lets the next one go once nothing is due, or newcomers in if there is none.
func (l *Lane) nextAloneLocked() {
	a := &l.alone
	if !a.held || l.dead != nil {
		return
	}
	due := l.queue.n > 0 || l.granted.replies > 0
	if a.out && !due {
		a.out = false
		due = l.admitLocked() // who came meanwhile goes before the next one
	}
	switch {
	case a.out:
	case a.waiting.Len() == 0:
		a.held = false
		l.publishDepthLocked()
		l.grantLocked()
	case !due:
		a.out = true
		l.granted.add(a.waiting.First().want)
		a.waiting.grant()
	}
}

// Forbid has requests of DoAlone wait from now on, until Permit: the holder of a lent connection
// is about to send something that nothing may come after, such as MULTI, or AUTH as another user.
// What waits already goes first.
func (l *Lane) Forbid() {
	l.mu.Lock()
	l.alone.forbidden = true
	l.mu.Unlock()
}

// Permit ends Forbid. So does Undrain.
func (l *Lane) Permit() {
	l.mu.Lock()
	l.permitLocked()
	l.unlockDrained()
}

func (l *Lane) permitLocked() {
	l.alone.forbidden = false
	if l.alone.waiting.Len() > 0 && l.dead == nil {
		l.alone.held = true
		l.publishDepthLocked()
	}
}
