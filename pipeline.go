package respool

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/command"
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
}

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
// is returned by Exec, which then sends nothing.
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
	switch {
	case class == command.Refused:
		return refusal(info)
	case p.conn != nil:
		if info == nil || info.Effect != command.EffectNone {
			p.effects = append(p.effects, effect{p.n, info, selected(info, args)})
		}
	case class == command.Blocking:
		return fmt.Errorf("%w: %s blocks: send it with Client.Do", ErrStateful, info.Name)
	case class == command.Stateful:
		return refusal(info)
	case class == command.Unknown:
		return fmt.Errorf("%w: the command is unknown to the client: send it with Client.Do", ErrStateful)
	}
	raw, err := resp.AppendCommand(p.raw, args)
	if err != nil {
		return err
	}
	p.raw = raw
	p.n++
	p.writes = p.writes || info == nil || !info.ReadOnly
	return nil
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
	p.raw, p.n, p.writes, p.err, p.effects = p.raw[:0], 0, false, nil, p.effects[:0]
}

// exchange sends encoded commands on a lane, in one piece.
func (c *Client) exchange(ctx context.Context, raw []byte, n int, readOnly bool) ([][]byte, error) {
	for attempt := 0; ; attempt++ {
		l, opt, err := c.lane(ctx)
		if err != nil {
			return nil, c.public(err)
		}
		frames, err := l.DoRaw(ctx, raw, n, opt)
		if err == nil {
			return frames, nil
		}
		if !c.again(err, attempt, readOnly) {
			return frames, c.public(err)
		}
	}
}

// sent reports whether a failed command may have been executed.
func sent(err error) bool {
	var we *wire.Error
	return errors.As(err, &we) && we.Sent
}

// Transaction gathers commands that run as one, with nobody's commands in
// between: MULTI, the commands and EXEC go out in one piece on a shared
// connection. To decide on values that were read first, use Client.Watch.
// It may be used again after Exec and is not safe for concurrent use.
type Transaction struct {
	p Pipeline
}

// Transaction makes an empty transaction.
func (c *Client) Transaction() *Transaction { return &Transaction{Pipeline{c: c}} }

// Do adds a command, as Pipeline.Do does. Blocking commands are let in, since
// they do not block inside a transaction.
func (t *Transaction) Do(args ...any) *Transaction {
	t.p.addQueued(args)
	return t
}

// addQueued adds a command that runs inside MULTI.
func (p *Pipeline) addQueued(args []any) {
	if p.err != nil {
		return
	}
	if p.n == 0 {
		p.raw, _ = resp.AppendCommand(p.raw, []any{"MULTI"})
		p.n++
	}
	if err := p.addInMulti(args); err != nil {
		p.err = fmt.Errorf("respool: transaction command %d: %w", p.n-1, err)
	}
}

func (p *Pipeline) addInMulti(args []any) error {
	if len(args) == 0 {
		return errNoArguments
	}
	info, class := command.Classify(args)
	if class == command.Stateful || class == command.Refused {
		return refusal(info)
	}
	raw, err := resp.AppendCommand(p.raw, args)
	if err != nil {
		return err
	}
	p.raw = raw
	p.n++
	return nil
}

// Len is the number of commands gathered.
func (t *Transaction) Len() int { return max(0, t.p.n-1) }

// Exec runs the transaction and gives a Reply for each command. A command that
// the server refuses to queue makes the whole transaction fail with its
// *ServerError: nothing was executed. A command that fails while it runs does
// not: its Reply tells. Exec is never repeated once it was sent.
func (t *Transaction) Exec(ctx context.Context) ([]Reply, error) {
	defer t.p.reset()
	if t.p.err != nil {
		return nil, t.p.err
	}
	if t.p.n == 0 {
		return nil, nil
	}
	t.p.raw, _ = resp.AppendCommand(t.p.raw, []any{"EXEC"})
	frames, err := t.p.c.exchange(ctx, t.p.raw, t.p.n+1, false)
	if err != nil {
		return nil, err
	}
	return execReplies(frames)
}

// execReplies reads the replies to MULTI, the commands and EXEC.
func execReplies(frames [][]byte) ([]Reply, error) {
	for _, f := range frames[:len(frames)-1] {
		if err := (Reply{frame: f}).Err(); err != nil {
			return nil, fmt.Errorf("respool: the transaction was not executed: %w", err)
		}
	}
	exec := Reply{frame: frames[len(frames)-1]}
	if exec.IsNil() {
		return nil, ErrConflict
	}
	replies, err := exec.Array()
	if err != nil {
		return nil, fmt.Errorf("respool: the transaction was not executed: %w", err)
	}
	if len(replies) != len(frames)-2 {
		return nil, fmt.Errorf("respool: EXEC gave %d replies to %d commands", len(replies), len(frames)-2)
	}
	return replies, nil
}
