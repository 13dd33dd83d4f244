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

// maxMoves limits how often a command that was not sent moves to another connection of the same server.
const maxMoves = 16

// request is one request of run.
type request struct {
	raw   []byte // encoded commands; nil if try has its own
	reads bool   // all commands are read-only
	home  bool   // of several nodes, the one whose keys are watched takes it
}

// attempt is the outcome of sending a request once.
type attempt struct {
	frame   []byte   // the reply of one command
	frames  [][]byte // the replies of several commands
	lane    *lane.Lane
	partial bool // the caller received a part of the reply: no retry
	waited  bool // err ended the wait for a leased connection
	err     error

	judged, refused bool // see judge
}

// attempts counts the attempts of a request so far.
type attempts struct {
	moves, resends, pauses int
	until                  time.Time // end of the wait for a node; zero: not set yet
}

// run sends a request until there is a reply, or a retry is not allowed. try sends it once, to the node that the
// route names.
func (e *Engine) run(ctx context.Context, req *request, so *attempts, try func(*node) attempt) attempt {
	for {
		n, err := e.node(ctx, so, req.reads)
		if err != nil {
			return attempt{err: err}
		}
		if req.home {
			n = e.waits.at(n)
		}
		got := try(n)
		if got.judged && got.err == nil && !got.refused { // the usual case
			return got
		}
		if !e.again(ctx, n, req, &got, so) {
			return got
		}
	}
}

// again decides whether to retry, and pauses if an immediate retry would not help.
func (e *Engine) again(ctx context.Context, n *node, req *request, got *attempt, so *attempts) bool {
	e.judge(ctx, n, req.raw, got)
	f := failure{
		err: got.err, refused: got.refused, partial: got.partial, waited: got.waited, reads: req.reads,
		moves: so.moves, resends: so.resends, retries: e.cfg.Retries, finds: e.router.finds(), closed: e.closed.Load(),
	}
	d := f.decide()
	if d == giveUp {
		return false
	}
	so.count(d, sent(got.err))
	return d == retryNow || e.pause(ctx, n, so)
}

// count takes a decision into account. Pauses bound the retries of a command that was not sent by time, not by number.
func (so *attempts) count(d decision, sent bool) {
	switch {
	case sent:
		so.resends++
	case d == retryNow:
		so.moves++
	}
}

// decision is the next step after a failure.
type decision uint8

const (
	giveUp     decision = iota
	retryNow            // on another connection
	retryLater          // after a pause, or after a change of the route
)

func (d decision) String() string { return [...]string{"give up", "retry now", "retry later"}[d] }

// failure holds all inputs of the decision whether to retry.
type failure struct {
	err     error // nil: there is a reply
	refused bool  // the reply states that the server executed nothing because of its role or state
	partial bool  // a part of the reply was passed on
	waited  bool  // err ended the wait for a leased connection
	reads   bool  // the request is read-only

	moves, resends int // of earlier attempts: unsent and sent ones
	retries        int // how often a sent read-only request is resent

	finds  bool // the router may find another node
	closed bool // the engine is
}

// decide is the only function that decides whether to retry. A request that may have been executed is retried only if
// it is read-only.
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
		return retryNow // the lane or the node is out of use already
	case f.finds && !f.closed && errors.Is(f.err, pool.ErrClosed):
		return retryNow // the node has left
	case !broke, f.closed, ctxEnded(f.err), pool.Refused(f.err):
		return giveUp
	case refusedDial(f.err), f.finds:
		return retryLater // a dial resolves the name again, and a router may find another node
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

// MayRetry reports whether Exchange may retry a gateway client's request that failed with err.
func (e *Engine) MayRetry(err error, reads bool) bool {
	f := failure{err: err, reads: reads, retries: e.cfg.Retries, finds: e.router.finds(), closed: e.closed.Load()}
	return f.decide() != giveUp
}

// stalled reports whether a stall failed the connection.
func stalled(err error) bool {
	_, ok := errors.AsType[*lane.StallError](err)
	return ok
}

// sent reports whether a failed command may have been executed.
func sent(err error) bool {
	we, ok := errors.AsType[*wire.Error](err) // errors.As would allocate
	return ok && we.Sent
}

// ctxEnded reports whether err says that a ctx ended.
func ctxEnded(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// node returns the node for a request. If no node is known, or a failover holds writes back, it waits. ctx and the
// wait timeout limit the wait.
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

// timeLeft returns how long a request may still wait for a node.
func (e *Engine) timeLeft(so *attempts) time.Duration {
	if so.until.IsZero() {
		so.until = time.Now().Add(e.cfg.Pool.WaitTimeout)
	}
	return time.Until(so.until)
}

// Pauses before a retry of a request that its node refused, if the route does not change earlier. They double, and
// each is drawn from the upper half of its value.
const (
	firstPause = 4 * time.Millisecond
	lastPause  = 128 * time.Millisecond
)

// pause waits for another route, or for a short time. It reports whether to retry.
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
