package engine

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Batch collects encoded commands and sends them in one write. Exec empties it, and reuse saves its memory. It is not
// safe for concurrent use.
type Batch struct {
	e       *Engine
	conn    *Conn // the held connection that sends it; nil: any lane
	raw     []byte
	n       int
	writes  bool // at least one command is not read-only
	err     error
	effects []effect
	unknown []unknown // commands that the table lacks
	queued  bool      // the commands run inside MULTI
	unsure  bool      // the effect of at least one queued command is unknown
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
	info, class := command.Classify(args)
	if class == command.Unknown {
		if _, err := commandName(args); err != nil {
			return err
		}
	}
	switch {
	case class == command.Unknown && p.conn == nil: // learn decides
	case class == command.Refused:
		return refusal(info)
	case p.conn != nil && info != nil && info.Answers() == command.OnceAlone:
		return fmt.Errorf("%w: %s may be left unanswered among other commands: send it with Conn.Do", ErrStateful, info.Name)
	case p.conn != nil:
		if info == nil || info.Effect != command.EffectNone {
			p.effects = append(p.effects, effect{p.n, info, selected(info, args)})
		}
	case class == command.Blocking:
		return fmt.Errorf("%w: %s blocks: send it with Client.Do", ErrStateful, info.Name)
	case class == command.Stateful:
		return refusal(info)
	}
	raw, err := resp.AppendCommand(p.raw, args)
	if err != nil {
		return err
	}
	p.append(raw, class)
	p.writes = p.writes || info != nil && !info.ReadOnly
	return nil
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
	x := &p.e.vocabulary
	info, known := x.findBytes(args)
	if known != command.NotAsked {
		return info, nil
	}
	name, _ := command.QueryNameBytes(args)
	switch {
	case p.conn == nil:
		err = x.learn(ctx, name)
	case !p.conn.multi:
		err = p.conn.ask(ctx, name)
	}
	info, _ = x.findBytes(args)
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

// Exec sends the commands, waits for their replies, and empties the batch. want is the number of commands. After an
// error there may be fewer replies. Sent commands are resent only if all of them are read-only.
func (p *Batch) Exec(ctx context.Context) (frames [][]byte, want int, err error) {
	defer p.reset()
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
	got := p.e.exchangeRaw(ctx, request{raw: p.raw, reads: !p.writes}, p.n)
	return got.frames, p.n, WrapError(got.err)
}

// exchangeRaw sends the n commands of a request on a lane of the engine's own identity.
func (e *Engine) exchangeRaw(ctx context.Context, req request, n int) attempt {
	return e.exchange(ctx, Identity{}, req, nil, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		return l.DoRaw(ctx, req.raw, n, opt)
	})
}

func (p *Batch) reset() {
	p.raw, p.n, p.writes, p.err, p.effects, p.unsure = p.raw[:0], 0, false, nil, p.effects[:0], false
	p.unknown, p.queued = p.unknown[:0], false
}
