package engine

import (
	"context"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Exchange sends raw, which holds n commands, on a lane of an identity, in one piece, and waits for the replies. reads says that
// all of them only read. before is a refusal that came already, or nil: it may be the answer.
func (e *Engine) Exchange(ctx context.Context, id Identity, raw []byte, n int, reads bool, before *Refusal) ([][]byte, error) {
	got := e.exchange(ctx, id, request{raw: raw, reads: reads}, before, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		opt.NoTimeout = e.cfg.NoReplyTimeout
		return l.DoRaw(ctx, raw, n, opt)
	})
	return got.frames, WrapError(got.err)
}

// exchange has send carry out a request on a lane of an identity. before is what came of a first attempt that others made, or
// nil.
func (e *Engine) exchange(ctx context.Context, id Identity, req request, before *Refusal,
	send func(*lane.Lane, lane.Options) ([][]byte, error),
) attempt {
	id = e.own(id)
	weight := pool.Any
	if len(req.raw) >= large {
		weight = pool.Large
	}
	so := attempts{}
	if before != nil && !e.refusedBefore(ctx, req.raw, before, &so) {
		return attempt{frames: before.Frames, lane: before.Lane}
	}
	return e.run(ctx, &req, &so, func(n *node) (got attempt) {
		g := n.group(id)
		if e.cfg.NoReplyTimeout {
			if err := g.AwaitMoving(ctx, weight); err != nil {
				return attempt{err: err}
			}
		}
		l, opt, err := laneOf(ctx, g, weight, nil)
		if err != nil {
			return attempt{err: err}
		}
		got.lane = l
		got.frames, got.err = send(l, opt)
		return got
	})
}

// Lanes returns those of an identity, whichever server they lead to.
func (e *Engine) Lanes(id Identity) *Lanes { return &Lanes{e: e, id: e.own(id)} }

// Lanes are those of one identity. They remember where the last one was. They are safe for concurrent use.
type Lanes struct {
	e    *Engine
	id   Identity
	last atomic.Pointer[place]
}

// place is an identity's group at a node.
type place struct {
	n     *node
	group *pool.Subpool
}

// Lane picks a lane that takes commands now, without waiting for anything: nil if
// there is none, or if such commands have to wait. What is posted there takes the options.
func (l *Lanes) Lane(reads bool) (*lane.Lane, lane.Options) {
	n := l.e.nodes.now.Load().pick(reads)
	if n == nil {
		return nil, lane.Options{}
	}
	p := l.last.Load()
	if p == nil || p.n != n {
		p = &place{n, n.group(l.id)}
		l.last.Store(p)
	}
	picked := p.group.Pick(pool.Any)
	switch {
	case picked == nil:
		l.last.Store(nil) // the identity's lanes may come up in another group
	case l.e.cfg.NoReplyTimeout && picked.Silent() && p.group.Growing():
		picked = nil // Exchange waits for the other one
	}
	return picked, lane.Options{Owner: p.group.Owner(), NoTimeout: l.e.cfg.NoReplyTimeout}
}

// own turns the identity of the engine's own connections into the zero one.
func (e *Engine) own(id Identity) Identity {
	if id.User == "" && id.DB == e.cfg.Dial.DB && id.Proto == e.cfg.Dial.Protocol {
		return Identity{}
	}
	return id
}

// After says what becomes of a connection that was leased. The zero After leases it again as it is.
type After struct {
	Spoilt string // why it is closed, if it is
	Unsure string // why nobody knows its state, if nobody does: it is restored
	DB     *int   // the database in which the commands have left it; nil: its own
}

// ExchangeLeased leases a connection for each attempt at the commands in raw, and makes another attempt where Exchange would.
func (e *Engine) ExchangeLeased(ctx context.Context, id Identity, raw []byte, reads bool,
	try func(*lane.Lane) (frames [][]byte, after After, err error),
) ([][]byte, error) {
	got := e.runLeased(ctx, id, &request{raw: raw, reads: reads}, func(l *Lease) attempt {
		frames, after, err := try(l.Lane())
		if after.DB != nil && *after.DB != id.DB {
			moved := id
			moved.DB = *after.DB
			l.conn.SetIdentity(e.own(moved))
		}
		l.spoilt, l.unsure = after.Spoilt, after.Unsure
		return attempt{frames: frames, err: err}
	})
	if got.err != nil {
		return nil, WrapError(got.err)
	}
	return got.frames, nil
}
