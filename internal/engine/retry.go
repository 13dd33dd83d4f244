package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// maxMoves bounds how often a command that was never sent moves to another
// connection of the same server.
const maxMoves = 16

// request is what run sends.
type request struct {
	raw   []byte // encoded commands; nil where try has them
	reads bool   // all of them only read
}

// attempt is what came of sending a request once.
type attempt struct {
	frame   []byte   // the reply to one command
	frames  [][]byte // the replies to several
	lane    *lane.Lane
	partial bool // a part of the reply was passed on: nothing is sent again
	waited  bool // err ended the wait for a leased connection
	err     error

	judged, refused bool // see judge
}

// attempts counts what became of a request so far.
type attempts struct {
	moves, resends, pauses int
	until                  time.Time // when to give up the search for a node; zero: not set yet
}

// run sends a request until it is answered or must not be sent again. try sends it once, to the node that
// the route names for it.
func (e *Engine) run(ctx context.Context, req *request, so *attempts, try func(*node) attempt) attempt {
	for {
		n, err := e.node(ctx, so, req.reads)
		if err != nil {
			return attempt{err: err}
		}
		got := try(n)
		if got.judged && got.err == nil && !got.refused { // most replies
			return got
		}
		if !e.again(ctx, n, req, &got, so) {
			return got
		}
	}
}

// again decides whether a request is sent once more, and waits where that has no use at once.
func (e *Engine) again(ctx context.Context, n *node, req *request, got *attempt, so *attempts) bool {
	e.judge(ctx, n, req.raw, got)
	f := failure{
		err: got.err, refused: got.refused, partial: got.partial, waited: got.waited, reads: req.reads,
		moves: so.moves, resends: so.resends, retries: e.cfg.Retries, finds: e.router.finds(), closed: e.closed.Load(),
	}
	switch f.decide() {
	case retryNow:
		so.count(got.err)
		return true
	case retryLater:
		so.count(got.err)
		return e.pause(ctx, n, so)
	}
	return false
}

func (so *attempts) count(err error) {
	if we, ok := errors.AsType[*wire.Error](err); ok {
		if we.Sent {
			so.resends++
		} else {
			so.moves++
		}
	}
}

// decision says what becomes of a request.
type decision uint8

const (
	giveUp     decision = iota
	retryNow            // on another connection
	retryLater          // after a pause, or once there is another route
)

func (d decision) String() string { return [...]string{"give up", "retry now", "retry later"}[d] }

// failure holds all on which it depends whether a request is sent again.
type failure struct {
	err     error // why there is no reply; nil: there is one
	refused bool  // the reply says that nothing was executed, for the server's role or state
	partial bool  // a part of the reply was passed on
	waited  bool  // err ended the wait for a leased connection
	reads   bool  // the request only reads

	moves, resends int // of earlier attempts: those that were not sent, and those that were
	retries        int // how often a request that reads is sent again

	finds  bool // the router may find another node
	closed bool // the engine is
}

// decide is the one place where it is decided whether a request is sent again. Whatever may have been executed is sent
// again only if it reads.
func (f *failure) decide() decision {
	we, broke := errors.AsType[*wire.Error](f.err)
	switch {
	case f.partial:
		return giveUp
	case f.err == nil && f.refused:
		return retryLater
	case broke && we.Sent:
		return f.decideSent(we)
	case errors.Is(f.err, lane.ErrDraining), errors.Is(f.err, pool.ErrSuspended):
		return retryNow // its lane, or its node, is out of sight already
	case f.finds && !f.closed && errors.Is(f.err, pool.ErrClosed):
		return retryNow // its node has left
	case !broke, f.closed, ctxEnded(f.err), pool.Refused(f.err):
		return giveUp
	case refusedDial(f.err), f.finds:
		return retryLater // each dial resolves the name again, or there is another node
	case f.waited, f.moves >= maxMoves, we.Timeout() && !stalled(f.err):
		return giveUp
	}
	return retryNow
}

// decideSent is decide for a request that may have been executed.
func (f *failure) decideSent(we *wire.Error) decision {
	switch {
	case !f.reads, f.resends >= f.retries, f.closed, ctxEnded(f.err), lane.BadReply(f.err), we.Timeout() && !stalled(f.err):
		return giveUp
	case f.finds:
		return retryLater
	}
	return retryNow
}

// MayRetry reports whether a request that a gateway's client sent, and that failed with err, may be sent again: Exchange does
// that.
func (e *Engine) MayRetry(err error, reads bool) bool {
	f := failure{err: err, reads: reads, retries: e.cfg.Retries, finds: e.router.finds(), closed: e.closed.Load()}
	return f.decide() != giveUp
}

// stalled reports whether the connection was given up because nothing moved.
func stalled(err error) bool {
	_, ok := errors.AsType[*lane.StallError](err)
	return ok
}

// sent reports whether a failed command may have been executed.
func sent(err error) bool {
	we, ok := errors.AsType[*wire.Error](err) // allocates nothing, as errors.As would
	return ok && we.Sent
}

// ctxEnded reports whether err says that a ctx ended.
func ctxEnded(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// node is where a request goes. Where no node is known, or writes are held for a failover, it waits, bounded by ctx
// and the wait timeout.
func (e *Engine) node(ctx context.Context, so *attempts, reads bool) (*node, error) {
	if n := e.nodes.now.Load().pick(reads); n != nil {
		return n, nil
	}
	return e.awaitNode(ctx, so, reads)
}

func (e *Engine) awaitNode(ctx context.Context, so *attempts, reads bool) (*node, error) {
	e.router.start()
	for {
		r := e.nodes.now.Load()
		if n := r.pick(reads); n != nil {
			return n, nil
		}
		if r.closed {
			return nil, pool.ErrClosed
		}
		left := e.timeLeft(so)
		if left <= 0 {
			return nil, e.router.explain(&wire.TimeoutError{Text: fmt.Sprintf("none was found within the wait timeout of %v", e.cfg.Pool.WaitTimeout)})
		}
		timer := time.NewTimer(left)
		select {
		case <-r.changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, e.router.explain(ctx.Err())
		}
		timer.Stop()
	}
}

// timeLeft is for how long a request may still wait for the right node.
func (e *Engine) timeLeft(so *attempts) time.Duration {
	if so.until.IsZero() {
		so.until = time.Now().Add(e.cfg.Pool.WaitTimeout)
	}
	return time.Until(so.until)
}

// Pauses before a request that its node did not take is sent again, if no
// other node is found before: they double, and are drawn from their upper half.
const (
	firstPause = 4 * time.Millisecond
	lastPause  = 128 * time.Millisecond
)

// pause waits until another node is to be used, or a little, and reports
// whether to send again.
func (e *Engine) pause(ctx context.Context, n *node, so *attempts) bool {
	r := e.nodes.now.Load()
	if now := r.node(); now != nil && now != n && r.only != nil {
		return true
	}
	d := min(firstPause<<min(so.pauses, 10), lastPause)
	so.pauses++
	if d = min(d/2+rand.N(d/2), e.timeLeft(so)); d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.changed:
		return true
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
