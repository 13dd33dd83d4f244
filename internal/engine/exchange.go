package engine

import (
	"context"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Exchange sends raw, which contains n commands, in one write on a lane of an identity, and waits for the replies.
// reads: all commands are read-only. before is an earlier refusal, or nil. If it is no reason for a retry, its frames
// are the reply.
func (e *Engine) Exchange(ctx context.Context, id Identity, raw []byte, n int, reads bool, before *Refusal) ([][]byte, error) {
	got := e.exchange(ctx, id, request{raw: raw, reads: reads}, before, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		opt.NoTimeout = e.cfg.NoReplyTimeout
		return l.DoRaw(ctx, raw, n, opt)
	})
	return got.frames, WrapError(got.err)
}

// exchange calls send with a lane of an identity, and retries. before is the outcome of a first attempt outside the
// engine, or nil.
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
		g := n.subpool(id)
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

// Lanes returns the lanes of an identity, on all nodes.
func (e *Engine) Lanes(id Identity) *Lanes { return &Lanes{e: e, id: e.own(id)} }

// Lanes picks lanes of one identity. It remembers the last subpool. It is safe for concurrent use.
type Lanes struct {
	e    *Engine
	id   Identity
	last atomic.Pointer[place]
}

// place is an identity's subpool at a node.
type place struct {
	n       *node
	subpool *pool.Subpool
}

// Lane returns a lane that accepts commands now, without waiting. It returns nil if there is no lane, or if such
// commands must wait. Commands posted to the lane use the returned options.
func (l *Lanes) Lane(reads bool) (*lane.Lane, lane.Options) {
	n := l.e.nodes.now.Load().pick(reads)
	if n == nil {
		return nil, lane.Options{}
	}
	p := l.last.Load()
	if p == nil || p.n != n {
		p = &place{n, n.subpool(l.id)}
		l.last.Store(p)
	}
	picked := p.subpool.Pick(pool.Any)
	switch {
	case picked == nil:
		l.last.Store(nil) // the identity's lanes may be in another subpool by now
	case l.e.cfg.NoReplyTimeout && picked.Silent() && p.subpool.Growing():
		picked = nil // Exchange waits for the other lane
	}
	return picked, lane.Options{Owner: p.subpool.Owner(), NoTimeout: l.e.cfg.NoReplyTimeout}
}

// own returns the zero Identity for the identity of the engine's own connections.
func (e *Engine) own(id Identity) Identity {
	if id.User == "" && id.DB == e.cfg.Dial.DB && id.Proto == e.cfg.Dial.Protocol {
		return Identity{}
	}
	return id
}

// After states how a leased connection is released. The zero After returns it unchanged.
type After struct {
	Spoilt string // the reason for closing it; empty: it stays open
	Unsure string // the reason for restoring it; empty: its state is known
	DB     *int   // the database after the commands; nil: unchanged
}

// ExchangeLeased calls try with a leased connection for each attempt at the commands in raw. It retries as Exchange
// does.
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
