package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/refusal"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// maxMoves limits how often a command that was not sent moves to another connection of the same server.
const maxMoves = 16

// request is one request of run.
type request struct {
	raw   []byte   // encoded commands; nil if try has its own
	n     int      // of replies to raw
	reads bool     // all commands are read-only
	home  bool     // of several nodes, the one whose keys are watched takes it: in a cluster, the primary
	slot  slot     // of its keys
	id    Identity // of its connection, without Replica
	key   []byte   // one of them, after a failure; nil: in raw
	stays bool     // later commands use the same connection: ASKING does not apply to them
}

// target is the node that takes an attempt.
type target struct {
	*node
	asking  bool   // ASKING must precede the request, because the node is receiving its slot
	version uint64 // of the cluster's map that named the node
	replica bool   // of a cluster: it takes the request on a connection for reads
	yields  bool   // if the replica has no open lane, another node takes the request
}

// subpool returns the subpool for a request of an identity.
func (t target) subpool(id Identity) *pool.Subpool {
	id.Replica = t.replica
	return t.node.subpool(id)
}

// laneOf picks a lane for a request of an identity, or waits for one. See laneOf.
func (t target) laneOf(ctx context.Context, id Identity, w pool.Weight, check func() error) (*lane.Lane, lane.Options, error) {
	g := t.subpool(id)
	if t.yields {
		if l := g.Pick(w); l != nil {
			return l, lane.Options{Owner: g.Owner()}, nil
		}
		return nil, lane.Options{}, pool.ErrSuspended
	}
	return laneOf(ctx, g, w, check)
}

// attempt is the outcome of sending a request once.
type attempt struct {
	frame   []byte   // the reply of one command
	frames  [][]byte // the replies of several commands
	lane    *lane.Lane
	partial bool // the caller received a part of the reply: no retry
	waited  bool // err ended the wait for a leased connection
	held    bool // the server held a blocking command for a while
	err     error

	judged, refused bool      // see judge
	redirect        *redirect // the node named another one; nil: it did not
}

// attempts counts the attempts of a request so far.
type attempts struct {
	moves, resends, pauses int
	until                  time.Time // end of the wait for a node; zero: not set yet

	shun    *node // the replica that failed last; nil: none
	strayed int   // failed attempts at replicas of a cluster

	next      *target // takes the next attempt; nil: the route names one
	redirects int     // followed so far
}

