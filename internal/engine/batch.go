package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Batch collects encoded commands and sends them in one write. It is not safe for concurrent use.
type Batch struct {
	e       *Engine
	conn    *Conn // the held connection that sends it; nil: any lane
	raw     []byte
	n       int
	writes  bool // at least one command is not read-only
	err     error
	effects []effect
	unknown []unknown    // commands that the table lacks
	queued  bool         // the commands run inside MULTI
	unsure  bool         // the effect of at least one queued command is unknown
	placed  []placed     // the commands, in a cluster
	memory  *batchMemory // since the first command; nil: none
}

// Batch returns an empty batch. Its commands are sent on a lane.
func (e *Engine) Batch() Batch { return Batch{e: e} }

// Batch returns an empty batch. Its commands are sent on this connection.
func (conn *Conn) Batch() Batch { return Batch{e: conn.e, conn: conn} }

// unknown is a command that the table lacks. The engine queries the server about it before it sends the batch.
type unknown struct{ index, from, to int } // its bytes are raw[from:to]

// effect is what a queued command does to a held connection.
type effect struct {
	index int
	info  *command.Info
	args  string // SELECT's argument
}

// Add adds a command. Exec returns the error of a bad argument or of a command that a batch may not contain.
func (p *Batch) Add(args []any) {
	if p.err != nil {
		return
	}
	if err := p.add(args); err != nil {
		p.err = fmt.Errorf("respool: pipeline command %d: %w", p.n, err)
	}
}

func (p *Batch) add(args []any) error {
	if len(args) == 0 {
		return errNoArguments
	}
	p.borrow()
	info, class := command.Classify(args)
	if class == command.Unknown {
		if _, err := commandName(args); err != nil {
			return err
		}
	}
	switch {
	case class == command.Unknown && p.conn == nil: // learn decides
	case class == command.Refused:
		return statefulError(info)
	case p.conn != nil && info != nil && info.Answers() == command.OnceAlone:
		return fmt.Errorf("%w: %s may be left unanswered among other commands: send it with Conn.Do", ErrStateful, info.Name)
	case p.conn != nil:
		if info == nil || info.Effect != command.EffectNone {
			p.effects = append(p.effects, effect{p.n, info, selected(info, args)})
		}
	case class == command.Blocking:
		return fmt.Errorf("%w: %s blocks: send it with Client.Do", ErrStateful, info.Name)
	case class == command.Stateful:
		return statefulError(info)
	}
	raw, err := resp.AppendCommand(p.raw, args)
	if err != nil {
		return err
	}
	if p.e.cluster != nil && p.conn == nil {
		p.placed = append(p.placed, placed{len(raw), p.place(info, args), onlyPrimary(info)})
	}
	p.append(raw, class)
	p.writes = p.writes || info != nil && !info.ReadOnly
	return nil
}

// placed is the end of a command in raw, and its slot in a cluster. home: no replica takes it.
type placed struct {
	end  int
	slot slot
	home bool
}

// unplaced is the slot of a command that is not for one node, or whose slot is not known yet.
const unplaced slot = 1<<16 - 1

// place returns the slot of a command.
func (p *Batch) place(info *command.Info, args []any) slot {
	if info == nil || wholeCluster(info) {
		return unplaced
	}
	at, err := p.e.slotOf(info, args)
	if err != nil {
		return unplaced
	}
	return at
}

// append records a command that is already encoded at the end of raw.
func (p *Batch) append(raw []byte, class command.Class) {
	if class == command.Unknown {
		p.unknown = append(p.unknown, unknown{p.n, len(p.raw), len(raw)})
	}
	p.raw = raw
	p.n++
}

// learn queries the server about the commands that the table lacks. It returns an error for a command that this batch
// may not contain.
func (p *Batch) learn(ctx context.Context) error {
	for _, u := range p.unknown {
		info, err := p.ask(ctx, u)
		if err != nil {
			return err
		}
		p.writes = p.writes || info == nil || !info.ReadOnly
		unsure := info == nil || info.Class == command.Unknown
		switch {
		case p.queued:
			p.unsure = p.unsure || unsure
		case p.conn != nil:
			p.took(u, info)
		case unsure:
			return fmt.Errorf("respool: pipeline command %d: %w: its effect on the connection is unknown: send it with Client.Do", u.index, ErrStateful)
		case info.Class == command.Blocking:
			return fmt.Errorf("respool: pipeline command %d: %w: %s blocks: send it with Client.Do", u.index, ErrStateful, info.Name)
		}
	}
	return nil
}

