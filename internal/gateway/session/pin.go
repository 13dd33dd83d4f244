package session

import (
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/command"

	"github.com/seed-2b0d76a6/respool/resp"
)

// pinnedConn is the session's dedicated connection: the reasons to hold one, and its difference from a new connection.
type pinnedConn struct {
	reasons   pinReasons // 0: the session holds no connection
	tainted   bool       // the connection differs from a new one by more than WATCH
	watchLost bool       // watched keys were lost with their connection: the next EXEC must fail
	broadcast bool       // CLIENT TRACKING has the option BCAST

	// In a cluster, the connection serves only WATCH and EXEC: it leads to the node of the watched keys.
	watchOnly bool
	slot      uint16 // of the watched keys
}

// pinReasons are the commands for which the session holds a dedicated connection.
type pinReasons uint8

const (
	pinWatch pinReasons = 1 << iota
	pinTracking
	pinDebug
)

func (p pinReasons) String() string {
	switch p {
	case pinWatch:
		return "WATCH"
	case pinTracking:
		return "CLIENT TRACKING"
	case pinDebug:
		return "SCRIPT DEBUG"
	}
	return "nothing"
}

// ended is the reason of a release. It does not allocate.
func (p pinReasons) ended() string {
	switch p {
	case pinWatch:
		return "WATCH has ended"
	case pinTracking:
		return "CLIENT TRACKING has ended"
	case pinDebug:
		return "SCRIPT DEBUG has ended"
	}
	return "nothing holds the connection"
}

// held reports whether the session holds a dedicated connection.
func (p *pinnedConn) held() bool { return p.reasons != 0 }

func (p *pinnedConn) watching() bool { return p.reasons&pinWatch != 0 }

func (p *pinnedConn) tracking() bool { return p.reasons&pinTracking != 0 }

// names returns the names of the reasons.
func (p *pinnedConn) names() []string {
	var names []string
	for _, reason := range []pinReasons{pinWatch, pinTracking, pinDebug} {
		if p.reasons&reason != 0 {
			names = append(names, reason.String())
		}
	}
	return names
}

// taint marks the connection as different from a new one, if the session holds it and changed is true.
func (p *pinnedConn) taint(changed bool) { p.tainted = p.tainted || changed && p.held() }

// forward sends a command to the session's connection if there is one, and otherwise to a lane.
func (p *pinnedConn) forward(r request) Step {
	if p.held() && !p.watchOnly {
		return Step{Kind: Pinned, OnPin: true, Replies: 1, Raw: r.raw, Info: r.info}
	}
	return Step{Kind: Multiplexed, Replies: 1, Raw: r.raw, Info: r.info}
}

// forwardDedicated sends a command to the session's connection, or to a dedicated one for this command.
func (p *pinnedConn) forwardDedicated(r request) Step {
	step := p.forward(r)
	if !step.OnPin {
		step.Kind, step.Barrier = Dedicated, true
	}
	return step
}

// forwardInAnyDB is forwardDedicated for commands that a server executes during a slow script, when it refuses SELECT.
func (p *pinnedConn) forwardInAnyDB(r request) Step {
	step := p.forwardDedicated(r)
	step.AnyDB = true
	return step
}

// forwardBlocking sends a command whose reply the server may delay.
func (p *pinnedConn) forwardBlocking(r request) Step {
	step := p.forwardDedicated(r)
	step.Barrier = true
	step.Block = command.BlockForBytes(r.info, r.args)
	return step
}

// forwardAndDestroy sends a command to a dedicated connection that is destroyed afterwards.
func (p *pinnedConn) forwardAndDestroy(r request) Step {
	step := p.forwardDedicated(r)
	step.Barrier, step.Destroy = true, !step.OnPin
	step.Block = command.BlockForever
	p.taint(true)
	return step
}

// forwardAndRestore sends a command with an unknown effect to a dedicated connection that is restored before its next
// use.
func (p *pinnedConn) forwardAndRestore(r request) Step {
	step := p.forwardAndDestroy(r)
	step.Restore, step.Destroy = step.Destroy, false
	return step
}

// forwardPinning sends a command to the session's connection, which the session leases if it has none. The session
// holds the connection for this reason unless the server refuses the command.
func (p *pinnedConn) forwardPinning(r request, reason pinReasons) Step {
	step := Step{
		Kind: Pinned, OnPin: true, Barrier: true, Replies: 1, Raw: r.raw, Info: r.info,
		Reason: reason.String(), pinReason: reason, onDone: pinningDone,
	}
	if !p.held() {
		step.Kind, step.OnPin = Pin, false
	}
	return step
}

func pinningDone(s *Session, step *Step, frames [][]byte) Outcome {
	out, p := Outcome{Reply: frames[0]}, &s.pin
	if !isError(frames[0]) {
		p.reasons |= step.pinReason
		if step.pinReason == pinTracking {
			p.broadcast = step.broadcast
		}
	} else if step.Kind == Pin {
		out.Release = Release{Conn: Clean, Reason: step.Reason + " was refused"}
	}
	return out
}

