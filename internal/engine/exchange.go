package engine

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/replysize"
)

// Exchange sends raw, which contains n commands, in one write on a lane of an identity, and waits for the replies.
// reads: all commands are read-only. before is an earlier refusal, or nil. If it is no reason for a retry, its frames
// are the reply.
func (e *Engine) Exchange(ctx context.Context, id Identity, raw []byte, n int, reads bool, before *Refusal) ([][]byte, error) {
	return e.exchangeAt(ctx, id, request{raw: raw, n: n, reads: reads}, before)
}

// ExchangeAtPrimary is Exchange, but in a cluster no replica takes the commands.
func (e *Engine) ExchangeAtPrimary(ctx context.Context, id Identity, raw []byte, n int, reads bool, before *Refusal) ([][]byte, error) {
	return e.exchangeAt(ctx, id, request{raw: raw, n: n, reads: reads, home: e.cluster != nil}, before)
}

func (e *Engine) exchangeAt(ctx context.Context, id Identity, req request, before *Refusal) ([][]byte, error) {
	if e.cluster != nil {
		at, frames, err := e.exchangeClustered(ctx, id, &req)
		if req.slot = at; frames != nil || err != nil {
			return frames, WrapError(err)
		}
	}
	send := func(l *lane.Lane, raw []byte, n int, opt lane.Options) ([][]byte, error) {
		opt.NoTimeout = e.cfg.NoReplyTimeout
		return l.DoRaw(ctx, raw, n, opt)
	}
	got := e.exchange(ctx, id, req, before, send)
	if e.loadAgain(ctx, id, req.raw, got.frames) {
		got = e.exchange(ctx, id, req, nil, send)
	}
	return got.frames, WrapError(got.err)
}

// exchange calls send with a lane of an identity and the commands for it, and retries. before is the outcome of a first
// attempt outside the engine, or nil.
func (e *Engine) exchange(ctx context.Context, id Identity, req request, before *Refusal,
	send func(l *lane.Lane, raw []byte, n int, opt lane.Options) ([][]byte, error),
) attempt {
	id = e.identities.Own(id)
	req.id = id
	weight := pool.Any
	if len(req.raw) >= replysize.Large {
		weight = pool.Large
	}
	so := attempts{}
	if before != nil && !e.refusedBefore(ctx, &req, before, &so) {
		return attempt{frames: before.Frames, lane: before.Lane}
	}
	return e.run(ctx, &req, &so, func(n target) (got attempt) {
		if e.cfg.NoReplyTimeout {
			if err := n.subpool(id).AwaitMoving(ctx, weight); err != nil {
				return attempt{err: err}
			}
		}
		l, opt, err := n.laneOf(ctx, id, weight, nil)
		if err != nil {
			return attempt{err: err}
		}
		got.lane = l
		if !n.asking {
			got.frames, got.err = send(l, req.raw, req.n, opt)
			return got
		}
		got.frames, got.err = send(l, slices.Concat(rawAsking, req.raw), 1+req.n, opt)
		if len(got.frames) > 0 {
			got.frames = got.frames[1:]
		}
		return got
	})
}

// Lanes returns the lanes of an identity, on all nodes, for commands that a loop posts. The loop is zero if goroutines
// post them.
func (e *Engine) Lanes(id Identity, loop Loop) *Lanes {
	return &Lanes{e: e, of: id, id: e.identities.Own(id), loop: loop}
}

// Loop is an event loop that drives lanes.
type Loop = pool.Loop

// Of reports whether the lanes are those of an identity.
func (l *Lanes) Of(id Identity) bool { return l.of == id }

// Lanes picks lanes of one identity. It remembers the last subpool. It is safe for concurrent use.
type Lanes struct {
	e    *Engine
	of   Identity // as Lanes was called
	id   Identity // of the connections
	loop Loop
	last atomic.Pointer[place]
}

// place is an identity's subpool at a node.
type place struct {
	n       *node
	replica bool
	subpool *pool.Subpool
}

// Lane returns a lane that accepts commands now, without waiting. It returns nil if there is no lane, or if such
// commands must wait. Commands posted to the lane use the returned options. raw contains the commands.
func (l *Lanes) Lane(raw []byte, reads bool) (*lane.Lane, lane.Options) {
	p := l.Place(raw, reads, false, nil)
	return p.Lane, l.e.OptionsOf(p)
}

// Place is a lane for commands.
type Place struct {
	Lane  *lane.Lane // nil: the commands must wait
	Owner any        // see lane.Options
	// Version is that of the cluster's map that named the node; 0 outside a cluster. While it stays the same, the primaries
	// of all slots do.
	Version uint64
	Replica bool // the lane leads to a replica of a cluster
}

