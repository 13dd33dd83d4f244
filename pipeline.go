package respool

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/upstream"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Pipeline gathers commands and sends them in one piece on one connection:
// they run in order, but others' commands may run in between. It may be used
// again after Exec, which saves its memory. It is not safe for concurrent use.
type Pipeline struct {
	c       *Client
	conn    *Conn // the pipeline of a held connection
	raw     []byte
	n       int
	writes  bool // one of the commands does more than read
	err     error
	effects []effect
	unknown []unknown // commands that the table lacks
	queued  bool      // they run inside MULTI
	unsure  bool      // and nothing is known of one of them
}

// unknown is a command that the table lacks. The server is asked what it is before anything is sent.
type unknown struct{ index, from, to int } // its bytes are raw[from:to]

// effect is what a queued command does to a held connection.
type effect struct {
	index int
	info  *command.Info
	args  string // SELECT's argument
}

// Pipeline makes an empty pipeline.
func (c *Client) Pipeline() *Pipeline { return &Pipeline{c: c} }

// Do adds a command. Its arguments are those of Client.Do, and are encoded at
// once. An error, of an argument or a command that may not be pipelined here,
// is returned by Exec, which then sends nothing. Of a command that the client does not
// know Exec asks the server first.
func (p *Pipeline) Do(args ...any) *Pipeline {
	if p.err != nil {
		return p
	}
	if err := p.add(args); err != nil {
		p.err = fmt.Errorf("respool: pipeline command %d: %w", p.n, err)
	}
	return p
}

func (p *Pipeline) add(args []any) error {
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
func (p *Pipeline) append(raw []byte, class command.Class) {
	if class == command.Unknown {
		p.unknown = append(p.unknown, unknown{p.n, len(p.raw), len(raw)})
	}
	p.raw = raw
	p.n++
}

// learn has the server tell what the commands are that the table lacks. Its error is of one that may not be pipelined here.
func (p *Pipeline) learn(ctx context.Context) error {
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
func (p *Pipeline) ask(ctx context.Context, u unknown) (*command.Info, error) {
	args, err := resp.Elements(p.raw[u.from:u.to])
	if err != nil {
		return nil, err
	}
	for i := range args {
		args[i], _ = resp.StringOf(args[i])
	}
	x := &p.c.lexicon
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
func (p *Pipeline) took(u unknown, info *command.Info) {
	for i := range p.effects {
		if p.effects[i].index == u.index {
			p.effects[i].info = info
		}
	}
}

// Len is the number of commands gathered.
func (p *Pipeline) Len() int { return p.n }

// Exec sends the commands and waits for all replies, bounded as in Client.Do.
// There is a Reply for each command, whose Err tells of its own failure; the
// error is that of the connection, if it broke, and then the replies that came
// are there all the same. The pipeline is empty afterwards. An empty one gives
// no replies and no error.
//
// Commands that were not sent go to another connection. Those that were sent
// are sent again only if all of them read.
func (p *Pipeline) Exec(ctx context.Context) ([]Reply, error) {
	defer p.reset()
	if p.err != nil {
		return nil, p.err
	}
	if p.n == 0 {
		return nil, nil
	}
	if p.conn == nil {
		if err := p.learn(ctx); err != nil {
			return nil, err
		}
	}
	frames, err := p.exchange(ctx)
	replies := make([]Reply, p.n)
	for i := range replies {
		if i < len(frames) {
			replies[i].frame = frames[i]
		} else {
			replies[i].err = err
		}
	}
	return replies, err
}

func (p *Pipeline) exchange(ctx context.Context) ([][]byte, error) {
	if p.conn != nil {
		return p.conn.exchange(ctx, p)
	}
	return p.c.exchange(ctx, p.raw, p.n, !p.writes)
}

func (p *Pipeline) reset() {
	p.raw, p.n, p.writes, p.err, p.effects, p.unsure = p.raw[:0], 0, false, nil, p.effects[:0], false
	p.unknown, p.queued = p.unknown[:0], false
}

// exchange sends encoded commands on a lane, in one piece.
func (c *Client) exchange(ctx context.Context, raw []byte, n int, readOnly bool) ([][]byte, error) {
	frames, _, err := c.exchangeOn(ctx, pool.Key{}, raw, n, readOnly, nil)
	return frames, err
}

// exchangeOn is exchange on a lane of a key, and tells which lane it was. before is what came of a first attempt, if
// there was one.
func (c *Client) exchangeOn(ctx context.Context, key pool.Key, raw []byte, n int, readOnly bool, before *upstream.Refusal) ([][]byte, *lane.Lane, error) {
	return c.onLane(ctx, key, raw, readOnly, before, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		return l.DoRaw(ctx, raw, n, opt)
	})
}

// onLane has send carry the commands in raw out on a lane of a key, again where that is safe.
func (c *Client) onLane(ctx context.Context, key pool.Key, raw []byte, readOnly bool, before *upstream.Refusal,
	send func(*lane.Lane, lane.Options) ([][]byte, error),
) ([][]byte, *lane.Lane, error) {
	weight := pool.Any
	if len(raw) >= large {
		weight = pool.Large
	}
	t := tries{}
	if before != nil && !c.refusedBefore(ctx, raw, before, &t) {
		return before.Frames, before.Lane, nil
	}
	for {
		to, err := c.node(ctx, &t, readOnly)
		if err != nil {
			return nil, nil, c.public(err)
		}
		var frames [][]byte
		g := to.group(key)
		if c.opt.untimed {
			g.AwaitMoving(ctx, weight)
		}
		l, opt, err := laneOf(ctx, g, weight, nil)
		if err == nil {
			frames, err = send(l, opt)
			if err == nil && c.refused(ctx, to, l, raw, frames, &t) {
				continue
			}
			if err == nil {
				return frames, l, nil
			}
		}
		if !c.again(ctx, to, err, &t, readOnly) {
			return frames, nil, c.public(err)
		}
	}
}

// sent reports whether a failed command may have been executed.
func sent(err error) bool {
	we, ok := errors.AsType[*wire.Error](err) // allocates nothing, as errors.As would
	return ok && we.Sent
}
