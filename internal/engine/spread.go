package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/replysize"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// part is an encoded command that one node of a cluster takes.
type part struct {
	raw   []byte
	slot  slot
	reads bool
	home  bool // no replica takes it

	next    *target // takes the next attempt; nil: the map names one
	to      target  // takes the attempt of this round
	frame   []byte  // the reply, or the last refusal
	err     error   // there is no reply
	done    bool    // frame or err is final
	refused bool    // frame is a refusal: the server executed nothing
	only    *node   // the only node that may take it, because it is for all nodes; nil: the slot's
	resends int     // attempts that may have been executed
	moves   int     // attempts that were not sent
	failed  *node   // the node that did not take the last attempt, and named no other one; nil: none
}

// errNodeLeft is the error of a part for a node that takes no commands any more. The part was not executed.
var errNodeLeft = errors.New("the node has left the cluster")

// spread sends parts to the nodes of a cluster, one write for each node at a time, until each part has a reply or an
// error. The parts of one slot keep their order.
type spread struct {
	e      *Engine
	id     Identity
	home   bool // no replica takes the parts
	parts  []part
	ready  []*part // those that the current round sends
	group  []shipment
	once   lane.Bundle    // the requests of a round that their lanes take at once
	others sync.WaitGroup // goroutines of the other requests
	so     attempts

	readers   []target // by shard of readersOf: the node that takes the reads of this round; without a node: not chosen yet
	readersOf *slotMap
}

// shipment is what one node takes in one round.
type shipment struct {
	to     target
	parts  []*part
	raw    []byte
	lane   *lane.Lane
	frames [][]byte
	err    error

	strayed bool // its failure at a replica was counted
}

// send returns when all parts are done. ctx, the wait timeout and the reply timeout limit the wait.
func (s *spread) send(ctx context.Context) {
	s.ready = s.ready[:0]
	for i := range s.parts {
		s.ready = append(s.ready, &s.parts[i])
	}
	for len(s.ready) > 0 {
		s.assign(ctx)
		s.ship(ctx)
		if pause := s.collect(ctx); pause && len(s.ready) > 0 && !s.pause(ctx) {
			s.abandon(ctx)
			return
		}
	}
}

// pause waits before the next round: until a node that did not take its parts is replaced, or for a short time. It reports
// whether to go on.
func (s *spread) pause(ctx context.Context) bool {
	var n *node
	var req request
	for _, p := range s.ready {
		if p.failed != nil && p.failed != n {
			n, req = p.failed, request{slot: p.slot}
			s.e.router.seek(n, p.slot, nil, p.raw)
		}
	}
	if n == nil {
		return s.e.pauseFor(ctx, &s.so)
	}
	return s.e.pause(ctx, n, &req, &s.so)
}

// abandon ends the parts that are ready. The last refusal or error of each is final.
func (s *spread) abandon(ctx context.Context) {
	for _, p := range s.ready {
		if p.frame == nil && p.err == nil { // an earlier part of its slot held it back
			p.err = s.e.router.explain(cmp.Or(ctx.Err(), error(&wire.TimeoutError{Text: "the slot was moving for longer than the wait timeout"})))
		}
	}
}

// assign divides the parts that are ready among the nodes.
func (s *spread) assign(ctx context.Context) {
	s.readersOf = nil
	if s.assignByMap() {
		return
	}
	s.group = s.group[:0]
	mixed := false // the targets come from several maps or redirects
	var first *target
	for _, p := range s.ready {
		mixed = mixed || p.next != nil
		var err error
		if p.to, err = s.targetOf(ctx, p); err != nil {
			p.frame, p.err, p.done = nil, err, true
			continue
		}
		if first == nil {
			first = &p.to
		}
		mixed = mixed || p.to.version != first.version
	}
	var held map[slot]target
	if mixed {
		held = map[slot]target{}
	}
	for _, p := range s.ready {
		if p.done || mixed && s.holdsBack(p, held) {
			continue
		}
		g := s.shipmentTo(p.to)
		g.parts = append(g.parts, p)
		if p.to.asking {
			g.raw = append(g.raw, rawAsking...)
		}
		g.raw = append(g.raw, p.raw...)
	}
}

// assignByMap divides the parts among the nodes that one map names. It reports false if other nodes take some of them, or if
// some must wait.
func (s *spread) assignByMap() bool {
	s.group = s.group[:0]
	r := s.e.nodes.now.Load()
	for _, p := range s.ready {
		if p.next != nil || p.only != nil {
			return false
		}
		to := s.pick(r, &request{slot: p.slot, reads: p.reads, home: s.home || p.home, id: s.id})
		if to.node == nil {
			return false
		}
		g := s.shipmentTo(to)
		g.parts = append(g.parts, p)
		g.raw = append(g.raw, p.raw...)
	}
	return true
}

