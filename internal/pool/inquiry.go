package pool

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// inquiry determines why lanes with pending replies are silent: the server is busy, it holds the replies back, or the
// path of the conn is dead. It sends PING, and CLIENT LIST about the silent conns, on another conn, the witness. One
// runs at a time, on a goroutine of the pool.
//
//   - BUSY: the server runs a script. The stall limit restarts.
//   - The server reports a conn as blocked, as with CLIENT PAUSE and modules, or still receives its command: the stall
//     limit restarts.
//   - The server reports a conn as neither: its path is dead if the next inquiry, after the same time, finds the same.
//     After a short network outage TCP retransmits within that time.
//   - No answer, or none about the conn: the server does not know the conn, refuses CLIENT LIST, or is older than 6.2.
//     The stall limit decides.
type inquiry struct {
	pool *Pool

	// Guarded by Pool.mu.
	running bool
	ended   time.Time // of the last one
}

// suspected is OnSuspect of a lane: it starts an inquiry.
func (c *member) suspected(*lane.Lane) {
	p := c.pool
	p.mu.Lock()
	p.inquiry.startLocked()
	p.unlock()
}

// startLocked starts an inquiry on a new goroutine: one at a time, and at a limited rate.
func (q *inquiry) startLocked() {
	p := q.pool
	if q.running || p.closed || p.suspended || time.Since(q.ended) < p.patience()/2 {
		return
	}
	c := q.witnessLocked(time.Now().Add(-p.patience()))
	if c == nil && !q.dialWitnessLocked() {
		if c = q.witnessLocked(time.Time{}); c == nil {
			return
		}
	}
	if c != nil && c.class == idle {
		p.idle.remove(c)
		p.moveLocked(c, preparing)
		c.lane.Undrain(nil, lane.NoProof)
	}
	q.running = true
	p.goroutines++
	go q.run(p.dials, c, p.generationLocked(&p.zero))
}

// witnessLocked returns a conn of the zero identity that received bytes after heardSince, or nil.
func (q *inquiry) witnessLocked(heardSince time.Time) *member {
	p := q.pool
	if c := p.idle.top(func(c *member) bool {
		return c.subpool.identity.own() && c.lane.Depth() >= 0 && c.lane.HeardAt().After(heardSince)
	}); c != nil {
		return c
	}
	for _, c := range p.lanes {
		if c.subpool.identity.own() && !c.draining && c.lane.Depth() >= 0 && !c.lane.Avoided() && c.lane.HeardAt().After(heardSince) {
			return c
		}
	}
	return nil
}

// dialWitnessLocked takes a place for a new conn, if one is free and dials are allowed.
func (q *inquiry) dialWitnessLocked() bool {
	p := q.pool
	if !p.roomLocked() {
		return false
	}
	if _, refused := p.refusals.of(Identity{}); refused != nil {
		return false
	}
	if _, ok := p.gate.begin(false); !ok {
		return false
	}
	p.zero.dialing++
	p.refusals.attempted(Identity{})
	return true
}

// run queries the server over c, or over a new conn if c is nil.
func (q *inquiry) run(ctx context.Context, c *member, generation int) {
	if c == nil {
		c = q.dialWitness(ctx, generation)
	}
	if c == nil {
		q.end(nil, nil)
		return
	}
	err := q.ask(ctx, c)
	q.pool.mu.Lock()
	leased := c.class == preparing
	q.pool.mu.Unlock()
	if leased {
		failSilent(c, err) // another conn can use its place
	}
	q.end(c, err)
}

// dialWitness dials the conn for which dialWitnessLocked has taken a place.
func (q *inquiry) dialWitness(ctx context.Context, generation int) *member {
	p := q.pool
	began := time.Now()
	conn, err := p.dialTo.Load().Dial(ctx, p.cut, Identity{})
	took := time.Since(began)
	p.mu.Lock()
	defer p.unlock()
	p.gate.end()
	p.zero.dialing--
	over := p.closed || generation != p.generationLocked(&p.zero)
	var c *member
	switch {
	case err == nil:
		if c = p.addDialedLocked(&p.zero, conn, took, over); c != nil {
			p.moveLocked(c, preparing)
		}
	case !over:
		p.dialFailedLocked(&p.zero, err, took)
	}
	p.notifyLocked()
	p.serveLocked()
	return c
}

// end returns the witness. A witness that was not a lane becomes one if its subpool has only silent lanes.
func (q *inquiry) end(c *member, err error) {
	p := q.pool
	p.mu.Lock()
	p.goroutines--
	q.running, q.ended = false, time.Now()
	if c != nil && c.class == preparing {
		p.handBackLocked(c, err, time.Now())
		if c.class == idle && q.lacksLaneLocked(c.subpool) {
			p.idle.remove(c)
			p.shareLocked(c)
		}
	}
	p.serveLocked()
	p.unlock()
}

// lacksLaneLocked reports whether all lanes of g are silent and g may open another.
func (q *inquiry) lacksLaneLocked(g *Subpool) bool {
	p := q.pool
	if p.line.waiting > 0 || g.count[shared] == 0 || g.count[shared] >= p.laneLimit {
		return false
	}
	for _, c := range p.lanes {
		if c.subpool == g && !c.draining && !c.lane.Avoided() {
			return false
		}
	}
	return true
}

