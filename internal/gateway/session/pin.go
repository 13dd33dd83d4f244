package session

import (
	"slices"
	"strconv"

	"github.com/seed-2b0d76a6/respool/internal/command"

	"github.com/seed-2b0d76a6/respool/resp"
)

// pins are the reasons why the session holds a dedicated conn.
type pins uint8

const (
	pinWatch pins = 1 << iota
	pinTracking
	pinDebug
)

func (p pins) String() string {
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

// Pinned is whether the session holds a dedicated conn.
func (s *Session) Pinned() bool { return s.pins != 0 }

// Pins names the reasons why it does.
func (s *Session) Pins() []string {
	var names []string
	for _, p := range []pins{pinWatch, pinTracking, pinDebug} {
		if s.pins&p != 0 {
			names = append(names, p.String())
		}
	}
	return names
}

// pinned sends a command on the session's conn, which it gets if it has none. Unless the
// server refuses, the conn is held for why from then on.
func (s *Session) forwardPinning(r request, why pins) Step {
	step := Step{
		Kind: Pinned, OnPin: true, Barrier: true, Replies: 1, Raw: r.raw, Info: r.info,
		Reason: why.String(), pin: why, onDone: (*Session).pinnedDone,
	}
	if s.pins == 0 {
		step.Kind, step.OnPin = Pin, false
	}
	return step
}

func (s *Session) pinnedDone(step *Step, frames [][]byte) Outcome {
	out := Outcome{Reply: frames[0]}
	if !isError(frames[0]) {
		s.pins |= step.pin
		if step.pin == pinTracking {
			s.broadcast = step.broadcast
		}
	} else if step.Kind == Pin {
		out.Release = Release{Conn: Clean, Reason: step.Reason + " was refused"}
	}
	return out
}

// unpinned sends a command after which the conn is not held for why any more.
func (s *Session) forwardUnpinning(r request, why pins) Step {
	step := s.forwardPinning(r, why)
	step.onDone = (*Session).unpinnedDone
	return step
}

func (s *Session) unpinnedDone(step *Step, frames [][]byte) Outcome {
	out := Outcome{Reply: frames[0]}
	if !isError(frames[0]) {
		s.tainted = true
		s.pins &^= step.pin
		out.Release = s.releasePin(step.Reason + " has ended")
	}
	return out
}

// unpin gives the conn back if nothing needs it any more.
func (s *Session) releasePin(why string) Release {
	if s.pins != 0 {
		return Release{}
	}
	rel := Release{Conn: Clean, Reason: why}
	if s.tainted {
		rel.Conn = Destroy
		s.tainted = false
	}
	return rel
}

func (s *Session) watch(r request) Step {
	if s.multi.open {
		return failure("WATCH inside MULTI is not allowed")
	}
	return s.forwardPinning(r, pinWatch)
}

func (s *Session) unwatch(request) Step { return s.clearWatch(replyOK) }

// forget forgets the watched keys, on their conn too, and answers.
func (s *Session) clearWatch(reply []byte) Step {
	s.watchLost = false
	if s.pins&pinWatch == 0 {
		return answer(reply)
	}
	return Step{
		Kind: Pinned, OnPin: true, Barrier: true, Replies: 1, Raw: rawUnwatch,
		fixedReply: reply, onDone: (*Session).watchCleared,
	}
}

func (s *Session) watchCleared(step *Step, frames [][]byte) Outcome {
	s.tainted = s.tainted || isError(frames[0])
	return Outcome{Reply: step.fixedReply, Release: s.endWatch()}
}

func (s *Session) endWatch() Release {
	s.watchLost = false
	if s.pins&pinWatch == 0 {
		return Release{}
	}
	s.pins &^= pinWatch
	return s.releasePin("WATCH has ended")
}

// clientTracking handles CLIENT TRACKING, which stays on a conn of the session's own.
func (s *Session) clientTracking(r request) Step {
	switch {
	case equalFold(r.args[2], "on"):
		for _, option := range r.args[3:] {
			if equalFold(option, "redirect") {
				return failure("respool: CLIENT TRACKING with REDIRECT is not possible through the gateway: use RESP3")
			}
		}
		step := s.forwardPinning(r, pinTracking)
		step.broadcast = slices.ContainsFunc(r.args[3:], func(option []byte) bool { return equalFold(option, "bcast") })
		return step
	case !equalFold(r.args[2], "off"):
		return failure("syntax error")
	case s.pins&pinTracking != 0:
		return s.forwardUnpinning(r, pinTracking)
	case len(r.args) == 3:
		return answer(replyOK)
	}
	step := s.forwardDedicated(r)
	step.Barrier, step.Destroy = true, !step.OnPin
	return step
}

func (s *Session) clientCaching(r request) Step {
	if s.pins&pinTracking != 0 {
		return s.forward(r)
	}
	return failure("CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
}

func (s *Session) scriptDebug(r request) Step {
	switch mode := r.args[2]; {
	case equalFold(mode, "yes"), equalFold(mode, "sync"):
		return s.forwardPinning(r, pinDebug)
	case !equalFold(mode, "no"):
		return failure("Use SCRIPT DEBUG YES/SYNC/NO")
	case s.pins&pinDebug != 0:
		return s.forwardUnpinning(r, pinDebug)
	}
	return answer(replyOK)
}

// monitorCommand starts the stream once; a second MONITOR is not even answered.
func (s *Session) monitorCommand(r request) Step {
	if s.monitor {
		return Step{}
	}
	return Step{
		Kind: Monitor, Barrier: true, Replies: 1, Raw: r.raw, Info: r.info,
		Reason: r.info.Name, onDone: (*Session).monitorStarted,
	}
}

func (s *Session) monitorStarted(_ *Step, frames [][]byte) Outcome {
	out := Outcome{Reply: frames[0]}
	if s.monitor = !isError(frames[0]); !s.monitor {
		out.Release = Release{Monitor: true, Reason: "MONITOR was refused"}
	}
	return out
}

// wait sends WAIT or WAITAOF behind a write on the same conn, since they look at the
// last write of their own conn alone.
func (s *Session) wait(r request) Step {
	step := s.forwardDedicated(r)
	step.Kind, step.Barrier = Wait, true
	step.Block = command.BlockForBytes(r.info, r.args)
	if s.cfg.Cluster {
		return step
	}
	channel := s.cfg.WaitChannel
	if channel == "" {
		channel = "respool:wait"
	}
	step.Raw = append(makeRequest("PUBLISH", channel, ""), r.raw...)
	step.Replies = 2
	step.onDone = (*Session).waited
	return step
}

func (s *Session) waited(_ *Step, frames [][]byte) Outcome {
	if text, failed := errorText(frames[0]); failed {
		return Outcome{Reply: resp.AppendError(nil, "respool: WAIT needs a PUBLISH before it: "+text)}
	}
	return Outcome{Reply: frames[1]}
}

// Lost takes the end of the session's dedicated conn between two steps. Watched keys
// may have changed meanwhile, so that EXEC will fail as if they had; who relied on more is
// disconnected. It must not be called while a step is under way on the conn: Done gets its
// error then.
func (s *Session) PinLost() Outcome {
	out := s.losePin()
	s.updateFastPath()
	return out
}

func (s *Session) losePin() Outcome {
	out := Outcome{Close: s.pins&^pinWatch != 0}
	if s.pins != 0 {
		out.Release = Release{Conn: Destroy, Reason: "the conn is lost"}
	}
	s.watchLost = s.watchLost || s.pins&pinWatch != 0
	s.pins, s.tainted = 0, false
	return out
}

// MonitorLost takes the end of the conn of MONITOR. The client has to be disconnected.
func (s *Session) MonitorLost() Outcome {
	out := Outcome{Close: true, Release: Release{Monitor: s.monitor, Reason: "the conn is lost"}}
	s.monitor = false
	s.updateFastPath()
	return out
}

// helloRequest switches the protocol of the session's conn.
func helloRequest(proto int) []byte { return makeRequest("HELLO", strconv.Itoa(proto)) }