// forwardUnpinning sends a command that ends a reason to hold the connection.
func (p *pinnedConn) forwardUnpinning(r request, reason pinReasons) Step {
	step := p.forwardPinning(r, reason)
	step.onDone = unpinningDone
	return step
}

func unpinningDone(s *Session, step *Step, frames [][]byte) Outcome {
	out := Outcome{Reply: frames[0]}
	if !isError(frames[0]) {
		s.pin.tainted = true
		out.Release = s.pin.drop(step.pinReason)
	}
	return out
}

// drop removes a reason, and releases the connection if it was the last one.
func (p *pinnedConn) drop(reason pinReasons) Release {
	if p.reasons &^= reason; p.held() {
		return Release{}
	}
	rel := Release{Conn: Clean, Reason: reason.ended()}
	if p.tainted {
		rel.Conn = Destroy
		p.tainted = false
	}
	return rel
}

// clearWatch returns a step that unwatches all keys, also on their connection, and then replies.
func (p *pinnedConn) clearWatch(reply []byte) Step {
	p.watchLost = false
	if !p.watching() {
		return answer(reply)
	}
	return Step{
		Kind: Pinned, OnPin: true, Barrier: true, Replies: 1, Raw: rawUnwatch,
		fixedReply: reply, onDone: watchCleared,
	}
}

func watchCleared(s *Session, step *Step, frames [][]byte) Outcome {
	s.pin.taint(isError(frames[0]))
	return Outcome{Reply: step.fixedReply, Release: s.pin.endWatch()}
}

// endWatch handles the end of WATCH: the server has unwatched all keys.
func (p *pinnedConn) endWatch() Release {
	p.watchLost = false
	if !p.watching() {
		return Release{}
	}
	return p.drop(pinWatch)
}

// lose handles the end of the connection. The client must be closed if the session held it for more than WATCH.
func (p *pinnedConn) lose() Outcome {
	out := Outcome{Close: p.reasons&^pinWatch != 0}
	if p.held() {
		out.Release = Release{Conn: Destroy, Reason: "the conn is lost"}
	}
	p.watchLost = p.watchLost || p.watching()
	p.reasons, p.tainted = 0, false
	return out
}

// unwatch handles UNWATCH.
func (p *pinnedConn) unwatch(request) Step { return p.clearWatch(replyOK) }

// clientTracking handles CLIENT TRACKING, which holds a dedicated connection.
func (p *pinnedConn) clientTracking(r request) Step {
	switch {
	case equalFold(r.args[2], "on") && p.watchOnly:
		return notOnCluster("CLIENT TRACKING", "connect to the nodes")
	case equalFold(r.args[2], "on"):
		for _, option := range r.args[3:] {
			if equalFold(option, "redirect") {
				return failure("respool: CLIENT TRACKING with REDIRECT is not possible through the gateway: use RESP3")
			}
		}
		step := p.forwardPinning(r, pinTracking)
		step.broadcast = slices.ContainsFunc(r.args[3:], func(option []byte) bool { return equalFold(option, "bcast") })
		return step
	case !equalFold(r.args[2], "off"):
		return failure("syntax error")
	case p.tracking():
		return p.forwardUnpinning(r, pinTracking)
	case len(r.args) == 3:
		return answer(replyOK)
	}
	step := p.forwardDedicated(r)
	step.Barrier, step.Destroy = true, !step.OnPin
	return step
}

func (p *pinnedConn) clientCaching(r request) Step {
	if p.tracking() {
		return p.forward(r)
	}
	return failure("CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
}

func (p *pinnedConn) clientGetRedir(r request) Step {
	if p.tracking() {
		return p.forward(r)
	}
	return answer(resp.AppendInteger(nil, -1))
}

func (p *pinnedConn) scriptDebug(r request) Step {
	switch mode := r.args[2]; {
	case p.watchOnly && !equalFold(mode, "no"):
		return notOnCluster("SCRIPT DEBUG", "connect to a node")
	case equalFold(mode, "yes"), equalFold(mode, "sync"):
		return p.forwardPinning(r, pinDebug)
	case !equalFold(mode, "no"):
		return failure("Use SCRIPT DEBUG YES/SYNC/NO")
	case p.reasons&pinDebug != 0:
		return p.forwardUnpinning(r, pinDebug)
	}
	return answer(replyOK)
}

// PinLost handles the end of the session's dedicated connection between two steps. Watched keys may have changed, so
// the next EXEC fails as if they had. If the session held the connection for more than WATCH, the client must be
// closed. Do not call PinLost while a step is pending on the connection: Done gets the error of that step.
func (s *Session) PinLost() Outcome {
	out := s.pin.lose()
	s.updateFastPath()
	return out
}