// holdsBack reports whether a part must wait for the next round: an earlier part of its slot goes to another node, or waits
// too. first contains the targets of the slots so far.
func (s *spread) holdsBack(p *part, first map[slot]target) bool {
	if p.slot == anySlot || p.reads {
		return false
	}
	to, seen := first[p.slot]
	switch {
	case !seen:
		first[p.slot] = p.to
		return false
	case to.node == p.to.node && to.asking == p.to.asking:
		return false
	}
	first[p.slot] = target{} // later parts wait too
	if p.to.asking {
		p.next = &target{node: p.to.node, asking: true, version: p.to.version}
	}
	return true
}

func (s *spread) targetOf(ctx context.Context, p *part) (target, error) {
	if p.only != nil {
		if !slices.Contains(s.e.nodes.now.Load().nodes(), p.only) {
			return target{}, errNodeLeft
		}
		return target{node: p.only}, nil
	}
	req := request{slot: p.slot, reads: p.reads, home: s.home || p.home, id: s.id}
	if p.next == nil {
		if t := s.pick(s.e.nodes.now.Load(), &req); t.node != nil {
			return t, nil
		}
	}
	s.so.next, p.next = p.next, nil
	return s.e.target(ctx, &s.so, &req)
}

// pick returns the node that a route names for a part. In one round, one replica takes all reads of a shard.
func (s *spread) pick(r *route, req *request) target {
	if !req.reads || req.home || r.slots == nil || r.slots.role == Primary || req.slot == anySlot {
		return r.pickFor(req, &s.so)
	}
	if r.slots != s.readersOf {
		s.readersOf, s.readers = r.slots, slices.Grow(s.readers[:0], len(r.slots.shards))[:len(r.slots.shards)]
		clear(s.readers)
	}
	i := r.slots.owners[req.slot-1]
	if i == 0 {
		return target{}
	}
	t := &s.readers[i-1]
	if t.node == nil {
		*t = r.pickFor(req, &s.so)
	}
	return *t
}

func (s *spread) shipmentTo(to target) *shipment {
	for i := range s.group {
		if g := &s.group[i]; g.to.node == to.node && g.to.asking == to.asking && g.to.replica == to.replica {
			return g
		}
	}
	n := len(s.group)
	if n == cap(s.group) {
		s.group = append(s.group, shipment{})
	}
	s.group = s.group[:n+1]
	g := &s.group[n]
	g.to, g.lane, g.parts, g.raw, g.strayed = to, nil, g.parts[:0], g.raw[:0], false // earlier rounds and batches leave their memory
	return g
}

// ship sends all shipments at once and waits for their replies. Shipments whose lanes take them now need no goroutine: the
// caller wakes once, after the last reply.
func (s *spread) ship(ctx context.Context) {
	if len(s.group) == 1 {
		s.group[0].exchange(ctx, s.id)
		s.group[0].distribute()
		return
	}
	posted := 0
	for i := range s.group {
		if g := &s.group[i]; g.post(ctx, &s.once, s.id) {
			s.group[i], s.group[posted] = s.group[posted], s.group[i]
			posted++
		}
	}
	for i := range s.group[posted:] {
		s.others.Go(func() { s.group[posted+i].exchange(ctx, s.id) })
	}
	s.once.Wait(ctx)
	for i := range s.group[:posted] {
		g := &s.group[i]
		g.frames, g.err = s.once.Replies(i)
		g.distribute()
	}
	s.once.Reset()
	s.others.Wait()
	for i := range s.group[posted:] {
		s.group[posted+i].distribute()
	}
}

// weight returns the kind of lane that takes the shipment.
func (g *shipment) weight() pool.Weight {
	if len(g.raw) >= replysize.Large {
		return pool.Large
	}
	return pool.Any
}

// replies returns the number of replies for each part.
func (g *shipment) replies() int {
	if g.to.asking {
		return 2
	}
	return 1
}

// post adds the shipment to a lane, if one takes it now.
func (g *shipment) post(ctx context.Context, to *lane.Bundle, id Identity) bool {
	subpool := g.to.subpool(id)
	if g.lane = subpool.Pick(g.weight()); g.lane == nil {
		return false
	}
	return to.Post(ctx, g.lane, g.raw, g.replies()*len(g.parts), lane.Options{Owner: subpool.Owner()})
}

// exchange sends the shipment and waits for its replies.
func (g *shipment) exchange(ctx context.Context, id Identity) {
	l, opt, err := g.to.laneOf(ctx, id, g.weight(), nil)
	if g.lane, g.frames, g.err = l, nil, err; err == nil {
		g.frames, g.err = l.DoRaw(ctx, g.raw, g.replies()*len(g.parts), opt)
	}
}

