package pool

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// An inquiry determines why lanes with pending replies are silent: the server is busy, it holds the replies back, or
// the path of the conn is dead. It sends PING, and CLIENT LIST about the silent conns, on another conn, the witness.
//
//   - BUSY: the server runs a script. The stall limit restarts.
//   - The server reports a conn as blocked, as with CLIENT PAUSE and modules, or still receives its command: the stall
//     limit restarts.
//   - The server reports a conn as neither: its path is dead if the next inquiry, after the same time, finds the same.
//     After a short network outage TCP retransmits within that time.
//   - No answer, or none about the conn: the server does not know the conn, refuses CLIENT LIST, or is older than 6.2.
//     The stall limit decides.

// suspected is OnSuspect of a lane: it starts an inquiry.
func (c *member) suspected(*lane.Lane) {
	p := c.pool
	p.mu.Lock()
	p.inquireLocked()
	p.unlock()
}

// inquireLocked starts an inquiry on a new goroutine: one at a time, and at a limited rate.
func (p *Pool) inquireLocked() {
	if p.inquiring || p.closed || p.suspended || time.Since(p.inquired) < p.patience()/2 {
		return
	}
	c := p.witnessLocked()
	if c == nil && !p.dialWitnessLocked() {
		if c = p.anyWitnessLocked(time.Time{}); c == nil {
			return
		}
	}
	if c != nil && c.class == idle {
		p.unstackLocked(c)
		p.moveLocked(c, preparing)
		c.lane.Undrain(nil, lane.NoProof)
	}
	p.inquiring = true
	p.goroutines++
	go p.inquire(p.dials, c, p.generation)
}

// witnessLocked returns a conn of the zero identity that received bytes while others were silent, or nil.
func (p *Pool) witnessLocked() *member { return p.anyWitnessLocked(time.Now().Add(-p.patience())) }

func (p *Pool) anyWitnessLocked(heardSince time.Time) *member {
	for i := len(p.stack) - 1; i >= 0; i-- {
		if c := p.stack[i]; c.subpool == &p.zero && c.lane.Depth() >= 0 && c.lane.HeardAt().After(heardSince) {
			return c
		}
	}
	for _, c := range p.lanes {
		if c.subpool == &p.zero && !c.draining && c.lane.Depth() >= 0 && !c.lane.Avoided() && c.lane.HeardAt().After(heardSince) {
			return c
		}
	}
	return nil
}

// dialWitnessLocked takes a place for a new conn, if one is free and dials are allowed.
func (p *Pool) dialWitnessLocked() bool {
	if p.placesTakenLocked() >= p.max || p.dialing >= p.cfg.DialParallel {
		return false
	}
	if _, refused := p.refusalLocked(Identity{}); refused != nil {
		return false
	}
	if _, ok := p.backoff.take(p.dialing, false); !ok {
		return false
	}
	if p.dialing == 0 {
		p.dialsSince = time.Now()
	}
	p.dialing++
	p.zero.dialing++
	p.attemptLocked(Identity{})
	return true
}

// inquire queries the server over c, or over a new conn if c is nil.
func (p *Pool) inquire(ctx context.Context, c *member, generation int) {
	if c == nil {
		c = p.dialFor(ctx, generation)
	}
	if c == nil {
		p.endInquiry(nil, nil)
		return
	}
	err := p.inquireOver(ctx, c)
	p.mu.Lock()
	leased := c.class == preparing
	p.mu.Unlock()
	if leased {
		failSilent(c, err) // another conn can use its place
	}
	p.endInquiry(c, err)
}

// dialFor dials a conn that no caller uses.
func (p *Pool) dialFor(ctx context.Context, generation int) *member {
	began := time.Now()
	conn, err := p.cfg.Dial(ctx, p.cut, Identity{})
	took := time.Since(began)
	p.mu.Lock()
	defer p.unlock()
	p.dialing--
	p.zero.dialing--
	over := p.closed || generation != p.generation
	var c *member
	switch {
	case err == nil:
		if c = p.welcomeLocked(&p.zero, conn, took, over); c != nil {
			p.moveLocked(c, preparing)
		}
	case !over:
		p.dialFailedLocked(&p.zero, err, took)
	}
	p.notifyLocked()
	p.serveLocked()
	return c
}

// endInquiry returns the witness. A witness that was not a lane becomes one if its subpool has only silent lanes.
func (p *Pool) endInquiry(c *member, err error) {
	p.mu.Lock()
	p.goroutines--
	p.inquiring, p.inquired = false, time.Now()
	if c != nil && c.class == preparing {
		p.handBackLocked(c, err, time.Now())
		if c.class == idle && p.lacksLaneLocked(c.subpool) {
			p.unstackLocked(c)
			p.shareLocked(c)
		}
	}
	p.serveLocked()
	p.unlock()
}

// lacksLaneLocked reports whether all lanes of g are silent and g may open another.
func (p *Pool) lacksLaneLocked(g *Subpool) bool {
	if p.waiting > 0 || g.count[shared] == 0 || g.count[shared] >= p.cfg.Lanes {
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
func (p *Pool) silentLocked() []silent {
	var list []silent
	for _, c := range p.members {
		if c.class == closing {
			continue
		}
		if d, mark := c.lane.Silence(); d > 0 {
			list = append(list, silent{c, d, mark})
		}
	}
	return list
}

// inquireOver queries the server over c about the silent conns.
func (p *Pool) inquireOver(ctx context.Context, c *member) error {
	p.mu.Lock()
	suspects := p.silentLocked()
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
	p.judgeLocked(suspects, frames)
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
func (p *Pool) judgeLocked(suspects []silent, frames [][]byte) {
	now := time.Now()
	busy := bytes.HasPrefix(frames[0], replyBusy)
	known := map[int64]clientState{}
	if len(frames) > 1 {
		if v, _, err := resp.Decode(frames[1]); err == nil {
			known = clientStates(v.Str)
		}
	}
	for _, s := range suspects {
		d := &s.c.doubts
		switch state, ok := known[s.c.lane.Conn().ID()]; {
		case busy || state.blocked || state.receiving:
			d.since, d.excused = time.Time{}, now
			s.c.lane.Excuse()
		case !ok:
			d.since = time.Time{}
		case d.since.IsZero() || d.mark != s.mark:
			d.since, d.mark = now, s.mark
		case now.Sub(d.since) >= p.patience()*3/4:
			p.later = append(p.later, s.fail)
		}
	}
}

// fail fails a conn whose path is dead, unless it received bytes since.
func (s silent) fail() {
	if d, mark := s.c.lane.Silence(); d > 0 && mark == s.mark {
		s.c.lane.Fail(&lane.StallError{Silent: d, Reason: lane.DeadPath})
	}
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
