package respool

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

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
		p.raw = append(p.raw, rawMulti...)
		p.n++
		p.queued = true
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
	switch class {
	case command.Stateful, command.Refused:
		return refusal(info)
	case command.Unknown:
		if _, err := commandName(args); err != nil {
			return err
		}
	}
	if info != nil && info.Answers() != command.Once {
		return fmt.Errorf("%w: %s has no place in a transaction: use Client.Do", ErrStateful, info.Name)
	}
	raw, err := resp.AppendCommand(p.raw, args)
	if err != nil {
		return err
	}
	p.append(raw, class)
	return nil
}

// Len is the number of commands gathered.
func (t *Transaction) Len() int { return max(0, t.p.n-1) }

// Exec runs the transaction and gives a Reply for each command. A command that
// the server refuses to queue makes the whole transaction fail with its
// *ServerError: nothing was executed. A command that fails while it runs does
// not: its Reply tells. Exec is never repeated once it was sent.
//
// A client's first transaction runs on a connection of its own, in two steps:
// a server that refuses MULTI would run the commands one by one otherwise. So does one
// with a command of which the server tells nothing; that connection is reset afterwards.
func (t *Transaction) Exec(ctx context.Context) ([]Reply, error) {
	defer t.p.reset()
	if t.p.err != nil {
		return nil, t.p.err
	}
	if t.p.n == 0 {
		return nil, nil
	}
	c := t.p.c
	if err := t.p.learn(ctx); err != nil {
		return nil, err
	}
	t.p.raw = append(t.p.raw, rawExec...)
	t.p.n++
	if !c.multi.Load() || t.p.unsure {
		return c.lentTransaction(ctx, &t.p)
	}
	frames, l, err := c.exchangeOn(ctx, pool.Key{}, t.p.raw, t.p.n, false, nil)
	if err != nil {
		return nil, err
	}
	if !transactionEnded(frames) {
		c.multi.Store(false)
		l.Condemn(errUnended)
	}
	return execReplies(frames)
}

var errUnended = errors.New("a transaction on the connection did not end")

// What stands around a transaction's commands.
var (
	rawMulti = []byte("*1\r\n$5\r\nMULTI\r\n")
	rawExec  = []byte("*1\r\n$4\r\nEXEC\r\n")
)

// lentTransaction runs a whole transaction on a connection lent for it.
func (c *Client) lentTransaction(ctx context.Context, p *Pipeline) ([]Reply, error) {
	frames, err := c.onLent(ctx, pool.Key{}, p.raw, false, func(n *node, held *pool.Conn) outcome {
		conn := &Conn{c: c, node: n, held: held, db: c.opt.DB}
		frames, err := conn.transact(ctx, p)
		got := outcome{frames: frames, spoilt: conn.dirt(), err: err}
		if conn.unsure {
			got.unsure = unsureReason
		}
		return got
	})
	if err != nil {
		return nil, c.public(err)
	}
	return execReplies(frames)
}

// transact runs a whole transaction on a held connection. Where it is not known yet
// that the server lets transactions run, it asks for MULTI's reply first, and sends no more
// if that is an error.
func (conn *Conn) transact(ctx context.Context, p *Pipeline) (frames [][]byte, err error) {
	raw, n := p.raw, p.n
	conn.unsure = conn.unsure || p.unsure
	if !conn.c.multi.Load() {
		multi := conn.Do(ctx, "MULTI")
		if multi.err != nil {
			return nil, notExecuted(multi.err)
		}
		if multi.frame[0] == '-' {
			return [][]byte{multi.frame}, nil
		}
		frames, raw, n = append(frames, multi.frame), raw[len(rawMulti):], n-1
	}
	rest, err := conn.held.Lane().DoRaw(ctx, raw, n, lane.Options{})
	err = conn.failure(err)
	if err != nil {
		if sent(err) {
			conn.tainted = "its transaction was cut off"
		}
		return nil, err
	}
	frames = append(frames, rest...)
	if transactionEnded(frames) {
		conn.multi, conn.watching = false, false
		conn.permit()
		conn.c.multi.Store(true)
	} else {
		conn.tainted = errUnended.Error()
	}
	return frames, nil
}

// transactionEnded reports whether EXEC did its work, in vain or not.
func transactionEnded(frames [][]byte) bool {
	var se *ServerError
	err := Reply{frame: frames[len(frames)-1]}.Err()
	return err == nil || errors.As(err, &se) && se.Code == "EXECABORT"
}

func notExecuted(err error) error {
	return fmt.Errorf("respool: the transaction was not executed: %w", err)
}

// execReplies reads the replies to MULTI, the commands and EXEC.
func execReplies(frames [][]byte) ([]Reply, error) {
	if err := (Reply{frame: frames[0]}).Err(); err != nil && len(frames) == 1 {
		return nil, notExecuted(err)
	} else if err != nil {
		return nil, fmt.Errorf("respool: MULTI was refused, so the commands did not run as one transaction: %w", err)
	}
	for _, f := range frames[1 : len(frames)-1] {
		if err := (Reply{frame: f}).Err(); err != nil {
			return nil, notExecuted(err)
		}
	}
	exec := Reply{frame: frames[len(frames)-1]}
	if exec.IsNil() {
		return nil, ErrConflict
	}
	replies, err := exec.Array()
	if err != nil {
		return nil, notExecuted(err)
	}
	if len(replies) != len(frames)-2 {
		return nil, fmt.Errorf("respool: EXEC gave %d replies to %d commands", len(replies), len(frames)-2)
	}
	return replies, nil
}
