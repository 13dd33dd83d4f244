package engine

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Lease is a dedicated connection that is leased to one caller. Release, ReleaseDirty and Destroy end the lease; only
// the first call has an effect. The other methods are not safe for concurrent use.
type Lease struct {
	e    *Engine
	node *node
	conn *pool.Conn
	over atomic.Bool

	version uint64 // of the cluster's map that named the node

	spoilt string // the reason for closing the connection after an attempt
	unsure string // the reason for restoring it: its state is unknown
}

// Lane returns the connection's lane.
func (l *Lease) Lane() *lane.Lane { return l.conn.Lane() }

// Release returns the connection unchanged.
func (l *Lease) Release() {
	if !l.over.Swap(true) {
		l.conn.Release()
	}
}

// ReleaseDirty returns a connection whose state is unknown. The pool restores it before another caller uses it.
func (l *Lease) ReleaseDirty(reason string) {
	if !l.over.Swap(true) {
		l.conn.ReleaseDirty(reason)
	}
}

// Destroy closes the connection.
func (l *Lease) Destroy(reason string) {
	if !l.over.Swap(true) {
		l.conn.Destroy(reason)
	}
}

// Notice reports refusals in replies to the router, for commands that are not retried.
func (l *Lease) Notice(frames ...[]byte) {
	for i, f := range frames {
		kind, ok := l.e.refusals.One(f)
		if !ok {
			continue
		}
		if r := l.e.redirected(target{node: l.node, version: l.version}, kind, frames[i:i+1]); r != nil {
			l.e.router.redirected(target{node: l.node, version: l.version}, r)
		}
		return
	}
}

// Lease leases a connection of an identity. Callers wait in order of arrival. ctx and the wait timeout limit the
// wait.
func (e *Engine) Lease(ctx context.Context, id Identity) (*Lease, error) {
	l := &Lease{}
	if err := e.lease(ctx, l, &request{}, e.leaseAs(id)); err != nil {
		return nil, WrapError(err)
	}
	return l, nil
}

// LeaseWith leases a connection of an identity, of the node that serves the keys of the command in raw, and sends the
// command on it. It retries with another connection if the node refuses the command. It leases none if the keys lie in
// several slots.
func (e *Engine) LeaseWith(ctx context.Context, id Identity, raw []byte, opt lane.Options) (*Lease, []byte, error) {
	at, err := e.slotOfRaw(raw)
	if err != nil {
		return nil, crossSlotReply, nil
	}
	var l *Lease
	from, so := e.leaseAs(id), attempts{}
	got := e.run(ctx, &request{raw: raw, slot: at, stays: true}, &so, func(n target) attempt {
		if l != nil {
			l.Release() // the command was refused on it
		}
		next := &Lease{}
		if err := e.leaseAt(ctx, next, n, from); err != nil {
			l = nil
			return attempt{waited: true, err: err}
		}
		l = next
		got := attempt{lane: l.Lane()}
		if got.frames, got.err = l.Lane().DoRaw(ctx, raw, 1, opt); got.err != nil {
			l.Destroy("its command got no reply")
			l = nil
			return got
		}
		e.judge(ctx, n, raw, &got)
		return got
	})
	if l == nil {
		return nil, nil, WrapError(got.err)
	}
	if got.err != nil {
		l.Release()
		return nil, nil, WrapError(got.err)
	}
	return l, got.frames[0], nil
}

// obtain leases a connection from a pool.
type obtain = func(context.Context, *pool.Pool) (*pool.Conn, error)

// leaseAs returns an obtain for connections of an identity.
func (e *Engine) leaseAs(id Identity) obtain {
	id = e.identities.Own(id)
	return func(ctx context.Context, p *pool.Pool) (*pool.Conn, error) { return p.Subpool(id).Acquire(ctx) }
}

// lease leases a connection of the node that takes a request, and begins l with it.
func (e *Engine) lease(ctx context.Context, l *Lease, req *request, from obtain) error {
	so := attempts{}
	got := e.run(ctx, req, &so, func(n target) attempt {
		return attempt{waited: true, err: e.leaseAt(ctx, l, n, from)}
	})
	return got.err
}

// leaseAt leases a connection of a node, and begins l with it.
func (e *Engine) leaseAt(ctx context.Context, l *Lease, n target, from obtain) error {
	conn, err := from(ctx, n.pool)
	if err != nil {
		return err
	}
	e.renewer.CatchUp(ctx, conn.Lane())
	l.e, l.node, l.conn, l.version = e, n.node, conn, n.version
	return nil
}

// runLeased is run with a leased connection of an identity for each attempt. try receives the encoded commands of the
// attempt: a blocking command that continues at another node has the rest of its timeout.
func (e *Engine) runLeased(ctx context.Context, id Identity, req *request, so *attempts, try func(*Lease, []byte) attempt) attempt {
	from, raw := e.leaseAs(id), req.raw
	req.home = req.home || e.cluster != nil // replicas have no dedicated connections
	var began time.Time
	streamGone := false // the last attempt ended so
	return e.run(ctx, req, so, func(n target) attempt {
		l := &Lease{}
		if err := e.leaseAt(ctx, l, n, from); err != nil {
			return attempt{waited: true, err: err}
		}
		if n.asking {
			if _, err := l.Lane().Do(ctx, []any{"ASKING"}, lane.Options{}); err != nil {
				l.Destroy("it failed at ASKING")
				return attempt{err: notSent(err)}
			}
		}
		now := time.Now()
		if began.IsZero() {
			began = now
		} else {
			raw = remainder(req.raw, now.Sub(began))
		}
		got := try(l, raw)
		got.lane, got.held = l.Lane(), time.Since(now) >= heldFrom
		e.judge(ctx, n, req.raw, &got) // a query about a script's error uses this connection
		if e.cluster != nil && got.err == nil && endsWithStream(got.frames) && (got.held || !streamGone) {
			streamGone, got.refused = true, true // perhaps it has moved: another attempt shows that
		}
		l.end()
		return got
	})
}

// heldFrom is the time from which a command counts as held by its server: a node that is not the right one refuses a
// command at once, unless the command blocks there.
const heldFrom = 100 * time.Millisecond

// remainder returns an encoded blocking command with the rest of its timeout, when some time has passed since it was sent
// first. It returns other commands unchanged.
func remainder(raw []byte, passed time.Duration) []byte {
	args, err := appendArguments(nil, raw)
	if err != nil {
		return raw
	}
	info, class := command.ClassifyBytes(args)
	block := command.BlockForBytes(info, args)
	if n, err := resp.FrameLen(raw); err != nil || n < len(raw) || class != command.Blocking || block == command.NoBlock || block.Forever() {
		return raw
	}
	return encodeBytes(command.WithBlock(info, args, time.Duration(block)-passed))
}

// endsWithStream reports whether a server refuses an XREADGROUP, or ended its wait, because the stream does not exist
// there. A stream that moves with its slot disappears from its old node.
func endsWithStream(frames [][]byte) bool {
	if len(frames) != 1 {
		return false
	}
	return bytes.HasPrefix(frames[0], replyNoGroup) || bytes.HasPrefix(frames[0], replyStreamGone)
}

var (
	replyNoGroup    = []byte("-NOGROUP")
	replyStreamGone = []byte("-UNBLOCKED the stream key no longer exists")
)

// end ends the lease according to the state that the attempt left.
func (l *Lease) end() {
	switch {
	case l.spoilt != "":
		l.Destroy(l.spoilt)
	case l.unsure != "":
		l.ReleaseDirty(l.unsure)
	default:
		l.Release()
	}
}
