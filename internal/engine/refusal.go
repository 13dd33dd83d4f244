package engine

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/refusal"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/cluster"
	"github.com/seed-2b0d76a6/respool/resp"
)

// judge decides whether the server refused all commands in raw because of its role or state, and executed none of
// them. If that is uncertain, the result is no. It reports refusals to the router. It blocks only for requests with
// scripts or unknown commands.
func (e *Engine) judge(ctx context.Context, n target, raw []byte, got *attempt) {
	if !got.judged && got.err == nil && !got.partial {
		got.refused, got.redirect = e.refusedBy(ctx, n, got.lane, raw, got.frames)
	}
	got.judged = true
}

// judgeOne is judge for one command that is not encoded. args do not escape.
func (e *Engine) judgeOne(ctx context.Context, n target, args []any, got *attempt) {
	got.judged = true
	if _, ok := e.refusals.One(got.frame); !ok {
		return
	}
	if raw, err := resp.AppendCommand(nil, args); err == nil {
		got.refused, got.redirect = e.refusedBy(ctx, n, got.lane, raw, [][]byte{got.frame})
	}
}

// refusedBy is judge for replies that arrived on a lane of a node.
//
// If the node named another one, it also returns the redirect.
func (e *Engine) refusedBy(ctx context.Context, n target, l *lane.Lane, raw []byte, frames [][]byte) (bool, *redirect) {
	kind, how := e.refusals.Read(raw, frames)
	switch {
	case how == refusal.None:
		return false, nil
	case kind.OfCluster():
		return how != refusal.Perhaps, e.redirected(n, kind, frames)
	case how == refusal.Perhaps || how == refusal.Replies && refusal.RunsScripts(raw):
		switch n.verify(ctx, l, kind) {
		case refusal.Denied:
			return false, nil // a script returned the error itself
		case refusal.Unsure:
			e.router.refused(n.node, kind)
			return false, nil
		}
	default:
		n.refused.Proved()
	}
	e.noteRefusal(n, kind)
	return true, nil
}

// Refusal is the outcome of a first attempt outside the engine whose replies look like refusals.
type Refusal struct {
	Lane    *lane.Lane // the lane on which the frames arrived
	Frames  [][]byte
	Version uint64 // of the cluster's map that named the node; 0: unknown
	Replica bool   // the lane leads to a replica of a cluster
}

// RefusedByRole reports whether the replies to raw may state that the server executed nothing because of its role or
// state, or because it lacks a script that the engine has. It does not block. Exchange takes such replies and decides.
func (e *Engine) RefusedByRole(raw []byte, frames [][]byte) bool {
	_, how := e.refusals.Read(raw, frames)
	return how != refusal.None || e.lacksScript(raw, frames) != nil
}

// refusedBefore is judge for a first attempt outside the engine. It pauses before the next attempt, unless the lane
// of the first one is closed: then newer lanes exist.
func (e *Engine) refusedBefore(ctx context.Context, req *request, before *Refusal, so *attempts) bool {
	l := before.Lane
	n := target{node: e.nodes.byAddr(l.Conn().Addr()), version: before.Version, replica: before.Replica}
	if n.node == nil {
		return false
	}
	refused, redirect := e.refusedBy(ctx, n, l, req.raw, before.Frames)
	switch {
	case !refused:
		return false
	case redirect != nil:
		return e.follow(n, redirect, req, so) || e.pauseFor(ctx, so)
	case n.replica:
		so.shun, so.strayed = n.node, 1
		return true
	}
	if l.Depth() < 0 {
		return true
	}
	e.router.seek(n.node, req.slot, req.key, req.raw)
	return e.pause(ctx, n.node, req, so)
}

// redialRefusing replaces the connections to a node that refuses commands, because its address may lead to another server by
// now. It limits how often.
func (e *Engine) redialRefusing(n *node, kind topology.Evidence) {
	if n.refused.RedialDue(time.Now()) {
		n.pool.Redial("its server refused a command: " + kind.String())
		e.waits.renew()
	}
}

