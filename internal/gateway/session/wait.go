package session

import (
	"cmp"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

const defaultWaitChannel = "respool:wait"

// wait handles WAIT and WAITAOF. They wait for the last write of their own connection, so the step sends a write before
// them.
func (s *Session) wait(r request) Step {
	if s.cfg.Cluster {
		return notOnCluster(r.info.Name, "it would not wait for the writes of the client, which went through other connections")
	}
	step := s.pin.forwardDedicated(r)
	step.Kind, step.Barrier = Wait, true
	step.Block = command.BlockForBytes(r.info, r.args)
	step.Raw = append(makeRequest("PUBLISH", cmp.Or(s.cfg.WaitChannel, defaultWaitChannel), ""), r.raw...)
	step.Replies = 2
	step.onDone = waited
	return step
}

func waited(_ *Session, _ *Step, frames [][]byte) Outcome {
	if text, failed := errorText(frames[0]); failed {
		return Outcome{Reply: resp.AppendError(nil, "respool: WAIT needs a PUBLISH before it: "+text)}
	}
	return Outcome{Reply: frames[1]}
}
