package gateway

import (
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// laneRoute picks the lane for the commands of a client. A client stays on its lane while it has posted commands, so
// that they keep their order. In a cluster, with OrderSlot, it has a lane for each node. The client's lock guards it.
type laneRoute struct {
	lanes     *engine.Lanes // for the client's loop
	lane      *lane.Lane    // of the commands that are posted; of the last one if spread is in use
	spread    *spreadRoute  // nil outside a cluster
	dedicated bool          // lane is the session's dedicated connection
}

// setOrder sets the order of the commands on the nodes of a cluster.
func (r *laneRoute) setOrder(o Order) {
	if r.spread == nil {
		r.spread = &spreadRoute{}
	}
	r.spread.strict = o == OrderStrict
}

// pick returns the lane for the commands in raw, or nil if no lane accepts it now. large states that their replies are large,
// posted is the number of commands of the client on a lane.
func (r *laneRoute) pick(e *engine.Engine, identity engine.Identity, loop engine.Loop, raw []byte, reads, large bool, posted int32,
) (*lane.Lane, lane.Options) {
	if r.lanes == nil || !r.lanes.Of(identity) {
		r.lanes = e.Lanes(identity, loop)
	}
	to := r.lanes.Place(raw, reads, large && posted == 0, r.turn(reads, posted))
	l := to.Lane
	switch {
	case posted == 0:
		r.dedicated = false
		if r.spread != nil {
			r.spread.begin(to)
		}
	case r.dedicated:
		l = nil // the pending replies come on the dedicated connection
	case r.spread != nil:
		l = r.spread.pick(to)
	case l != nil:
		l = r.lane
	}
	return l, e.OptionsOf(to)
}

// turn returns the turn by which a command chooses among the replicas of a cluster; nil if only the primary may take it.
func (r *laneRoute) turn(reads bool, posted int32) *uint32 {
	s := r.spread
	if s == nil || !reads || s.wrote {
		return nil
	}
	if posted == 0 {
		s.turn++
	}
	return &s.turn
}

// wrote notes that the client has sent a command that may write. Until the end of its pipeline, its reads go to the
// primaries, so that they see the write.
func (r *laneRoute) wrote() {
	if r.spread != nil {
		r.spread.wrote = true
	}
}

// readsPrimaries reports whether the client's reads go to the primaries.
func (r *laneRoute) readsPrimaries() bool { return r.spread != nil && r.spread.wrote }

// endPipeline notes that no reply is pending, and that the client has sent no further command.
func (r *laneRoute) endPipeline() {
	if r.spread != nil {
		r.spread.wrote = false
	}
}

// posted notes that a command was posted to l, which pick returned. The result is for done.
func (r *laneRoute) posted(l *lane.Lane) (via uint8) {
	r.lane = l
	if r.spread == nil {
		return 0
	}
	return r.spread.posted(l)
}

// onReplica reports whether a posted command went to a replica of a cluster.
func (r *laneRoute) onReplica(via uint8) bool { return via > 0 && r.spread.lanes[via-1].replica }

// laneOf returns the lane of a posted command.
func (r *laneRoute) laneOf(via uint8) *lane.Lane {
	if via == 0 {
		return r.lane
	}
	return r.spread.lanes[via-1].lane
}

// version returns the version of the cluster's map that routed the posted commands; 0 outside a cluster.
func (r *laneRoute) version() uint64 {
	if r.spread == nil {
		return 0
	}
	return r.spread.version
}

// done notes the end of a posted command.
func (r *laneRoute) done(via uint8) {
	if via > 0 {
		r.spread.lanes[via-1].commands--
	}
}

// spreadRoute holds the lanes of a client's posted commands, one for each node of a cluster. All commands were routed
// by one version of the cluster's map, so that those of a slot are on one lane, in their order.
type spreadRoute struct {
	strict  bool // OrderStrict: one lane at a time
	wrote   bool // the client has written in its present pipeline
	reading bool // reads were posted to replicas, so a command for a primary waits for the replies
	replica bool // the lane that pick returned last leads to a replica
	turn    uint32
	version uint64
	lanes   []postedLane
}

// postedLane is a lane with the number of a client's commands on it.
type postedLane struct {
	lane     *lane.Lane
	replica  bool
	commands int
}

// begin forgets all lanes: no command is posted.
func (s *spreadRoute) begin(to engine.Place) {
	s.lanes, s.version, s.reading, s.replica = s.lanes[:0], to.Version, false, to.Replica
}

// mostLanes is how many nodes may have commands of one client at the same time.
const mostLanes = 255

// pick returns the lane for a command that may use a place: the one that the client uses already at that node. It returns
// nil if the command must wait.
func (s *spreadRoute) pick(to engine.Place) *lane.Lane {
	if to.Lane == nil || to.Version != s.version || to.Version == 0 || s.wrote && s.reading {
		return nil
	}
	s.replica = to.Replica
	switch i := s.at(to.Lane.Conn().Addr()); {
	case i >= 0 && s.lanes[i].commands > 0:
		if s.lanes[i].replica != to.Replica {
			return nil
		}
		return s.lanes[i].lane
	case s.strict, i < 0 && len(s.lanes) == mostLanes:
		return nil
	}
	return to.Lane
}

// at returns the index of the lane of a node, or -1.
func (s *spreadRoute) at(addr string) int {
	for i := range s.lanes {
		if s.lanes[i].lane.Conn().Addr() == addr {
			return i
		}
	}
	return -1
}

func (s *spreadRoute) posted(l *lane.Lane) (via uint8) {
	i := s.at(l.Conn().Addr())
	if i < 0 {
		s.lanes = append(s.lanes, postedLane{})
		i = len(s.lanes) - 1
	}
	s.lanes[i].lane, s.lanes[i].replica = l, s.replica
	s.lanes[i].commands++
	s.reading = s.reading || s.replica
	return uint8(i + 1)
}
