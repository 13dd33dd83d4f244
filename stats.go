package respool

import (
	"cmp"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Stats is the state of a client's connections at one moment, and what it
// counted since it was made. It is a value: nothing in it changes any more.
// Where sentinels tell the nodes the numbers are those of all nodes together,
// and Nodes has them apart.
type Stats struct {
	Addr string // the node; the primary where sentinels tell it, empty while none is known

	MaxConnections int // the bound in force, for each node
	Dialing        int // sockets being dialed or handshaken
	Lanes          int // shared sockets
	Idle           int // sockets kept ready for dedicated use
	Dedicated      int // sockets lent to one caller each
	Subscribed     int // sockets with subscriptions
	Closing        int // sockets whose other side is not closed yet

	Waiting    int // callers waiting for a connection
	RepliesDue int // commands on the lanes whose reply has not come

	Dials        uint64 // connections opened
	DialFailures uint64
	Closed       uint64 // connections closed
	FailedLanes  uint64 // lanes that broke
	Leaks        uint64 // leaks suspected

	Waits       uint64        // waits for a connection that did not end at once
	FailedWaits uint64        // those that ended without one, except where the caller canceled its ctx
	Waited      time.Duration // all waits together
	LongestWait time.Duration

	// Refused counts the callers that got no connection because the server
	// refused their user, their database or their protocol.
	Refused uint64

	// LastDialError is the error of the last dial, if it failed. Where connections
	// are made for several users or databases, it is that of the last one that
	// the server refused, as long as it was not accepted since.
	LastDialError error

	// Of Options.Credentials: how often connections authenticated again before their credentials
	// expired, how often that failed, and why the last attempt did, if so. Connections to
	// sentinels count as well, by SentinelOptions.Credentials. They are not in Nodes.
	Renewals         uint64
	RenewalFailures  uint64
	LastRenewalError error

	// Nodes has a client's nodes one by one, by address: those in use and those
	// that still have sockets. nil where sentinels do not tell them.
	Nodes []Stats
	// Service is what the sentinels told. nil where there are none.
	Service *ServiceStats
}

// Sockets is how many of the bound are taken: what the server may count.
func (s Stats) Sockets() int {
	return s.Dialing + s.Lanes + s.Idle + s.Dedicated + s.Subscribed + s.Closing
}

// String sums the state up in a line.
func (s Stats) String() string {
	where := s.Addr
	if s.Service != nil {
		where = fmt.Sprintf("%s, %s, epoch %d", s.Service.Name, cmp.Or(s.Addr, "no primary known"), s.Service.Epoch)
	}
	return fmt.Sprintf("%s: %d of %d sockets (%d lanes, %d idle, %d dedicated, %d subscribed, %d dialing, %d closing), %d callers waiting, %d replies due",
		where, s.Sockets(), s.MaxConnections, s.Lanes, s.Idle, s.Dedicated, s.Subscribed, s.Dialing, s.Closing, s.Waiting, s.RepliesDue)
}

// Stats takes a snapshot. It is cheap, and safe for concurrent use, after
// Close too.
func (c *Client) Stats() Stats {
	all := c.engine.Stats()
	var st Stats
	if all.Service == nil {
		st = statsOf(&all.Nodes[0])
	} else {
		sum := all.Departed
		sum.Max = all.MaxConnections
		for i := range all.Nodes {
			sum.Add(&all.Nodes[i])
		}
		st = statsOf(&sum)
		st.Service, st.Nodes = serviceStats(all.Service), []Stats{}
		if st.Service.Known {
			st.Addr = st.Service.Primary
		}
		for i := range all.Nodes {
			st.Nodes = append(st.Nodes, statsOf(&all.Nodes[i]))
		}
	}
	st.Renewals, st.RenewalFailures = all.Credentials.Renewals, all.Credentials.Failures
	st.LastRenewalError = wrapError(all.Credentials.LastError)
	return st
}

func statsOf(s *pool.Stats) Stats {
	return Stats{
		Addr: s.Addr, MaxConnections: s.Max, Dialing: s.Dialing, Lanes: s.Lanes, Idle: s.Idle,
		Dedicated: s.Dedicated, Subscribed: s.Subscribed, Closing: s.Closing,
		Waiting: s.Waiting, RepliesDue: s.RepliesDue,
		Dials: s.Dials, DialFailures: s.DialFailures, Closed: s.Closed, FailedLanes: s.FailedLanes, Leaks: s.Leaks,
		Waits: s.Waits, FailedWaits: s.FailedWaits, Refused: s.Refused, Waited: s.Waited, LongestWait: s.LongestWait,
		LastDialError: wrapError(s.LastDialError),
	}
}

// ServiceStats is what is known of a service by its sentinels.
type ServiceStats struct {
	Name    string
	Epoch   uint64 // rises with each new primary; 0 before the first one
	Primary string // the last one, if none is known now
	Known   bool   // whether Primary is believed to be primary
	Changed time.Time
	Cause   string // of the last change
	Err     error  // why no primary is known; nil if one is

	Replicas  []string          // to be used
	Excluded  []ExcludedReplica // not to be used
	Sentinels []SentinelStats
}

// ExcludedReplica is a replica that is not used, and why.
type ExcludedReplica struct{ Addr, Reason string }

// SentinelStats is what is known of one sentinel.
type SentinelStats struct {
	Addr    string
	ID      string // its own; empty where it is not known yet
	Learnt  bool   // from another sentinel: it is not in SentinelOptions.Addrs
	Sockets int    // the client's, and those of others that share its Sentinel: 2 at most, besides those that fell silent and are not closed yet
	State   string // how it was found, in words
	Said    string // what it said last
}

// serviceStats converts what the engine knows.
func serviceStats(s *engine.ServiceStats) *ServiceStats {
	st := &ServiceStats{Name: s.Name, Epoch: s.Epoch, Primary: s.Primary, Known: s.Known, Changed: s.Changed, Cause: s.Cause,
		Err: s.Err, Replicas: s.Replicas}
	for _, l := range s.Excluded {
		st.Excluded = append(st.Excluded, ExcludedReplica(l))
	}
	for _, one := range s.Sentinels {
		st.Sentinels = append(st.Sentinels, SentinelStats(one))
	}
	return st
}
