package gateway

import (
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// laneRoute picks the lane for the commands of a client. A client stays on its lane while it has posted commands, so
// that they keep their order. The client's lock guards it.
type laneRoute struct {
	lanes     *engine.Lanes
	identity  engine.Identity // of lanes
	lane      *lane.Lane      // of the commands that are posted
	dedicated bool            // lane is the session's dedicated connection
}

// pick returns the lane for a command, or nil if no lane accepts it now. posted is the number of commands of the client
// on a lane.
func (r *laneRoute) pick(e *engine.Engine, identity engine.Identity, reads bool, posted int) (*lane.Lane, lane.Options) {
	if r.lanes == nil || identity != r.identity {
		r.lanes, r.identity = e.Lanes(identity), identity
	}
	l, opt := r.lanes.Lane(reads)
	switch {
	case posted == 0:
		r.dedicated = false
	case r.dedicated:
		return nil, opt // the pending replies come on the dedicated connection
	case l != nil:
		return r.lane, opt
	}
	return l, opt
}