// ask queries the server about a command: on the held connection, if there is one.
func (p *Batch) ask(ctx context.Context, u unknown) (*command.Info, error) {
	args, err := resp.Elements(p.raw[u.from:u.to])
	if err != nil {
		return nil, err
	}
	for i := range args {
		args[i], _ = resp.StringOf(args[i])
	}
	x := p.e.vocabulary
	info, known := x.FindBytes(args)
	if known != command.NotAsked {
		return info, nil
	}
	name, _ := command.QueryNameBytes(args)
	switch {
	case p.conn == nil:
		err = WrapError(x.Learn(ctx, name))
	case !p.conn.multi:
		err = p.conn.ask(ctx, name)
	}
	info, _ = x.FindBytes(args)
	return info, err
}

// took records the effect of a command on the held connection.
func (p *Batch) took(u unknown, info *command.Info) {
	for i := range p.effects {
		if p.effects[i].index == u.index {
			p.effects[i].info = info
		}
	}
}

// Len returns the number of commands. In a transaction it includes MULTI.
func (p *Batch) Len() int { return p.n }

// Exec sends the commands and waits for their replies. want is the number of commands. After an error there may be fewer
// replies. Sent commands are resent only if all of them are read-only. Reset must follow. The slice frames is valid until
// then; the caller owns the frames in it.
func (p *Batch) Exec(ctx context.Context) (frames [][]byte, want int, err error) {
	if p.err != nil || p.n == 0 {
		return nil, 0, p.err
	}
	if p.conn != nil {
		frames, err = p.conn.exchange(ctx, p)
		return frames, p.n, err
	}
	if err := p.learn(ctx); err != nil {
		return nil, 0, err
	}
	if p.e.cluster != nil {
		frames, err = p.execCluster(ctx)
		return frames, p.n, err
	}
	got := p.e.exchangeRaw(ctx, request{raw: p.raw, n: p.n, reads: !p.writes})
	return got.frames, p.n, WrapError(got.err)
}

// exchangeRaw sends the commands of a request on a lane of the engine's own identity.
func (e *Engine) exchangeRaw(ctx context.Context, req request) attempt {
	return e.exchange(ctx, Identity{}, req, nil, func(l *lane.Lane, raw []byte, n int, opt lane.Options) ([][]byte, error) {
		return l.DoRaw(ctx, raw, n, opt)
	})
}

// Reset empties the batch.
func (p *Batch) Reset() {
	raw := p.raw[:0]
	if m := p.memory; m != nil {
		if cap(raw) <= mostKept { // a batch keeps a larger one itself
			m.raw, raw = raw, nil
		}
		m.placed = p.placed[:0]
		m.recycle()
		batchMemories.Put(m)
	}
	*p = Batch{e: p.e, conn: p.conn, raw: raw, effects: p.effects[:0], unknown: p.unknown[:0]}
}

// batchMemory is the memory of a batch. Later ones use it again, because most batches are used once.
type batchMemory struct {
	raw    []byte
	placed []placed
	clusterBatch
}

var batchMemories = sync.Pool{New: func() any { return &batchMemory{} }}

// Memory above these sizes is not kept for later batches.
const (
	mostKept  = 1 << 20 // bytes of a buffer
	mostParts = 1 << 14
)

// borrow provides memory for the first command.
func (p *Batch) borrow() {
	if p.memory != nil {
		return
	}
	p.memory = batchMemories.Get().(*batchMemory)
	p.placed = p.memory.placed
	if p.raw == nil {
		p.raw = p.memory.raw
	}
}

// clusterBatch sends the commands of a batch to the nodes of a cluster.
type clusterBatch struct {
	e      *Engine
	spread spread
	cuts   []batchedCut
	parts  []int    // for each part of spread, the index of its command; -1: it belongs to a cut
	frames [][]byte // the replies to all commands; nil: there is none
	err    error    // the first failure
}

