package respool

import (
	"cmp"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Stats is the state of a client's connections at one moment, with counters since the client was
// created. It is an independent value that does not change. With sentinels or a cluster, the numbers
// are sums over all nodes, and Nodes contains the numbers of each node.
type Stats struct {
	Addr string // the node; with sentinels the primary, empty while none is known; empty with a cluster

	MaxConnections int // the current bound, for each node
	Dialing        int // sockets during dial or handshake
	Lanes          int // shared sockets
	Idle           int // sockets without a holder, ready for dedicated use
	Dedicated      int // sockets leased to one caller each
	Subscribed     int // sockets with subscriptions
	Closing        int // sockets whose other side has not closed yet

	Waiting    int // callers waiting for a connection
	RepliesDue int // commands on the lanes with a pending reply

	Dials        uint64 // connections opened
	DialFailures uint64
	Closed       uint64 // connections closed
	FailedLanes  uint64 // lanes that failed
	Leaks        uint64 // suspected leaks

	Waits       uint64        // waits for a connection, without calls that got one at once
	FailedWaits uint64        // waits that ended without a connection, except if the caller canceled its ctx
	Waited      time.Duration // the sum of all waits
	LongestWait time.Duration

	// Refused counts the callers that got no connection because the server refused their user,
	// database or protocol.
	Refused uint64

	// LastDialError is the error of the last dial, or nil if it succeeded. If the client dials for
	// several users or databases, it is the error of the last refused one until the server accepts
	// that one.
	LastDialError error

	// Renewals counts how often connections authenticated again before their credentials expired.
	// RenewalFailures counts the failed attempts. LastRenewalError is the error of the last
	// attempt, or nil if it succeeded. Connections to sentinels, with SentinelOptions.Credentials,
	// count as well. Nodes does not contain these numbers.
	Renewals         uint64
	RenewalFailures  uint64
	LastRenewalError error

	// Blocking contains the figures of blocking commands that wait without a connection of their
	// own. Nodes does not contain them.
	Blocking BlockingStats

	// Nodes contains the numbers of each node, by address: the nodes in use and those that still
	// have sockets. nil for a single server.
	Nodes []Stats
	// Service is the state that the sentinels reported. nil without sentinels.
	Service *ServiceStats
	// Cluster is the state of the cluster. nil without a cluster.
	Cluster *ClusterStats
}

// Sockets returns the number of places in use: the connections that the server may count.
func (s Stats) Sockets() int {
	return s.Dialing + s.Lanes + s.Idle + s.Dedicated + s.Subscribed + s.Closing
}

// String returns a summary in one line.
func (s Stats) String() string {
	where := s.Addr
	if s.Cluster != nil {
		where = fmt.Sprintf("cluster of %d primaries, %d slots served, map %d", len(s.Cluster.Primaries), s.Cluster.Covered, s.Cluster.Version)
	}
	if s.Service != nil {
		where = fmt.Sprintf("%s, %s, epoch %d", s.Service.Name, cmp.Or(s.Addr, "no primary known"), s.Service.Epoch)
	}
	return fmt.Sprintf("%s: %d of %d sockets (%d lanes, %d idle, %d dedicated, %d subscribed, %d dialing, %d closing), %d callers waiting, %d replies due",
		where, s.Sockets(), s.MaxConnections, s.Lanes, s.Idle, s.Dedicated, s.Subscribed, s.Dialing, s.Closing, s.Waiting, s.RepliesDue)
}

// Stats returns a snapshot. It is cheap and does not wait for the network. It is safe for
// concurrent use, and works after Close too.
func (c *Client) Stats() Stats {
	all := c.engine.Stats()
	var st Stats
	if all.Service == nil && all.Cluster == nil {
		st = statsOf(&all.Nodes[0])
	} else {
		sum := all.Departed
		sum.Max = all.MaxConnections
		for i := range all.Nodes {
			sum.Add(&all.Nodes[i])
		}
		st = statsOf(&sum)
		st.Service, st.Cluster, st.Nodes = serviceStats(all.Service), clusterStats(all.Cluster), []Stats{}
		if st.Service != nil && st.Service.Known {
			st.Addr = st.Service.Primary
		}
		for i := range all.Nodes {
			st.Nodes = append(st.Nodes, statsOf(&all.Nodes[i]))
		}
	}
	st.Blocking = blockingStats(&all.Blocking)
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

// ServiceStats is the state of a service as its sentinels report it.
type ServiceStats struct {
	Name    string
	Epoch   uint64 // increases with each new primary; 0 before the first one
	Primary string // the address; the last known one if Known is false
	Known   bool   // Primary is known to be the primary now
	Changed time.Time
	Cause   string // the cause of the last change
	Err     error  // the reason why no primary is known; nil if one is

	Replicas  []string          // in use
	Excluded  []ExcludedReplica // not in use, with the reasons
	Sentinels []SentinelStats
}

// ExcludedReplica is a replica that the client does not use, with the reason.
type ExcludedReplica struct{ Addr, Reason string }

// SentinelStats is the state of one sentinel.
type SentinelStats struct {
	Addr    string
	ID      string // the sentinel's own id; empty until it is known
	Learnt  bool   // another sentinel reported it: it is not in SentinelOptions.Addrs
	Sockets int    // connections of all clients of the Sentinel: 2 at most, plus silent ones that are not closed yet
	State   string // the state in words
	Said    string // its last answer
}

// serviceStats converts the state that the engine reports.
func serviceStats(s *engine.ServiceStats) *ServiceStats {
	if s == nil {
		return nil
	}
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

// Blocking decides how blocking commands such as BLPOP and XREADGROUP wait.
type Blocking uint8

// The ways to wait.
const (
	// BlockingShared lets blocking commands wait in the client, with one connection for each node.
	// EventBlockingDedicated reports that a server does not allow it.
	BlockingShared    Blocking = iota
	BlockingDedicated          // each blocking command has a connection while it waits
)

// String returns shared or dedicated.
func (b Blocking) String() string {
	if b > BlockingDedicated {
		return fmt.Sprintf("mode %d", uint8(b))
	}
	return [...]string{"shared", "dedicated"}[b]
}

// BlockingStats are the figures of the blocking commands that wait without a connection of their
// own. Counters begin with the client.
type BlockingStats struct {
	Waiting  int                      // commands that wait now
	Keys     int                      // distinct keys that they wait for
	Commands map[string]BlockingCount // by name in upper case; nil before the first one

	Watching      bool   // a connection watches the keys
	Invalidations uint64 // changes of keys that the server reported
	Reconnects    uint64 // connections after the loss of one
	// Refusal is the reason why blocking commands use dedicated connections now, or nil.
	Refusal error
}

// BlockingCount are the figures of one blocking command.
type BlockingCount struct {
	Waiting   int           // commands that wait now
	Served    uint64        // waits that ended with data
	TimedOut  uint64        // waits that ended with their timeout
	Canceled  uint64        // waits that ctx, CLIENT UNBLOCK or Close ended
	Failed    uint64        // waits that ended with an error of the server or of a connection
	Tries     uint64        // commands sent to look for data
	Spurious  uint64        // of Tries: found no data, after the first one of their wait
	GivenBack uint64        // elements that no caller took any more and that returned to their key
	Dropped   uint64        // elements of BLMOVE and entries of XREADGROUP for which no caller was left
	Lost      uint64        // elements that could not return, and tries that were sent and had no reply
	Longest   time.Duration // the longest wait that has ended
}

// blockingStats converts the figures of the engine.
func blockingStats(s *engine.BlockingStats) BlockingStats {
	st := BlockingStats{Waiting: s.Waits.Waiting, Keys: s.Waits.Keys, Watching: s.Watcher.Connected,
		Invalidations: s.Watcher.Invalidations, Reconnects: s.Watcher.Reconnects, Refusal: wrapError(s.Watcher.Refusal)}
	for name, counts := range s.Waits.Commands {
		if st.Commands == nil {
			st.Commands = map[string]BlockingCount{}
		}
		st.Commands[name] = BlockingCount(counts)
	}
	return st
}
