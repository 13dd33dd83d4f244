package respool

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/internal/upstream"
	"github.com/seed-2b0d76a6/respool/resp"
)

// refusedCommand is refused for one command that is not encoded.
func (c *Client) refusedCommand(ctx context.Context, n *node, l *lane.Lane, args []any, frame []byte, t *tries) bool {
	if _, ok := c.refusalIn(frame); !ok {
		return false
	}
	raw, err := resp.AppendCommand(nil, args)
	return err == nil && c.refused(ctx, n, l, raw, [][]byte{frame}, t)
}

// refused decides whether the server refused all of the commands in raw because of its role or its state, so that
// nothing was executed, and waits until there is a use in sending it again. Where that is in
// doubt the answer is no. l is the lane on which frames, the replies, came.
func (c *Client) refused(ctx context.Context, n *node, l *lane.Lane, raw []byte, frames [][]byte, t *tries) bool {
	return c.refusedBy(ctx, n, l, raw, frames) && c.pause(ctx, n, t)
}

// refusedBefore is refused for a first attempt that others made. There is nothing to wait for if its lane is gone: others
// have come in its place.
func (c *Client) refusedBefore(ctx context.Context, raw []byte, before *upstream.Refusal, t *tries) bool {
	l := before.Lane
	n := c.nodes.byAddr(l.Conn().Addr())
	return n != nil && c.refusedBy(ctx, n, l, raw, before.Frames) && (l.Depth() < 0 || c.pause(ctx, n, t))
}

// refusedBy is refused without the wait. It does not block, except for requests with scripts.
func (c *Client) refusedBy(ctx context.Context, n *node, l *lane.Lane, raw []byte, frames [][]byte) bool {
	kind, how := c.refusal(raw, frames)
	switch {
	case how == notRefused:
		return false
	case how == perhapsRefused || how == repliesRefused && runsScripts(raw):
		switch n.verify(ctx, l, kind) {
		case denied:
			return false // a script made the error by itself
		case unsure:
			c.suspect(n, kind)
			return false
		}
	default:
		n.renewal.proved()
	}
	c.suspect(n, kind)
	return true
}

// notice takes replies as evidence of what n is, for commands that are not sent again.
func (c *Client) notice(n *node, frames ...[]byte) {
	for _, f := range frames {
		if kind, ok := c.refusalIn(f); ok {
			c.suspect(n, kind)
			return
		}
	}
}

// suspect has the right node looked for: by the sentinels, or by new dials, since the name may lead
// to another server by now.
func (c *Client) suspect(n *node, kind sentinel.EvidenceKind) {
	if c.finder != nil {
		c.finder.evidence(kind, n.addr)
		return
	}
	if n.renewal.due(time.Now()) {
		n.pool.Renew("its server refused a command: " + kind.String())
	}
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
func (c *Client) refusal(raw []byte, frames [][]byte) (kind sentinel.EvidenceKind, h how) {
	if len(frames) == 0 {
		return 0, notRefused
	}
	last := frames[len(frames)-1]
	if len(frames) > 1 && bytes.HasPrefix(raw, rawMulti) {
		return c.execRefusal(frames, last)
	}
	for _, f := range frames {
		k, ok := c.refusalIn(f)
		if !ok {
			return 0, notRefused
		}
		kind = k
	}
	return kind, repliesRefused
}

// execRefusal is refusal for MULTI, commands and EXEC.
func (c *Client) execRefusal(frames [][]byte, last []byte) (kind sentinel.EvidenceKind, h how) {
	if kind, ok := c.refusalIn(last); ok {
		return kind, abortRefused
	}
	if bytes.HasPrefix(last, replyExecAbort) {
		for _, f := range frames {
			if kind, ok := c.refusalIn(f); ok {
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
	for _, e := range elements {
		if kind, ok := c.refusalIn(e); ok {
			return kind, perhapsRefused
		}
	}
	return 0, notRefused
}

// refusalIn is refusal for one reply.
func (c *Client) refusalIn(frame []byte) (kind sentinel.EvidenceKind, ok bool) {
	if len(frame) == 0 || frame[0] != '-' {
		return 0, false
	}
	text, _ := bytes.CutPrefix(frame[1:], abortedBy)
	switch {
	case bytes.HasPrefix(text, readOnlyCode), bytes.HasPrefix(text, oldScript) && bytes.Contains(text, oldReadOnly):
		return sentinel.NodeReadOnly, c.opt.Role == RolePrimary // on a replica that is the right answer
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
	se, ok := errors.AsType[*ServerError](err)
	return ok && (se.Code == "LOADING" || se.Code == "MASTERDOWN")
}