// recycle forgets a finished batch, and keeps its memory.
func (b *clusterBatch) recycle() {
	s := &b.spread
	for i := range s.group[:cap(s.group)] {
		g := &s.group[:cap(s.group)][i]
		clear(g.parts[:cap(g.parts)])
		if g.to, g.lane = (target{}), nil; cap(g.raw) > mostKept {
			g.raw = nil
		}
	}
	if cap(s.parts) > mostParts {
		*b = clusterBatch{}
		return
	}
	clear(s.ready[:cap(s.ready)])
	clear(b.frames)
	clear(s.readers[:cap(s.readers)])
	s.readers, s.readersOf = s.readers[:0], nil
	s.e, s.id, s.parts, s.ready, s.group, s.so = nil, Identity{}, s.parts[:0], s.ready[:0], s.group[:0], attempts{}
	b.e, b.cuts, b.parts, b.frames, b.err = nil, nil, b.parts[:0], b.frames[:0], nil
}

// batchedCut is a divided command of a batch.
type batchedCut struct {
	command int
	name    string
	writes  bool
	cut     *multislot.Cut
	first   int // index of its first part
}

// execCluster sends the commands and returns their replies. A reply is nil if its command failed with an error.
//
// Commands for all nodes separate the others: they run alone.
func (p *Batch) execCluster(ctx context.Context) ([][]byte, error) {
	b := &p.memory.clusterBatch
	b.e, b.spread.e, b.frames = p.e, p.e, slices.Grow(b.frames, p.n)[:p.n]
	b.spread.parts, b.parts = slices.Grow(b.spread.parts, p.n), slices.Grow(b.parts, p.n)
	from := 0
	for i, c := range p.placed {
		raw := p.raw[from:c.end]
		from = c.end
		if c.slot != unplaced {
			b.spread.parts = append(b.spread.parts, part{raw: raw, slot: c.slot, reads: !p.writes, home: c.home})
			b.parts = append(b.parts, i)
			continue
		}
		for c := range p.e.commandsIn(raw) {
			if c.info != nil && wholeCluster(c.info) {
				b.send(ctx)
				frame, err := p.e.doWhole(ctx, c.info, Identity{}, c.raw)
				b.frames[i] = frame
				b.failed(err)
			} else {
				b.add(i, &c, !p.writes)
			}
		}
	}
	b.send(ctx)
	return b.frames, WrapError(b.err)
}

// add adds command i. reads: all commands of the batch are read-only.
func (b *clusterBatch) add(i int, c *encoded, reads bool) {
	at, err := b.e.slotOfBytes(c.info, c.args)
	if err == nil {
		b.spread.parts = append(b.spread.parts, part{raw: c.raw, slot: at, reads: reads, home: onlyPrimary(c.info)})
		b.parts = append(b.parts, i)
		return
	}
	cut := (*multislot.Cut)(nil)
	if b.e.divides(c.info) {
		cut = multislot.Divide(c.info, slices.Clone(c.args))
	}
	if cut == nil {
		b.frames[i] = resp.AppendError(nil, "-CROSSSLOT "+err.Error())
		return
	}
	b.cuts = append(b.cuts, batchedCut{i, c.info.Name, !c.info.ReadOnly, cut, len(b.parts)})
	for _, p := range cut.Parts {
		b.spread.parts = append(b.spread.parts, part{raw: encodeBytes(p.Args), slot: slot(p.Slot + 1), reads: reads})
		b.parts = append(b.parts, -1)
	}
}

// send sends the commands since the last send.
func (b *clusterBatch) send(ctx context.Context) {
	s := &b.spread
	if len(s.parts) == 0 {
		return
	}
	s.send(ctx)
	for i := range s.parts {
		if to := b.parts[i]; to >= 0 {
			b.frames[to] = s.parts[i].frame
			b.failed(s.parts[i].err)
		}
	}
	for _, c := range b.cuts {
		frame, err := joined(c.name, c.writes, c.cut, s.parts[c.first:c.first+len(c.cut.Parts)])
		if err != nil {
			if _, partial := err.(*PartialError); partial {
				frame = resp.AppendError(nil, err.Error())
			} else {
				b.failed(err)
			}
		}
		b.frames[c.command] = frame
	}
	clear(s.parts)
	s.parts, s.so, b.parts, b.cuts = s.parts[:0], attempts{}, b.parts[:0], nil
}

func (b *clusterBatch) failed(err error) {
	if b.err == nil {
		b.err = err
	}
}