// silent is a silent conn in an inquiry.
type silent struct {
	c    *member
	time time.Duration
	mark uint64 // bytes received on it
}

// silentLocked returns the silent conns.
func (q *inquiry) silentLocked() []silent {
	var list []silent
	for _, c := range q.pool.members {
		if c.class == closing {
			continue
		}
		if d, mark := c.lane.Silence(); d > 0 {
			list = append(list, silent{c, d, mark})
		}
	}
	return list
}

// ask queries the server over c about the silent conns, and decides about them.
func (q *inquiry) ask(ctx context.Context, c *member) error {
	p := q.pool
	p.mu.Lock()
	suspects := q.silentLocked()
	opt := lane.Options{}
	if c.class == shared {
		opt.Owner = c.subpool
	}
	p.mu.Unlock()
	raw, n := question(suspects)
	asking, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	frames, err := c.lane.DoRaw(asking, raw, n, opt)
	if err != nil && ctx.Err() != nil {
		return errCut
	}
	if err != nil {
		return &lane.StallError{Silent: p.patience(), Reason: lane.NoPong}
	}
	p.mu.Lock()
	q.judgeLocked(suspects, frames)
	p.unlock()
	return nil
}

// question encodes the commands of an inquiry and returns their number.
func question(suspects []silent) (raw []byte, n int) {
	args := []any{"CLIENT", "LIST", "ID"}
	const none = 3
	for _, s := range suspects {
		if id := s.c.lane.Conn().ID(); id != 0 {
			args = append(args, id)
		}
	}
	raw, _ = resp.AppendCommand(nil, []any{"PING"})
	if len(args) == none {
		return raw, 1
	}
	raw, _ = resp.AppendCommand(raw, args)
	return raw, 2
}

var replyBusy = []byte("-BUSY")

// judgeLocked decides about the silent conns from the server's answer on the witness.
func (q *inquiry) judgeLocked(suspects []silent, frames [][]byte) {
	p := q.pool
	now := time.Now()
	busy := bytes.HasPrefix(frames[0], replyBusy)
	known := map[int64]clientState{}
	if len(frames) > 1 {
		if v, _, err := resp.Decode(frames[1]); err == nil {
			known = clientStates(v.Str)
		}
	}
	for _, s := range suspects {
		state, ok := known[s.c.lane.Conn().ID()]
		explained := busy || state.blocked || state.receiving
		switch s.c.doubts.answered(explained, ok, s.mark, now, p.patience()) {
		case excused:
			s.c.lane.Excuse()
		case dead:
			p.calls.add(s.fail)
		}
	}
}

// fail fails a conn whose path is dead, unless it received bytes since.
func (s silent) fail() {
	if d, mark := s.c.lane.Silence(); d > 0 && mark == s.mark {
		s.c.lane.Fail(&lane.StallError{Silent: d, Reason: lane.DeadPath})
	}
}

// doubts are the signs that a conn's path is dead.
type doubts struct {
	mark       uint64    // bytes received when the sign was first seen
	since      time.Time // time of the first sign; zero: none
	excused    time.Time // last time that the server explained its silence
	challenged bool      // a ping with a time limit is in flight
	pinged     bool      // a ping of the health check is in flight
}

// verdict is the outcome of an inquiry for one conn.
type verdict uint8

const (
	undecided verdict = iota
	excused           // the server explained the silence
	dead              // the path of the conn is dead
)

// answered records the server's answer about a silent conn. explained: the server is busy, or holds the replies back.
// known: the answer contains the conn. mark is the number of bytes received on it.
func (d *doubts) answered(explained, known bool, mark uint64, now time.Time, patience time.Duration) verdict {
	switch {
	case explained:
		d.since, d.excused = time.Time{}, now
		return excused
	case !known:
		d.since = time.Time{}
	case d.since.IsZero() || d.mark != mark:
		d.since, d.mark = now, mark
	case now.Sub(d.since) >= patience*3/4:
		return dead
	}
	return undecided
}

// clientState is the state of a conn in CLIENT LIST.
type clientState struct {
	blocked   bool // the server holds its replies back
	receiving bool // a part of a command has arrived, the last bytes within a second
}

// clientStates parses CLIENT LIST.
func clientStates(list []byte) map[int64]clientState {
	known := map[int64]clientState{}
	for line := range bytes.Lines(list) {
		var id, idle, buffered int64
		var s clientState
		for field := range bytes.FieldsSeq(line) {
			key, value, _ := bytes.Cut(field, []byte("="))
			n, _ := strconv.ParseInt(string(value), 10, 64)
			switch string(key) {
			case "id":
				id = n
			case "idle":
				idle = n
			case "qbuf":
				buffered = n
			case "flags":
				s.blocked = bytes.ContainsRune(value, 'b')
			}
		}
		s.receiving = buffered > 0 && idle <= 1
		known[id] = s
	}
	return known
}
