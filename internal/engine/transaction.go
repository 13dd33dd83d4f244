package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// AddQueued adds a command that runs inside MULTI. It accepts blocking commands, because they do not block inside
// MULTI.
func (p *Batch) AddQueued(args []any) {
	if p.err != nil {
		return
	}
	if p.n == 0 {
		p.borrow()
		p.raw = append(p.raw, rawMulti...)
		p.n++
		p.queued = true
	}
	if err := p.addInMulti(args); err != nil {
		p.err = fmt.Errorf("respool: transaction command %d: %w", p.n-1, err)
	}
}

func (p *Batch) addInMulti(args []any) error {
	if len(args) == 0 {
		return errNoArguments
	}
	info, class := command.Classify(args)
	switch class {
	case command.Stateful, command.Refused:
		return statefulError(info)
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

// ExecTransaction sends MULTI, the commands and EXEC, waits for all replies, and empties the batch. It never resends
// a sent transaction. Without commands there are no replies.
//
// An engine's first transaction runs on a dedicated connection, in two steps: a server that refuses MULTI would run
// the commands one by one. A transaction with a command that the server does not describe also runs on a dedicated
// connection.
func (p *Batch) ExecTransaction(ctx context.Context) ([][]byte, error) {
	defer p.Reset()
	if p.err != nil || p.n == 0 {
		return nil, p.err
	}
	if err := p.learn(ctx); err != nil {
		return nil, err
	}
	at, err := p.e.slotOfRaw(p.raw)
	if err != nil {
		return nil, WrapError(err)
	}
	p.closeTransaction()
	req := request{raw: p.raw, n: p.n, slot: at}
	if !p.e.multi.Load() || p.unsure {
		return p.e.leasedTransaction(ctx, p, req)
	}
	got := p.e.exchangeRaw(ctx, req)
	if got.err != nil {
		return nil, WrapError(got.err)
	}
	if !transactionEnded(got.frames) {
		p.e.multi.Store(false)
		got.lane.Fail(errUnended)
	}
	return got.frames, nil
}

func (p *Batch) closeTransaction() {
	p.raw = append(p.raw, rawExec...)
	p.n++
}

// ExecWatched is ExecTransaction on a connection with WATCH.
func (p *Batch) ExecWatched(ctx context.Context, conn *Conn) ([][]byte, error) {
	defer p.Reset()
	if p.err != nil || p.n == 0 {
		conn.Unwatch(ctx)
		return nil, p.err
	}
	p.conn = conn // queries about commands use this connection, because it may be the only one
	err := p.learn(ctx)
	p.conn = nil
	if err != nil {
		conn.Unwatch(ctx)
		return nil, err
	}
	p.closeTransaction()
	frames, err := conn.transact(ctx, p)
	if err != nil {
		return nil, WrapError(err)
	}
	conn.lease.Notice(frames...)
	return frames, nil
}

var errUnended = errors.New("a transaction on the connection did not end")

// The frame of a transaction.
var (
	rawMulti = []byte("*1\r\n$5\r\nMULTI\r\n")
	rawExec  = []byte("*1\r\n$4\r\nEXEC\r\n")
)

// leasedTransaction runs a whole transaction on a dedicated connection.
func (e *Engine) leasedTransaction(ctx context.Context, p *Batch, req request) ([][]byte, error) {
	got := e.runLeased(ctx, Identity{}, &req, &attempts{}, func(l *Lease, _ []byte) attempt {
		var conn Conn
		conn.begin(e, l)
		frames, err := conn.transact(ctx, p)
		if l.spoilt = conn.dirt(); conn.unsure {
			l.unsure = unsureReason
		}
		return attempt{frames: frames, err: err}
	})
	return got.frames, WrapError(got.err)
}

// transact runs a whole transaction on a held connection. If the server has not accepted MULTI from this engine yet,
// it waits for the reply to MULTI first, and sends nothing else after an error.
func (conn *Conn) transact(ctx context.Context, p *Batch) (frames [][]byte, err error) {
	raw, n := p.raw, p.n
	conn.unsure = conn.unsure || p.unsure
	if !conn.e.multi.Load() {
		multi, err := conn.Do(ctx, []any{"MULTI"})
		if err != nil {
			return nil, &NotExecuted{err}
		}
		if multi[0] == '-' {
			return [][]byte{multi}, nil
		}
		frames, raw, n = append(frames, multi), raw[len(rawMulti):], n-1
	}
	rest, err := conn.lease.Lane().DoRaw(ctx, raw, n, lane.Options{})
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
		conn.e.multi.Store(true)
	} else {
		conn.tainted = errUnended.Error()
	}
	return frames, nil
}

// transactionEnded reports whether EXEC ended the transaction, executed or aborted.
func transactionEnded(frames [][]byte) bool {
	se := resp.ErrorIn(frames[len(frames)-1])
	return se == nil || se.Code == "EXECABORT"
}
