package sentinel

import (
	"fmt"
	"time"
)

// Action is something for the driver to do: one of the types below. Seq is what the
// events that follow from it refer to, and is never used twice.
type Action interface{ action() }

type (
	// Connect dials a sentinel, with handshake. There is at most one Connect for
	// each address and link that was not followed by SentinelDown or Disconnect.
	Connect struct {
		Seq      uint64
		Sentinel string
		Link     Link
	}

	// Disconnect closes the connection of Connect{Seq}, or gives up its dial. The
	// driver must not dial the same link again before the old socket is closed. Silent says that a query
	// stayed unanswered: the sentinel's own close may never arrive.
	Disconnect struct {
		Seq      uint64
		Sentinel string
		Link     Link
		Silent   bool
	}

	// Check pings the subscription connection of Connect{Seq} now, since another connection is silent. The driver
	// reports SentinelDown with ErrSilent if nothing comes within QueryTimeout.
	Check struct {
		Seq      uint64
		Sentinel string
	}

	// Ask sends a query on the command connection, and wants an Answer.
	Ask struct {
		Seq      uint64
		Sentinel string
		Query    Query
		Args     []any
	}

	// Subscribe subscribes to channels on the subscription connection of Connect{Seq}.
	Subscribe struct {
		Seq      uint64
		Sentinel string
		Channels []string
	}

	// Verify asks ROLE of a data node and wants an Answer. A LOADING or NOAUTH error is an answer too.
	Verify struct {
		Seq  uint64
		Addr string
	}

	// NewEpoch says that Primary is the primary from now on. Connections of older
	// epochs are to be drained. Primary may be what it was before.
	NewEpoch struct {
		Epoch    uint64
		Primary  string
		Replicas []string
		Cause    string
	}

	// Hold says that a replica is being promoted: what the primary is told from now
	// on will probably be thrown away, so writes should wait. NewEpoch, Lost or
	// Unhold ends it, after Config.HoldFor at the latest.
	Hold struct {
		Epoch  uint64
		Reason string
	}

	// Unhold says that the primary still is one.
	Unhold struct{ Epoch uint64 }

	// ReplicasChanged gives the replicas to use from now on, in a stable order.
	ReplicasChanged struct {
		Epoch    uint64
		Replicas []string
	}

	// Lost says that no primary is known now, nothing is to be sent to the old one, and why.
	// Another Lost brings a new report; NewEpoch ends it.
	Lost struct {
		Epoch uint64 // that is over; 0 if there was none
		Err   *Error
	}

	// Wake wants a Tick at that time. It replaces the Wake before.
	Wake struct{ At time.Duration }
)

func (Connect) action()         {}
func (Disconnect) action()      {}
func (Check) action()           {}
func (Ask) action()             {}
func (Subscribe) action()       {}
func (Verify) action()          {}
func (NewEpoch) action()        {}
func (Hold) action()            {}
func (Unhold) action()          {}
func (ReplicasChanged) action() {}
func (Lost) action()            {}
func (Wake) action()            {}

// Query is a kind of question to a sentinel.
type Query int

// At most one query of a kind is under way, except that all sentinels are asked for the
// primary at once when they disagree.
const (
	QueryMaster Query = iota
	QueryReplicas
	QuerySentinels
	QueryID // its own id, so that one sentinel under two addresses is not taken for two
	kinds
)

// String gives the subcommand.
func (q Query) String() string {
	switch q {
	case QueryMaster:
		return "MASTER"
	case QueryReplicas:
		return "REPLICAS"
	case QuerySentinels:
		return "SENTINELS"
	case QueryID:
		return "MYID"
	}
	return fmt.Sprintf("query %d", int(q))
}

func (q Query) args(name string) []any {
	if q == QueryID {
		return []any{"SENTINEL", q.String()}
	}
	return []any{"SENTINEL", q.String(), name}
}
