package engine

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/replysize"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Do sends one command and waits for its reply. The caller owns the returned frame. args do not escape. ctx, the wait
// timeout for a connection, and the reply timeout limit the wait.
func (e *Engine) Do(ctx context.Context, args []any) ([]byte, error) {
	if len(args) == 0 {
		return nil, errNoArguments
	}
	info, class := command.Classify(args)
	switch class {
	case command.Multiplexed:
		return e.doMultiplexed(ctx, info, args)
	case command.Blocking:
		return e.doBlocking(ctx, info, args)
	case command.Unknown:
		return e.doUnknown(ctx, args)
	}
	return nil, statefulError(info)
}

// statefulError returns the error for a command that may not share a connection. The error names the method to use
// instead.
func statefulError(info *command.Info) error {
	return fmt.Errorf("%w: %s: %s", ErrStateful, info.Name, info.Use)
}

// doMultiplexed sends a command that may share a connection.
func (e *Engine) doMultiplexed(ctx context.Context, info *command.Info, args []any) ([]byte, error) {
	if e.cluster != nil {
		return e.doClustered(ctx, info, args)
	}
	return e.doShared(ctx, info, args, anySlot)
}

// doShared sends a command on a lane of one node. It makes the first attempt itself, if a lane is open, so that the
// usual case needs no state of retries: thousands of callers wait here, and a small stack stays in the processor's cache.
func (e *Engine) doShared(ctx context.Context, info *command.Info, args []any, at slot) ([]byte, error) {
	known := e.replySizes.Slot(args)
	weight, size := e.replySizes.Weight(args, known)
	n := e.nodes.now.Load().first(info, at)
	if n.node == nil {
		return e.resend(ctx, info, args, at, target{}, nil, nil, nil)
	}
	g := n.subpool(Identity{})
	l := g.Pick(weight)
	if l == nil {
		return e.resend(ctx, info, args, at, target{}, nil, nil, nil)
	}
	frame, err := l.Do(ctx, args, lane.Options{Owner: g.Owner(), ReplyBytes: size})
	if err != nil || frame[0] == '-' {
		return e.resend(ctx, info, args, at, n, l, frame, err)
	}
	e.learnSize(args, known, frame)
	return frame, nil
}

func (e *Engine) learnSize(args []any, known *atomic.Int64, frame []byte) {
	if known != nil || len(frame) >= replysize.Large {
		e.replySizes.Learn(args, known, len(frame))
	}
}

// resend is doShared with retries. n, l, frame and err are the node, the lane and the outcome of the first attempt; l is nil if
// there was none.
func (e *Engine) resend(ctx context.Context, info *command.Info, args []any, at slot, n target, l *lane.Lane, frame []byte, err error) ([]byte, error) {
	known := e.replySizes.Slot(args)
	weight, size := e.replySizes.Weight(args, known)
	req, so := request{reads: info.ReadOnly, slot: at, home: e.cluster != nil && onlyPrimary(info)}, attempts{}
	if l != nil {
		so.next = &n
	}
	got := e.run(ctx, &req, &so, func(n target) (got attempt) {
		if l != nil {
			got.lane, got.frame, got.err = l, frame, err
			l = nil
		} else {
			got = n.do(ctx, args, weight, size)
		}
		if got.err == nil {
			e.judgeOne(ctx, n, args, &got)
		}
		if e.cluster != nil && req.key == nil && (got.refused || got.err != nil && !ctxEnded(got.err)) {
			raw, _ := resp.AppendCommand(nil, args)
			req.key = e.keyIn(raw)
		}
		return got
	})
	if got.err != nil {
		return nil, WrapError(got.err)
	}
	e.learnSize(args, known, got.frame)
	return got.frame, nil
}

// do sends a command once on a lane of the client's own identity.
func (t target) do(ctx context.Context, args []any, w pool.Weight, replyBytes int) (got attempt) {
	l, opt, err := t.laneOf(ctx, Identity{}, w, func() error { return checkArgs(args) })
	if err != nil {
		return attempt{err: err}
	}
	opt.ReplyBytes = replyBytes
	got.lane = l
	if t.asking {
		got.frame, got.err = doAsking(ctx, l, args, opt)
	} else {
		got.frame, got.err = l.Do(ctx, args, opt)
	}
	return got
}

// doBlocking runs a command that may block. It waits in the engine if it can, else on a dedicated connection.
func (e *Engine) doBlocking(ctx context.Context, info *command.Info, args []any) ([]byte, error) {
	frame, raw, err := e.waits.wait(ctx, info, args)
	if raw == nil {
		return frame, err
	}
	at, err := e.slotOf(info, args)
	if err != nil {
		return nil, WrapError(err)
	}
	block := command.BlockFor(info, args)
	return e.doLeased(ctx, request{raw: raw, reads: info.ReadOnly, slot: at}, func(l *Lease, raw []byte) attempt {
		frames, err := l.Lane().DoRaw(ctx, raw, 1, lane.Options{Block: block})
		switch {
		case sent(err):
			// The server may still execute the command: it would pop an element for a caller that has left.
			l.spoilt = "its caller left a " + info.Name
		case err == nil && bytes.HasPrefix(frames[0], replyUnblocked):
			l.spoilt = "its server ended a command that blocked" // and the server is about to close it
		case err == nil && info.Effect == command.EffectTaint:
			l.spoilt = "its state may have been changed by " + info.Name
		}
		return attempt{frames: frames, err: err}
	})
}

