package engine

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// judge decides whether the server refused all commands in raw because of its role or state, and executed none of
// them. If that is uncertain, the result is no. It reports refusals to the router. It blocks only for requests with
// scripts or unknown commands.
func (e *Engine) judge(ctx context.Context, n *node, raw []byte, got *attempt) {
	if !got.judged && got.err == nil && !got.partial {
		got.refused = e.refusedBy(ctx, n, got.lane, raw, got.frames)
	}
	got.judged = true
}

// judgeOne is judge for one command that is not encoded. args do not escape.
func (e *Engine) judgeOne(ctx context.Context, n *node, args []any, got *attempt) {
	got.judged = true
	if _, ok := e.refusals.one(got.frame); !ok {
		return
	}
	if raw, err := resp.AppendCommand(nil, args); err == nil {
		got.refused = e.refusedBy(ctx, n, got.lane, raw, [][]byte{got.frame})
	}
}

// refusedBy is judge for replies that arrived on a lane of a node.
func (e *Engine) refusedBy(ctx context.Context, n *node, l *lane.Lane, raw []byte, frames [][]byte) bool {
	kind, how := e.refusals.read(raw, frames)
	switch {
	case how == notRefused:
		return false
	case how == perhapsRefused || how == repliesRefused && runsScripts(raw):
		switch n.verify(ctx, l, kind) {
		case denied:
			return false // a script returned the error itself
		case unsure:
			e.router.refused(n, kind)
			return false
		}
	default:
		n.redials.proved()
	}
	e.router.refused(n, kind)
	return true
}

// Refusal is the outcome of a first attempt outside the engine whose replies look like refusals.
type Refusal struct {
	Lane   *lane.Lane // the lane on which the frames arrived
	Frames [][]byte
}

// RefusedByRole reports whether the replies to raw may state that the server executed nothing because of its role or
// state. It does not block. Exchange takes such replies and decides.
func (e *Engine) RefusedByRole(raw []byte, frames [][]byte) bool {
	_, how := e.refusals.read(raw, frames)
	return how != notRefused
}

// refusedBefore is judge for a first attempt outside the engine. It pauses before the next attempt, unless the lane
// of the first one is closed: then newer lanes exist.
func (e *Engine) refusedBefore(ctx context.Context, raw []byte, before *Refusal, so *attempts) bool {
	l := before.Lane
	n := e.nodes.byAddr(l.Conn().Addr())
	return n != nil && e.refusedBy(ctx, n, l, raw, before.Frames) && (l.Depth() < 0 || e.pause(ctx, n, so))
}

// runsScripts reports whether a command in raw may run a script that writes.
func runsScripts(raw []byte) bool {
	for len(raw) > 0 {
		n, err := resp.FrameLen(raw)
		if err != nil {
			return true // it was sent: assume the worst case
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

// scripts are the commands whose reply a script determines.
var scripts = []*command.Info{command.Lookup("EVAL"), command.Lookup("EVALSHA"), command.Lookup("FCALL")}

// isScript is also true for a command that the table lacks: a module's command may run others.
func isScript(info *command.Info, _ command.Class) bool {
	return info == nil || slices.Contains(scripts, info)
}

// Error codes of a node that lost its role or its data. It executed nothing.
var (
	readOnlyCode   = []byte("READONLY")
	masterDownCode = []byte("MASTERDOWN")
	loadingCode    = []byte("LOADING")
	unblockedCode  = []byte("UNBLOCKED")

	replyUnblocked = []byte("-UNBLOCKED")
	replyExecAbort = []byte("-EXECABORT")

	// unblockedByRole is in the error that ends a blocked command when its server becomes a replica. CLIENT UNBLOCK
	// has another text.
	unblockedByRole = []byte("instance state changed")
	// abortedBy precedes the refusal of EXEC itself.
	abortedBy = []byte("EXECABORT Transaction discarded because of: ")
	// oldScript begins the errors of scripts before Redis 7. They contain oldReadOnly.
	oldScript   = []byte("ERR Error running script")
	oldReadOnly = []byte(" -READONLY You can't write against a read only")
)

// how states how certain it is, from the replies alone, that the server executed nothing.
type how uint8

const (
	notRefused     how = iota
	abortRefused       // EXEC aborted the transaction
	repliesRefused     // each reply is a refusal; a script can return one itself
	perhapsRefused     // EXEC's reply contains a refusal, which only a script causes
)

// refusalReader finds replies with which a server refuses commands because of its role or state.
type refusalReader struct {
	// Commands go to the primary, so READONLY shows that the node is none. A replica is expected to reply READONLY.
	wantsPrimary bool
}

// read reports whether the replies to the commands in raw are refusals that justify a retry on another node.
func (r refusalReader) read(raw []byte, frames [][]byte) (kind topology.Evidence, h how) {
	if len(frames) == 0 {
		return 0, notRefused
	}
	last := frames[len(frames)-1]
	if len(frames) > 1 && bytes.HasPrefix(raw, rawMulti) {
		return r.exec(frames, last)
	}
	for _, f := range frames {
		k, ok := r.one(f)
		if !ok {
			return 0, notRefused
		}
		kind = k
	}
	return kind, repliesRefused
}

// exec is read for MULTI, commands and EXEC.
func (r refusalReader) exec(frames [][]byte, last []byte) (kind topology.Evidence, h how) {
	if kind, ok := r.one(last); ok {
		return kind, abortRefused
	}
	if bytes.HasPrefix(last, replyExecAbort) {
		for _, f := range frames {
			if kind, ok := r.one(f); ok {
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
		if kind, ok := r.one(element); ok {
			return kind, perhapsRefused
		}
	}
	return 0, notRefused
}

// one is read for one reply.
func (r refusalReader) one(frame []byte) (kind topology.Evidence, ok bool) {
	if len(frame) == 0 || frame[0] != '-' {
		return 0, false
	}
	text, _ := bytes.CutPrefix(frame[1:], abortedBy)
	switch {
	case bytes.HasPrefix(text, readOnlyCode), bytes.HasPrefix(text, oldScript) && bytes.Contains(text, oldReadOnly):
		return topology.ReadOnly, r.wantsPrimary
	case bytes.HasPrefix(text, unblockedCode):
		return topology.ReadOnly, bytes.Contains(text, unblockedByRole)
	case bytes.HasPrefix(text, masterDownCode):
		return topology.MasterDown, true
	case bytes.HasPrefix(text, loadingCode):
		return topology.Loading, true
	}
	return 0, false
}

// refusedDial reports whether a dial failed because the server is loading, or is a replica without a primary.
func refusedDial(err error) bool {
	se, ok := errors.AsType[*resp.ServerError](err)
	return ok && (se.Code == "LOADING" || se.Code == "MASTERDOWN")
}
