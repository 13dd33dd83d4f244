package session

import (
	"errors"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// ErrWrongPassword is what Done is given when the gateway's users know no such user with
// such a password.
var ErrWrongPassword = errors.New("respool: invalid username-password pair or user is disabled")

// errShort stands for frames that are missing without an error.
var errMissingFrames = errors.New("respool: replies are missing")

// Done takes what came of a step: its frames, as many as Replies and in order, or the
// error that says why there are none. Of an Identify that the gateway verified by itself,
// and of a Subscribe, no frame is expected. The error's text is shown to the client, so it must
// hold no secrets; it may begin with - and a code of its own. A Subscribe that fails must leave nothing subscribed.
//
// An error on the session's conn is taken for its end: see [Session.Lost].
func (s *Session) Done(step *Step, frames [][]byte, err error) Outcome {
	if err == nil && len(frames) < step.minFrames() {
		err = errMissingFrames
	}
	var out Outcome
	switch {
	case s.ended:
		return Outcome{Release: step.releaseAfterEnd(err != nil || len(frames) > 0 && isError(frames[0])), Close: true}
	case err != nil:
		out = s.failedOutcome(step, err)
	case step.onDone != nil:
		out = step.onDone(s, step, frames)
	case len(frames) > 0:
		out = Outcome{Reply: frames[len(frames)-1]}
	}
	if step.Silent && (step.Kind != Subscribe || err != nil) {
		out.Reply = nil
	}
	s.updateFastPath()
	return out
}

// expected is the least number of frames that the step's end needs.
func (st *Step) minFrames() int {
	switch {
	case st.Kind.Upstream():
		return st.Replies
	case st.Kind == ClientCommand || st.Kind == Console:
		return 1
	}
	return 0
}

// failed answers for a step that has no frames.
func (s *Session) failedOutcome(step *Step, err error) Outcome {
	var out Outcome
	switch {
	case step.Kind == Identify && errors.Is(err, ErrWrongPassword):
		return Outcome{Reply: resp.AppendError(nil, wrongPassword)}
	case step.Kind == Pin:
		out.Release = Release{Conn: Destroy, Reason: step.Reason + " has failed"}
	case step.Kind == Monitor:
		out.Release = Release{Monitor: true, Reason: step.Reason + " has failed"}
	case step.OnPin:
		out = s.losePin()
		if step.Kind == Transaction || step.fixedReply != nil {
			s.watchLost = false // the step would have forgotten the keys, and its client is told what came of it
		}
		if step.fixedReply != nil {
			out.Reply = step.fixedReply
			return out
		}
	}
	text := err.Error()
	if !strings.HasPrefix(text, "-") {
		text = "respool: " + strings.TrimPrefix(text, "respool: ")
	}
	out.Reply = resp.AppendError(nil, text)
	return out
}

// unwanted is what a step has got for a client that is gone.
func (st *Step) releaseAfterEnd(failed bool) Release {
	rel := Release{Reason: "the client is gone"}
	switch st.Kind {
	case Pin:
		rel.Conn = Destroy
	case Monitor:
		rel.Monitor = true
	case Subscribe:
		if failed {
			return Release{}
		}
		rel.Topics = st.Topics
	default:
		return Release{}
	}
	return rel
}