var replyUnblocked = []byte("-UNBLOCKED")

// verify queries the server behind l whether it is in the state that a refusal indicates: a script may return such an
// error itself, after it wrote. It uses the connection of the reply, because the node's name may resolve to another
// server by now.
func (n *node) verify(ctx context.Context, l *lane.Lane, kind topology.Evidence) refusal.Verdict {
	frame, err := l.Do(ctx, []any{refusal.Question(kind)}, lane.Options{})
	found := refusal.Unsure
	switch {
	case err == nil:
		if found = refusal.VerdictOf(frame, kind); found == refusal.Confirmed {
			n.refused.Proved()
		}
	case !sent(err) && !ctxEnded(err) && n.refused.ProvedSince(l.Born):
		found = refusal.Confirmed // others confirmed it on the same server, and the lane is closed since
	}
	return found
}

// redirect is a reply that names another node of a cluster: MOVED or ASK.
type redirect struct {
	kind topology.Evidence // Moved or Asked
	slot int
	addr string // of the node that the reply names, as received: its host may be empty
}

// redirected reports a refusal of a cluster's node to the router. It returns the redirect that the replies contain; nil
// if there is none.
func (e *Engine) redirected(from target, kind topology.Evidence, frames [][]byte) *redirect {
	if kind == topology.Moved || kind == topology.Asked {
		for _, f := range frames {
			if r, ok := redirectIn(f); ok {
				return &r // follow passes it to the router
			}
		}
	}
	e.noteRefusal(from, kind)
	return nil
}

// noteRefusal reports a refusal without a redirect to the router.
func (e *Engine) noteRefusal(from target, kind topology.Evidence) {
	if from.replica {
		e.router.failedRead(from.node)
	}
	e.router.refused(from.node, kind)
}

// redirectIn returns the redirect in a reply.
func redirectIn(frame []byte) (r redirect, ok bool) {
	se := resp.ErrorIn(frame)
	if se == nil {
		return redirect{}, false
	}
	switch se.Code {
	case "MOVED":
		r.kind = topology.Moved
	case "ASK":
		r.kind = topology.Asked
	default:
		return redirect{}, false
	}
	r.slot, r.addr, ok = cluster.ParseRedirect(se.Message)
	return r, ok
}

// isRedirect reports whether a reply names another node.
func isRedirect(frame []byte) bool {
	_, ok := redirectIn(frame)
	return ok
}

// quickRedirects is how many redirects of a request are followed without a pause, at first. After each pause it is one: a
// pause makes an ASK obsolete, so the node that the map names is asked again.
const quickRedirects = 2

// follow sends the next attempt to the node that a redirect names. It reports false if the request must pause first,
// because redirects do not lead to a node that takes it. After the pause, the map names the node.
func (e *Engine) follow(from target, r *redirect, req *request, so *attempts) bool {
	to := e.router.redirected(from, r)
	so.redirects++
	asking := r.kind == topology.Asked
	if to == nil || to == from.node || req.stays && asking {
		return false
	}
	quick := so.redirects <= quickRedirects
	if from.replica && quick {
		now := e.nodes.now.Load()
		if owner := now.owner(slot(r.slot + 1)); owner != nil && owner != to { // the map does not trust the replica: ask its primary
			so.next = &target{node: owner, version: now.slots.version}
			return true
		}
	}
	if quick {
		so.next = &target{node: to, asking: asking, version: from.version}
	}
	return quick
}

var rawAsking = []byte("*1\r\n$6\r\nASKING\r\n")

// doAsking sends ASKING and a command as one write, and returns the reply to the command.
func doAsking(ctx context.Context, l *lane.Lane, args []any, opt lane.Options) ([]byte, error) {
	raw, err := resp.AppendCommand(rawAsking[:len(rawAsking):len(rawAsking)], args)
	if err != nil {
		return nil, err
	}
	frames, err := l.DoRaw(ctx, raw, 2, opt)
	return withoutAsking(frames, err)
}

func withoutAsking(frames [][]byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return frames[1], nil
}
