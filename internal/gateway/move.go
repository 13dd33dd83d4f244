package gateway

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/blocking"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
)

// Snapshot is the state of a client that moves to the gateway of another process. It contains no secrets. Input contains data.
type Snapshot struct {
	Session      session.Snapshot
	LocalAddr    string // of the gateway
	ConnectedAt  time.Time
	OperatorOnly bool   // it connected beyond MaxClients, and no client has left since
	Input        []byte // received, but not processed
}

// MostMovedInput limits Snapshot.Input in bytes. A client that has sent a larger part of a request moves after the rest.
const MostMovedInput = 1 << 20

// Mover receives the clients that move to another process. Its methods must not block, and must not call the gateway; they may
// be called on any goroutine.
type Mover interface {
	// Depart receives a client that can move now.
	Depart(*Departure)
	// Subscriber receives a client that can move if the other process has its subscriptions too. It returns false if it cannot.
	Subscriber(*Subscriber) bool
}

// Departure is a client that may move to another process. Nobody reads or writes its connection until Done.
type Departure struct {
	Snapshot   Snapshot
	Descriptor int         // of its socket, valid until Done
	Subscriber *Subscriber // nil: it has no subscriptions

	c *client
}

// MoveClients makes clients stop between two requests, and passes those that can move to a Mover, each when nothing of it is in
// flight. A blocking command that waits in the engine moves as unread input, with the rest of its timeout. These clients stay:
// those in a transaction, with a dedicated connection (WATCH, MONITOR, CLIENT TRACKING, a blocking command outside the engine),
// with a user that the server verified, over TLS, and in memory; and in a cluster, those with subscriptions.
//
// Call it repeatedly: each call tries the clients that could not move yet, and those that have connected since. StayClients
// ends it.
func (g *Gateway) MoveClients(to Mover) {
	g.mu.Lock()
	g.moving = to
	all := g.listLocked()
	g.mu.Unlock()
	for _, c := range all {
		c.mu.Lock()
		c.moves = c.loop > 0 && !c.stays
		c.mu.Unlock()
		c.out.Depart()
	}
}

// StayClients ends MoveClients: the remaining clients go on here. Departures without Done stay as they are.
func (g *Gateway) StayClients() {
	g.mu.Lock()
	g.moving = nil
	all := g.listLocked()
	g.mu.Unlock()
	for _, c := range all {
		c.mu.Lock()
		c.moves, c.stays = false, false
		if s := c.leaving.Load(); s != nil && !c.away {
			s.Stay()
		}
		if c.in.stopped && !c.pausedLocked() {
			c.out.Resume()
		}
		c.mu.Unlock()
	}
}

// Done ends a departure: moved states whether the other process serves the client. Otherwise the client goes on here.
func (d *Departure) Done(moved bool) {
	c := d.c
	if moved {
		c.g.count.moved.Add(1)
		c.out.Leave()
		return
	}
	c.mu.Lock()
	c.away = false
	c.in.stopped = true
	c.mu.Unlock()
	c.out.Attach()
	if d.Subscriber != nil {
		d.Subscriber.Stay()
	}
	c.out.Resume()
}

// Refuse ends a departure that the other process refuses: the client goes on here, and MoveClients does not try it again.
func (d *Departure) Refuse() {
	d.c.stay()
	d.Done(false)
}

// stay makes MoveClients leave the client out.
func (c *client) stay() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves, c.stays = false, true
}

// holdsStillLocked reports whether a client that moves takes no request: it may move as soon as nothing is in flight.
func (c *client) holdsStillLocked() bool {
	return c.session.Movable() && (c.session.Type() != "pubsub" || c.leaving.Load() != nil) && c.login.token == "" && !c.in.hungUp && !c.in.eof &&
		(c.in.scanner.Idle() || c.in.held() <= MostMovedInput/2) && len(c.in.rest) <= MostMovedInput
}