// run sends a request until there is a reply, or a retry is not allowed. try sends it once, to the node that the
// route names.
func (e *Engine) run(ctx context.Context, req *request, so *attempts, try func(target) attempt) attempt {
	for {
		n, err := e.target(ctx, so, req)
		if err != nil {
			return attempt{err: err}
		}
		if req.home {
			n.node = e.waits.at(n.node)
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
func (e *Engine) again(ctx context.Context, n target, req *request, got *attempt, so *attempts) bool {
	e.judge(ctx, n, req.raw, got)
	f := failure{
		err: got.err, refused: got.refused, partial: got.partial, waited: got.waited, reads: req.reads,
		moves: so.moves, resends: so.resends, retries: e.cfg.Retries, finds: e.router.finds(), closed: e.closed.Load(),
		replica: n.replica && got.redirect == nil && so.strayed < maxMoves,
	}
	d := f.decide()
	if d == giveUp {
		return false
	}
	if n.replica {
		so.stray(n.node)
	}
	if got.held && got.refused {
		*so = attempts{} // the slot, or its primary, moved while the command waited: its redirects and pauses start again
	}
	if !f.replica {
		so.count(d, sent(got.err))
	}
	if got.redirect != nil && got.refused {
		return e.follow(n, got.redirect, req, so) || e.pauseFor(ctx, so)
	}
	switch {
	case d == retryNow:
		return true
	case n.replica:
		return e.pauseFor(ctx, so)
	}
	e.router.seek(n.node, req.slot, req.key, req.raw)
	return e.pause(ctx, n.node, req, so)
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

// stray notes that a replica of a cluster failed.
func (so *attempts) stray(n *node) {
	so.shun = n
	so.strayed++
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

	replica bool // a replica of a cluster failed at a read, and another node may take it

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
	case f.replica && f.elsewhere(we):
		return retryNow
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
	case refusal.OfDial(f.err), f.finds:
		return retryLater // a dial resolves the name again, and a router may find another node
	case f.waited, f.moves >= maxMoves, we.Timeout() && !stalled(f.err):
		return giveUp
	}
	return retryNow
}

// elsewhere reports whether a read that failed at a replica goes to another node at once. It costs none of the retries.
func (f *failure) elsewhere(we *wire.Error) bool {
	switch {
	case f.closed || f.err == nil:
		return f.refused && !f.closed
	case we == nil || ctxEnded(f.err) || lane.BadReply(f.err):
		return false
	}
	return !we.Sent || !we.Timeout() || stalled(f.err)
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

// MayRetry reports whether Exchange may retry a gateway client's request that failed with err. replica: a replica of a
// cluster failed.
func (e *Engine) MayRetry(err error, reads, replica bool) bool {
	f := failure{err: err, reads: reads, retries: e.cfg.Retries, finds: e.router.finds(), closed: e.closed.Load(), replica: reads && replica}
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

// target returns the node for the next attempt. If no node is known, or a failover holds writes back, it waits. ctx and
// the wait timeout limit the wait.
func (e *Engine) target(ctx context.Context, so *attempts, req *request) (target, error) {
	if so.next != nil {
		next := *so.next
		so.next = nil
		return next, nil
	}
	if t := e.pick(req, so); t.node != nil {
		return t, nil
	}
	return e.awaitTarget(ctx, so, req)
}

// pick returns the node that the route names for a request. Its node is nil if the request must wait.
func (e *Engine) pick(req *request, so *attempts) target { return e.nodes.now.Load().pickFor(req, so) }

// pickFor is pick of one route.
func (r *route) pickFor(req *request, so *attempts) target {
	if !req.reads || r.slots != nil && (req.home || so.strayed > 1 && r.slots.role == PreferReplica) {
		return r.pick(req.slot, nil)
	}
	return r.pick(req.slot, &reading{id: req.id, shun: so.shun})
}

func (e *Engine) awaitTarget(ctx context.Context, so *attempts, req *request) (target, error) {
	e.router.start()
	for {
		r := e.nodes.now.Load()
		if t := r.pickFor(req, so); t.node != nil {
			return t, nil
		}
		if r.closed {
			return target{}, pool.ErrClosed
		}
		left := e.timeLeft(so)
		if left <= 0 {
			return target{}, e.router.explain(&wire.TimeoutError{Text: fmt.Sprintf("none was found within the wait timeout of %v", e.cfg.Pool.WaitTimeout)})
		}
		timer := time.NewTimer(left)
		select {
		case <-r.changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return target{}, e.router.explain(ctx.Err())
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

// pause waits until another node than n takes the request, or for a short time. It reports whether to retry.
func (e *Engine) pause(ctx context.Context, n *node, req *request, so *attempts) bool {
	return e.pauseSince(ctx, e.nodes.now.Load(), n, req, so)
}

// pauseFor waits for a short time, whatever the route names: each redirect changes the route, and nodes may name each
// other. It reports whether to retry.
func (e *Engine) pauseFor(ctx context.Context, so *attempts) bool {
	return e.pauseSince(ctx, &route{}, nil, nil, so)
}

// pauseSince is pause from a moment on at which the route was r. It looks at each route before it waits for the next one, so
// it misses none. If n is nil, no route ends the pause.
func (e *Engine) pauseSince(ctx context.Context, r *route, n *node, req *request, so *attempts) bool {
	if n != nil && r.replaced(n, req) {
		return true
	}
	d := min(firstPause<<min(so.pauses, 10), lastPause)
	so.pauses++
	so.redirects = min(so.redirects, quickRedirects-1)
	if d = min(d/2+rand.N(d/2), e.timeLeft(so)); d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-r.changed:
			if r = e.nodes.now.Load(); r.slots == nil || r.closed || r.replaced(n, req) {
				return true
			}
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}
