package lane

import (
	"context"
	"errors"

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// alone runs requests that must have the lane alone: while one runs, no other reply is pending. A server may not
// reply to such a command behind others, and every later reply would then reach the wrong caller. Lane.mu guards its
// fields.
type alone struct {
	held      bool     // new requests wait, or use other lanes
	out       bool     // a request runs, until its reply arrives
	forbidden bool     // new requests do not wait, and no request of alone runs
	waiting   waitList // requests that wait to run alone
}

var (
	errAloneTimeout = &wire.TimeoutError{Text: "replies to other commands stayed due for the socket timeout"}
	errPushOnly     = errors.New("a reply could not be told from what the server sends there unasked")
	errChanged      = errors.New("the connection has changed since it was chosen")
)

// DoAlone is Do for a command without a reply in some cases, such as AUTH. It sends the command when no reply is
// pending, and nothing else before its reply. New requests wait meanwhile, as for a full window. If ctx or
// Config.ReplyTimeout ends the wait for the reply, the lane stays closed to others until the reply arrives or the
// lane fails.
func (l *Lane) DoAlone(ctx context.Context, args []any, opt Options) ([]byte, error) {
	return l.DoAloneIf(ctx, args, opt, func() bool { return true })
}

// DoAloneIf is DoAlone for a command that is sent only if still returns true at its turn. still must be quick and
// must not call the lane.
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
		return nil, l.failure("write", false, errChanged) // the connection has another identity, or is subscribed
	}
	l.out.buf = append(l.out.buf, raw...)
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

// enterAlone waits until no reply is pending. It returns with mu held, or with an error and without mu.
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
	l.window.granted.sub(w.want)
	if l.retired {
		return l.refuseLocked(opt)
	}
	l.keepPromiseLocked(opt)
	return nil
}

// nextAloneLocked starts the next request of alone when no reply is pending, or admits other requests if none waits.
func (l *Lane) nextAloneLocked() {
	a := &l.alone
	if !a.held || l.dead != nil {
		return
	}
	due := l.queue.n > 0 || l.window.granted.replies > 0
	if a.out && !due {
		a.out = false
		due = l.window.admit(l.callersDueLocked()) // requests that arrived meanwhile precede the next one
	}
	switch {
	case a.out:
	case a.waiting.Len() == 0:
		a.held = false
		l.publishDepthLocked()
		l.grantLocked()
	case !due:
		a.out = true
		l.window.granted.add(a.waiting.First().want)
		a.waiting.grant()
	}
}

// Forbid makes calls of DoAlone wait until Permit is called. The holder of a leased connection calls it before a command that
// AUTH must not follow, such as MULTI or AUTH as another user. Requests that wait already run first.
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