// Depart offers the client to the other process if it can move now. It runs where the link reads.
func (c *client) Depart() {
	c.g.mu.Lock()
	to := c.g.moving
	c.g.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if to == nil || !c.moves || c.away || c.gone || c.closing {
		return
	}
	if c.session.Type() == "pubsub" && c.leaving.Load() == nil && !c.prepareLocked(to) || !c.holdsStillLocked() {
		return
	}
	if p := c.parked; p != nil && p.wait != nil {
		p.wait.Cancel(blocking.ErrDedicated) // then Resume calls unreadLocked, or the client gets an element
		return
	}
	if c.pending.n > 0 || c.barrier.closed() || c.execution.running || c.subscriptions.ticket != nil {
		return
	}
	s := c.leaving.Load()
	if s != nil && !s.isCut() {
		return
	}
	input := append(append([]byte(nil), c.in.scanner.Partial()...), c.in.rest...)
	if len(input) > MostMovedInput || !c.out.Detach() {
		return
	}
	c.away = true
	c.leaveTurnLocked()
	if s == nil {
		c.subscriptions.close() // they have no topics any more
	}
	to.Depart(&Departure{c: c, Subscriber: s, Descriptor: c.out.Descriptor(), Snapshot: Snapshot{
		Session: c.session.Snapshot(), LocalAddr: c.localAddr, ConnectedAt: c.connectedAt, OperatorOnly: c.operatorOnly, Input: input,
	}})
}

// unreadLocked makes the blocking command of a wait that ended with err, blocking.ErrDedicated, unread input again.
func (c *client) unreadLocked(s *pendingReply, err error) {
	raw, step := c.restLocked(s, err), &s.step.Step
	c.session.Retake(step)
	c.barrier.end(step)
	c.pending.pop() // a barrier is the only pending request
	c.pending.replay.clear()
	c.route.lane = nil
	c.in.commands--
	c.in.rest = append(raw, c.in.rest...)
}

// Clients returns the number of clients.
func (g *Gateway) Clients() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.clients)
}

// LastID returns the largest ID of a client so far.
func (g *Gateway) LastID() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lastID
}

// StartIDs makes the IDs of new clients larger than last.
func (g *Gateway) StartIDs(last int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lastID = max(g.lastID, last)
}

// Arriving states whether clients of another process move here. Meanwhile clients beyond MaxClients stay limited.
func (g *Gateway) Arriving(arriving bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.arriving = arriving
}

// Adopt serves a client that has moved here from another process. It owns the descriptor, except after an error. Limits on
// the number of clients do not apply. The caller must call start, which begins to serve the client, unless there is an error:
// then the client stays in the other process. topics are the subscriptions of the client; nil: it has none.
func (g *Gateway) Adopt(descriptor int, snap *Snapshot, topics *Arrival) (start func(), err error) {
	var c *client
	open, err := g.net.Adopt(descriptor, func(l netio.Link, loop int) (netio.Client, error) {
		c, err = g.restore(l, loop, snap, topics)
		return c, err
	})
	if err != nil {
		return nil, err
	}
	g.count.adopted.Add(1)
	return func() {
		open()
		if topics != nil {
			topics.attach(c)
		}
		c.out.Resume()
	}, nil
}

// errUserRemoved is the error of Adopt for a client whose user the configuration lacks.
var errUserRemoved = errors.New("its user is not configured here any more")

// restore makes a client from a snapshot.
func (g *Gateway) restore(l netio.Link, loop int, snap *Snapshot, topics *Arrival) (*client, error) {
	set, now := g.settings.Load(), time.Now()
	if len(snap.Input) > MostMovedInput {
		return nil, fmt.Errorf("gateway: adopt a client: %d bytes of input: want %d at most", len(snap.Input), MostMovedInput)
	}
	if (topics == nil) != (len(snap.Session.Topics) == 0) {
		return nil, errors.New("gateway: adopt a client: its subscriptions are missing")
	}
	s, err := session.Restore(&set.session, &snap.Session)
	if err != nil {
		return nil, err
	}
	c := &client{g: g, id: snap.Session.ID, addr: snap.Session.Addr, localAddr: snap.LocalAddr, host: hostOf(snap.Session.Addr),
		connectedAt: snap.ConnectedAt, loop: uint8(loop), operatorOnly: snap.OperatorOnly, session: s}
	c.in.lastAt, c.in.wholeAt = now, now
	c.in.rest, c.in.stopped = snap.Input, true
	s.ConnectedTo(&c.localAddr)
	if !c.applySettingsLocked(set) {
		c.leaveLimitsLocked()
		return nil, errUserRemoved
	}
	c.pending.typical = int32(min(set.OutputBuffer/firstPipeline, math.MaxInt32))
	c.out.Init(l, c, &c.tally().buffered)
	c.out.SetProto(snap.Session.Identity.Proto)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		c.leaveLimitsLocked()
		return nil, ErrClosed
	}
	if topics != nil {
		c.subscriptions.byUser = map[string]*pubsub.Listening{"": topics.listening}
	}
	g.lastID = max(g.lastID, c.id)
	g.clients[c] = struct{}{}
	g.hosts[c.host]++
	return c, nil
}