// OptionsOf returns the options of commands posted to a place.
func (e *Engine) OptionsOf(p Place) lane.Options {
	return lane.Options{Owner: p.Owner, NoTimeout: e.cfg.NoReplyTimeout}
}

// Place is Lane. If large is set, the replies are large, and should not delay small ones. In a cluster, replicas may take the
// commands if they only read and turn is not nil: the turn chooses among the replicas of a slot, as long as they are healthy.
func (l *Lanes) Place(raw []byte, reads, large bool, turn *uint32) Place {
	at := anySlot
	if l.e.cluster != nil {
		var home, ok bool
		if at, home, ok = l.e.oneNode(raw); !ok {
			return Place{}
		}
		if home {
			turn = nil
		}
	}
	to := l.pick(at, reads, turn)
	n := to.node
	if n == nil {
		return Place{}
	}
	p := l.last.Load()
	if p == nil || p.n != n || p.replica != to.replica {
		p = &place{n, to.replica, to.subpool(l.id)}
		l.last.Store(p)
	}
	var picked *lane.Lane
	if large {
		picked = p.subpool.PickLarge(l.loop)
	}
	if picked == nil {
		picked = p.subpool.PickFor(l.loop)
	}
	switch {
	case picked == nil:
		l.last.Store(nil) // the identity's lanes may be in another subpool by now
	case l.e.cfg.NoReplyTimeout && picked.Silent() && p.subpool.Growing():
		picked = nil // Exchange waits for the other lane
	}
	return Place{picked, p.subpool.Owner(), to.version, to.replica}
}

func (l *Lanes) pick(at slot, reads bool, turn *uint32) target {
	r := l.e.nodes.now.Load()
	switch {
	case r.slots == nil:
		return r.pickAny(!reads)
	case !reads || turn == nil:
		return r.slots.pick(at, nil, r)
	}
	return r.slots.pick(at, &reading{id: l.id, turn: *turn, fixed: true}, r)
}

// After states how a leased connection is released. The zero After returns it unchanged.
type After struct {
	Spoilt string // the reason for closing it; empty: it stays open
	Unsure string // the reason for restoring it; empty: its state is known
	DB     *int   // the database after the commands; nil: unchanged
}

// ExchangeLeased calls try with a leased connection for each attempt at the commands in raw, and with the commands to
// send: a blocking command that continues at another node has the rest of its timeout. It retries as Exchange does. A
// command for all primaries of a cluster, such as SCRIPT KILL, runs on each of them in turn.
func (e *Engine) ExchangeLeased(ctx context.Context, id Identity, raw []byte, reads bool,
	try func(l *lane.Lane, raw []byte) (frames [][]byte, after After, err error),
) ([][]byte, error) {
	at, err := e.slotOfRaw(raw)
	if err != nil {
		return [][]byte{crossSlotReply}, nil
	}
	req := request{raw: raw, reads: reads, slot: at}
	once := func(so *attempts) ([][]byte, error) {
		got := e.runLeased(ctx, id, &req, so, func(l *Lease, raw []byte) attempt {
			frames, after, err := try(l.Lane(), raw)
			if after.DB != nil && *after.DB != id.DB {
				moved := id
				moved.DB = *after.DB
				l.conn.SetIdentity(e.identities.Own(moved))
			}
			l.spoilt, l.unsure = after.Spoilt, after.Unsure
			return attempt{frames: frames, err: err}
		})
		if got.err != nil {
			return nil, WrapError(got.err)
		}
		return got.frames, nil
	}
	primaries := e.nodes.now.Load().nodes()
	info := e.forAll(raw)
	if info == nil || len(primaries) == 0 {
		return once(&attempts{})
	}
	var replies [][]byte
	for _, n := range primaries {
		frames, err := once(&attempts{next: &target{node: n}})
		if err != nil {
			return nil, err
		}
		replies = append(replies, frames[0])
	}
	return [][]byte{multislot.MergeWhole(info, raw, replies)}, nil
}

// forAll returns the command in raw if it is the only one, and for all primaries of a cluster; otherwise nil.
func (e *Engine) forAll(raw []byte) *command.Info {
	if e.cluster == nil {
		return nil
	}
	for c := range e.commandsIn(raw) {
		if len(c.raw) == len(raw) && c.info != nil && fanOut(c.info) {
			return c.info
		}
		return nil
	}
	return nil
}