// distribute passes each reply to its part.
func (g *shipment) distribute() {
	each := g.replies()
	for i, p := range g.parts {
		p.frame, p.err = nil, g.err
		if last := each*i + each - 1; last < len(g.frames) {
			p.frame, p.err = g.frames[last], nil
		}
	}
	g.frames = nil
}

// collect decides about each part of the round: either it is done, or it is ready for the next round. It reports whether
// the next round must wait.
func (s *spread) collect(ctx context.Context) (pause bool) {
	redirected := false
	for i := range s.group {
		g := &s.group[i]
		for _, p := range g.parts {
			if p.err == nil && p.frame[0] != '-' { // the usual case
				p.done = true
				continue
			}
			d := s.judge(ctx, p, g)
			p.done = d == giveUp
			pause = pause || d == retryLater
			redirected = redirected || p.next != nil
		}
	}
	if redirected {
		s.so.redirects++
	}
	s.ready = s.ready[:0]
	for i := range s.parts {
		p := &s.parts[i]
		if !p.done && s.overtaken(i) {
			p.done, p.refused = true, true
		}
		if !p.done {
			s.ready = append(s.ready, p)
		}
	}
	return pause
}

// judge decides whether to send a part again.
func (s *spread) judge(ctx context.Context, p *part, g *shipment) decision {
	f := failure{
		err: p.err, reads: p.reads, moves: p.moves, resends: p.resends, retries: s.e.cfg.Retries,
		finds: s.e.router.finds(), closed: s.e.closed.Load(),
	}
	var to *redirect
	if p.err == nil {
		if f.refused, to = s.e.refusedBy(ctx, g.to, g.lane, p.raw, [][]byte{p.frame}); !f.refused {
			return giveUp
		}
	}
	f.replica = g.to.replica && to == nil && s.so.strayed < maxMoves
	d := f.decide()
	if d != giveUp && g.to.replica && !g.strayed {
		g.strayed = true
		s.so.stray(g.to.node)
	}
	if p.failed = nil; d == retryLater && to == nil && p.only == nil && p.slot != anySlot && !g.to.replica {
		p.failed = g.to.node
	}
	switch {
	case d == giveUp, f.replica:
	case sent(p.err):
		p.resends++
	case d == retryNow:
		p.moves++
	case to != nil:
		so := attempts{redirects: s.so.redirects}
		quick := s.e.follow(g.to, to, &request{}, &so)
		if p.next = so.next; quick {
			return retryNow
		}
	}
	return d
}

// overtaken reports whether the refused part i must not be sent again: it writes, and a later part that may have been
// executed uses one of its keys.
func (s *spread) overtaken(i int) bool {
	p := &s.parts[i]
	if p.done || p.reads {
		return false
	}
	for j := i + 1; j < len(s.parts); j++ {
		later := &s.parts[j]
		executed := later.done && !later.refused && (later.err == nil || sent(later.err))
		if executed && later.slot == p.slot && !later.reads && ShareKeys(p.raw, later.raw) {
			return true
		}
	}
	return false
}

// ShareKeys reports whether two requests of one or several commands have a key in common. It is true if some of their
// keys are unknown.
func ShareKeys(a, b []byte) bool {
	ours, ok := allKeysIn(a)
	theirs, known := allKeysIn(b)
	return !ok || !known || haveCommon(ours, theirs)
}

func haveCommon(ours, theirs [][]byte) bool {
	for _, key := range ours {
		if slices.ContainsFunc(theirs, func(other []byte) bool { return bytes.Equal(key, other) }) {
			return true
		}
	}
	return false
}

// keysIn appends the keys of an encoded command to keys. ok is false if they are unknown.
func keysIn(keys [][]byte, raw []byte) (all [][]byte, ok bool) {
	args, err := appendArguments(nil, raw)
	if err != nil {
		return keys, false
	}
	info, _ := command.ClassifyBytes(args)
	if info == nil {
		return keys, false
	}
	indexes, _ := command.KeysOfBytes(info, args, nil) // of a malformed command, none: every server refuses it
	for _, i := range indexes {
		keys = append(keys, args[i])
	}
	return keys, true
}

// allKeysIn returns the keys of encoded commands. ok is false if some are unknown.
func allKeysIn(raw []byte) (keys [][]byte, ok bool) {
	for len(raw) > 0 {
		n, err := resp.FrameLen(raw)
		if err != nil {
			return keys, false
		}
		if keys, ok = keysIn(keys, raw[:n]); !ok {
			return keys, false
		}
		raw = raw[n:]
	}
	return keys, true
}
