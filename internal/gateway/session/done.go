package session

import (
	"errors"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// ErrWrongPassword is the error for Done if the gateway has no such user, or if the password is wrong.
var ErrWrongPassword = errors.New("respool: invalid username-password pair or user is disabled")

// errMissingFrames is the error of a step with too few frames and no error.
var errMissingFrames = errors.New("respool: replies are missing")

// Done completes a step. frames are the replies in order, as many as Step.Replies. err is the error if there are none.
// An Identify that the gateway verified and a Subscribe need no frame. The client gets the text of the error, so it
// must contain no secrets. It may begin with "-" and a code. A Subscribe that fails must not leave topics subscribed.
//
// An error of a step on the session's connection means that the connection has ended: see [Session.PinLost].
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

// minFrames returns the number of frames without which the step fails.
func (st *Step) minFrames() int {
	switch {
	case st.Kind.Upstream():
		return st.Replies
	case st.Kind == ClientCommand || st.Kind == Console:
		return 1
	}
	return 0
}

// failedOutcome returns the outcome of a step with an error.
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
		out = s.pin.lose()
		if step.Kind == Transaction || step.fixedReply != nil {
			s.pin.watchLost = false // the step ends WATCH, and the client gets its error or its reply
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

// releaseAfterEnd returns what a step has leased or subscribed for a client that has left.
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