// doLeased sends one command on a leased connection.
func (e *Engine) doLeased(ctx context.Context, req request, try func(*Lease, []byte) attempt) ([]byte, error) {
	got := e.runLeased(ctx, Identity{}, &req, &attempts{}, try)
	if got.err != nil {
		return nil, WrapError(got.err)
	}
	return got.frames[0], nil
}

// Part receives the next bytes of a reply that is read in parts.
type Part = func([]byte)

// DoParts sends one command on a dedicated connection, and passes the bytes of a large reply to part as they arrive.
// begun reports whether part was called: after that the command is not resent. A reply that did not arrive in parts
// is returned.
func (e *Engine) DoParts(ctx context.Context, args []any, part Part, begun func() bool) ([]byte, error) {
	if len(args) == 0 {
		return nil, errNoArguments
	}
	info, class := command.Classify(args)
	if class == command.Unknown {
		var err error
		if info, err = e.learned(ctx, args); err != nil {
			return nil, err
		}
		if info != nil {
			class = info.Class
		}
	}
	if class != command.Multiplexed {
		return nil, fmt.Errorf("respool: write the reply of %v: only commands that neither block nor change their connection can be used so", args[0])
	}
	raw, err := encode(args)
	if err != nil {
		return nil, WrapError(err)
	}
	at, err := e.slotOf(info, args)
	if err != nil {
		return nil, WrapError(err)
	}
	return e.doLeased(ctx, request{raw: raw, reads: info.ReadOnly, slot: at}, func(l *Lease, _ []byte) attempt {
		frame, err := l.Lane().DoParts(ctx, args, lane.Options{}, part)
		if err != nil {
			l.spoilt = "its reply was not read to the end"
		}
		return attempt{frames: [][]byte{frame}, partial: begun(), err: err}
	})
}

// encode returns an encoded command. For string and []byte arguments it allocates once.
func encode(args []any) ([]byte, error) {
	const format = len("$1000000\r\n\r\n")
	return resp.AppendCommand(make([]byte, 0, (1+len(args))*format+replysize.TextSize(args)), args)
}

// checkArgs returns an error for arguments that cannot be encoded, before the caller waits for a lane.
func checkArgs(args []any) error {
	usual := true
	for _, a := range args {
		switch a.(type) {
		case string, []byte, int, int64, float64:
		default:
			usual = false
		}
	}
	if usual && len(args) > 0 {
		return nil
	}
	_, err := resp.AppendCommand(nil, args)
	return err
}

// doUnknown runs a command that the table lacks, as the server describes it.
func (e *Engine) doUnknown(ctx context.Context, args []any) ([]byte, error) {
	info, err := e.learned(ctx, args)
	switch {
	case err != nil:
		return nil, err
	case info == nil || info.Class == command.Unknown:
		return e.doUnsure(ctx, args)
	case info.Class == command.Multiplexed:
		return e.doMultiplexed(ctx, info, args)
	}
	return e.doBlocking(ctx, info, args)
}

// learned returns the server's description of a command that the table lacks; nil if the server describes nothing.
func (e *Engine) learned(ctx context.Context, args []any) (*command.Info, error) {
	info, known := e.vocabulary.Find(args)
	if known == command.Learned {
		return info, nil
	}
	if _, err := commandName(args); err != nil {
		return nil, WrapError(err)
	}
	if err := checkArgs(args); err != nil {
		return nil, WrapError(err)
	}
	if known == command.NotAsked {
		name, _ := command.QueryName(args)
		if err := e.vocabulary.Learn(ctx, name); err != nil {
			return nil, WrapError(err)
		}
		info, _ = e.vocabulary.Find(args)
	}
	return info, nil
}

// commandName returns the name of a command that the table lacks, in upper case.
func commandName(args []any) (string, error) {
	raw, err := resp.AppendCommand(nil, args[:1])
	if err != nil {
		return "", err
	}
	switch v := reflect.ValueOf(args[0]); {
	case v.Kind() != reflect.String && v.Kind() != reflect.Slice:
		return "", errBadName
	case v.Len() == 0:
		return "", errNoArguments
	}
	name, _ := resp.StringOf(raw[len("*1\r\n"):])
	return strings.ToUpper(string(name)), nil
}

// unsureReason is the reason for restoring a connection.
const unsureReason = "it ran an unknown command"

// doUnsure runs a command with an unknown effect. Its connection is restored afterwards, unless the server lacks the
// command too.
func (e *Engine) doUnsure(ctx context.Context, args []any) ([]byte, error) {
	raw, err := encode(args)
	if err != nil {
		return nil, WrapError(err)
	}
	return e.doLeased(ctx, request{raw: raw}, func(l *Lease, _ []byte) attempt {
		frames, err := l.Lane().DoRaw(ctx, raw, 1, lane.Options{})
		switch {
		case sent(err):
			l.spoilt = "its caller left an unknown command"
		case err == nil && !lacksCommand(frames[0]):
			l.unsure = unsureReason
		}
		return attempt{frames: frames, err: err}
	})
}

// lacksCommand reports whether a reply states that the server lacks the command, and therefore did nothing.
func lacksCommand(frame []byte) bool {
	se := resp.ErrorIn(frame)
	if se == nil {
		return false
	}
	text := strings.ToLower(se.Message)
	return strings.HasPrefix(text, "unknown command") || strings.HasPrefix(text, "unknown subcommand")
}
