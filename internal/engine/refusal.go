package engine

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// judge decides whether the server refused all of the commands in raw because of its role or its state, so that
// nothing was executed. Where that is in doubt the answer is no. The router learns of it. It does not block, except for
// requests with scripts.
func (e *Engine) judge(ctx context.Context, n *node, raw []byte, got *attempt) {
	if !got.judged && got.err == nil && !got.partial {
		got.refused = e.refusedBy(ctx, n, got.lane, raw, got.frames)
	}
	got.judged = true
}

// judgeOne is judge for one command that is not encoded. args do not escape.
func (e *Engine) judgeOne(ctx context.Context, n *node, args []any, got *attempt) {
	got.judged = true
	if _, ok := e.refusalIn(got.frame); !ok {
		return
	}
	if raw, err := resp.AppendCommand(nil, args); err == nil {
		got.refused = e.refusedBy(ctx, n, got.lane, raw, [][]byte{got.frame})
	}
}

// refusedBy is judge for replies that came on a lane of a node.
func (e *Engine) refusedBy(ctx context.Context, n *node, l *lane.Lane, raw []byte, frames [][]byte) bool {
	kind, how := e.refusal(raw, frames)
	switch {
	case how == notRefused:
		return false
	case how == perhapsRefused || how == repliesRefused && runsScripts(raw):
		switch n.verify(ctx, l, kind) {
		case denied:
			return false // a script made the error by itself
		case unsure:
			e.router.refused(n, kind)
			return false
		}
	default:
		n.renewal.proved()
	}
	e.router.refused(n, kind)
	return true
}

// Refusal is what came of a first attempt that others made, where the replies seem to be refusals.
type Refusal struct {
	Lane   *lane.Lane // on which they came
	Frames [][]byte
}

// Refused reports whether replies to raw seem to say that nothing was executed because of the server's role
// or state. It does not block: Exchange takes them, to decide.
func (e *Engine) Refused(raw []byte, frames [][]byte) bool {
	_, how := e.refusal(raw, frames)
	return how != notRefused
}

// refusedBefore is judge for a first attempt that others made, and waits until there is a use in another. There is nothing
// to wait for if its lane is gone: others have come in its place.
func (e *Engine) refusedBefore(ctx context.Context, raw []byte, before *Refusal, so *attempts) bool {
	l := before.Lane
	n := e.nodes.byAddr(l.Conn().Addr())
	return n != nil && e.refusedBy(ctx, n, l, raw, before.Frames) && (l.Depth() < 0 || e.pause(ctx, n, so))
}

// Replies of a node that has lost its role or its data. Nothing was done.
var (
	readOnlyCode   = []byte("READONLY")
	masterDownCode = []byte("MASTERDOWN")
	loadingCode    = []byte("LOADING")
	unblockedCode  = []byte("UNBLOCKED")

	replyUnblocked = []byte("-UNBLOCKED")
	replyExecAbort = []byte("-EXECABORT")

	// unblockedByRole is why a command that blocked ended when its server became a replica; CLIENT UNBLOCK brings
	// another text.
	unblockedByRole = []byte("instance state changed")
	// abortedBy stands before the refusal of an EXEC itself.
	abortedBy = []byte("EXECABORT Transaction discarded because of: ")
	// oldScript begins the errors of scripts before Redis 7, and oldReadOnly is in them.
	oldScript   = []byte("ERR Error running script")
	oldReadOnly = []byte(" -READONLY You can't write against a read only")
)

// how says how sure it is, by replies alone, that nothing of a request was executed.
type how uint8

const (
	notRefused     how = iota
	abortRefused       // a transaction was aborted
	repliesRefused     // each reply is a refusal: scripts can make such a reply by themselves
	perhapsRefused     // there is a refusal in EXEC's reply, which only scripts make
)

// refusal tells whether replies to the commands in raw are refusals for which
// another node is to be asked.
func (e *Engine) refusal(raw []byte, frames [][]byte) (kind sentinel.EvidenceKind, h how) {
	if len(frames) == 0 {
		return 0, notRefused
	}
	last := frames[len(frames)-1]
	if len(frames) > 1 && bytes.HasPrefix(raw, rawMulti) {
		return e.execRefusal(frames, last)
	}
	for _, f := range frames {
		k, ok := e.refusalIn(f)
		if !ok {
			return 0, notRefused
		}
		kind = k
	}
	return kind, repliesRefused
}

// execRefusal is refusal for MULTI, commands and EXEC.
func (e *Engine) execRefusal(frames [][]byte, last []byte) (kind sentinel.EvidenceKind, h how) {
	if kind, ok := e.refusalIn(last); ok {
		return kind, abortRefused
	}
	if bytes.HasPrefix(last, replyExecAbort) {
		for _, f := range frames {
			if kind, ok := e.refusalIn(f); ok {
				return kind, abortRefused
			}
		}
		return 0, notRefused
	}
	if !bytes.Contains(last, []byte("\r\n-")) {
		return 0, notRefused
	}
	elements, err := resp.Elements(last)
	if err != nil {
		return 0, notRefused
	}
	for _, element := range elements {
		if kind, ok := e.refusalIn(element); ok {
			return kind, perhapsRefused
		}
	}
	return 0, notRefused
}

// refusalIn is refusal for one reply.
func (e *Engine) refusalIn(frame []byte) (kind sentinel.EvidenceKind, ok bool) {
	if len(frame) == 0 || frame[0] != '-' {
		return 0, false
	}
	text, _ := bytes.CutPrefix(frame[1:], abortedBy)
	switch {
	case bytes.HasPrefix(text, readOnlyCode), bytes.HasPrefix(text, oldScript) && bytes.Contains(text, oldReadOnly):
		return sentinel.NodeReadOnly, e.cfg.Service.Role == Primary // on a replica that is the right answer
	case bytes.HasPrefix(text, unblockedCode):
		return sentinel.NodeReadOnly, bytes.Contains(text, unblockedByRole)
	case bytes.HasPrefix(text, masterDownCode):
		return sentinel.NodeMasterDown, true
	case bytes.HasPrefix(text, loadingCode):
		return sentinel.NodeLoading, true
	}
	return 0, false
}

// runsScripts reports whether one of the commands in raw runs a script that may write.
func runsScripts(raw []byte) bool {
	for len(raw) > 0 {
		n, err := resp.FrameLen(raw)
		if err != nil {
			return true // it was sent: whatever it is, be careful
		}
		args, err := resp.Elements(raw[:n])
		if err != nil {
			return true
		}
		for i := range args {
			args[i], _ = resp.StringOf(args[i])
		}
		if isScript(command.ClassifyBytes(args)) {
			return true
		}
		raw = raw[n:]
	}
	return false
}

// scripts are the commands whose reply is what a script makes of it.
var scripts = []*command.Info{command.Lookup("EVAL"), command.Lookup("EVALSHA"), command.Lookup("FCALL")}

// isScript is also true of a command that the table lacks: a module's command may run others.
func isScript(info *command.Info, _ command.Class) bool {
	return info == nil || slices.Contains(scripts, info)
}

// refusedDial reports whether a dial failed since its server has no data yet, or none that it would show.
func refusedDial(err error) bool {
	se, ok := errors.AsType[*resp.ServerError](err)
	return ok && (se.Code == "LOADING" || se.Code == "MASTERDOWN")
}
