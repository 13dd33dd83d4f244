package engine

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Batch gathers encoded commands that are sent in one piece. It may be used again after Exec, which saves its
// memory. It is not safe for concurrent use.
type Batch struct {
	e       *Engine
	conn    *Conn // on which it is sent; nil: on any lane
	raw     []byte
	n       int
	writes  bool // one of the commands does more than read
	err     error
	effects []effect
	unknown []unknown // commands that the table lacks
	queued  bool      // they run inside MULTI
	unsure  bool      // and nothing is known of one of them
}

// Batch makes an empty batch.
func (e *Engine) Batch() Batch { return Batch{e: e} }

// Batch makes an empty batch whose commands go out on this connection.
func (conn *Conn) Batch() Batch { return Batch{e: conn.e, conn: conn} }

// unknown is a command that the table lacks. The server is asked what it is before anything is sent.
type unknown struct{ index, from, to int } // its bytes are raw[from:to]

// effect is what a queued command does to a held connection.
type effect struct {
	index int
	info  *command.Info
	args  string // SELECT's argument
}

// Add adds a command. An error, of an argument or a command that may not stand here, is returned by Exec.
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
	case class == command.Unknown && p.conn == nil: // see learn
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

// append takes a command that was appended to raw.
func (p *Batch) append(raw []byte, class command.Class) {
	if class == command.Unknown {
		p.unknown = append(p.unknown, unknown{p.n, len(p.raw), len(raw)})
	}
	p.raw = raw
	p.n++
}

// learn has the server tell what the commands are that the table lacks. Its error is of one that may not be pipelined here.
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
			return fmt.Errorf("respool: pipeline command %d: %w: nothing is known of what it does to its connection: send it with Client.Do", u.index, ErrStateful)
		case info.Class == command.Blocking:
			return fmt.Errorf("respool: pipeline command %d: %w: %s blocks: send it with Client.Do", u.index, ErrStateful, info.Name)
		}
	}
	return nil
}

// ask finds out what a command is: on the held connection, if there is one.
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

// took takes in what was learned of a command on the held connection.
func (p *Batch) took(u unknown, info *command.Info) {
	for i := range p.effects {
		if p.effects[i].index == u.index {
			p.effects[i].info = info
		}
	}
}

// Len is the number of commands gathered. Those of a transaction include MULTI.
func (p *Batch) Len() int { return p.n }

// Exec sends the commands, waits for their replies, and empties the batch. want is the number of commands. On an error
// there may be fewer replies. What was sent is sent again only if all of it reads.
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

// exchangeRaw sends the n commands of a request on a lane of the engine's own.
func (e *Engine) exchangeRaw(ctx context.Context, req request, n int) attempt {
	return e.exchange(ctx, Identity{}, req, nil, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		return l.DoRaw(ctx, req.raw, n, opt)
	})
}

func (p *Batch) reset() {
	p.raw, p.n, p.writes, p.err, p.effects, p.unsure = p.raw[:0], 0, false, nil, p.effects[:0], false
	p.unknown, p.queued = p.unknown[:0], false
}
