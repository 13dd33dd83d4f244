package sentinel

import (
	"fmt"
	"time"
)

// Action is an instruction to the driver: one of the types below. Later events refer to Seq, which is unique.
type Action interface{ action() }

type (
	// Connect dials a sentinel, with handshake. For each address and link there is at most one Connect without a
	// later SentinelDown or Disconnect.
	Connect struct {
		Seq      uint64
		Sentinel string
		Link     Link
	}

	// Disconnect closes the connection of Connect{Seq}, or cancels its dial. The driver must not dial the same link
	// again before the old socket is closed. Silent: a query had no reply, and the sentinel's own close may never
	// arrive, so the driver waits for it only briefly.
	Disconnect struct {
		Seq      uint64
		Sentinel string
		Link     Link
		Silent   bool
	}

	// Check pings the subscription connection of Connect{Seq} now, because another connection is silent. The driver
	// reports SentinelDown with ErrSilent if nothing arrives within QueryTimeout.
	Check struct {
		Seq      uint64
		Sentinel string
	}

	// Ask sends a query on the command connection. An Answer must follow.
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

	// Verify sends ROLE to a data node. An Answer must follow. A LOADING or NOAUTH error is an answer too.
	Verify struct {
		Seq  uint64
		Addr string
	}

	// NewEpoch sets Primary as the primary. The driver drains connections of older epochs. Primary may be the same as
	// before.
	NewEpoch struct {
		Epoch    uint64
		Primary  string
		Replicas []string
		Cause    string
	}

	// Hold reports that a replica is being promoted. The server will probably discard later writes to the primary, so
	// writes should wait. NewEpoch, Lost or Unhold ends it, at the latest after Config.HoldFor.
	Hold struct {
		Epoch  uint64
		Reason string
	}

	// Unhold reports that the primary is still the primary.
	Unhold struct{ Epoch uint64 }

	// ReplicasChanged sets the usable replicas, in a stable order.
	ReplicasChanged struct {
		Epoch    uint64
		Replicas []string
	}

	// Lost reports that no primary is known, and why. Nothing may be sent to the old one. A further Lost only updates
	// the reason. NewEpoch ends it.
	Lost struct {
		Epoch uint64 // the epoch that ended; 0 if there was none
		Err   *Error
	}

	// Wake requests a Tick at that time. It replaces the previous Wake.
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

// Query is a kind of query to a sentinel.
type Query int

// At most one query of a kind is in flight, except that a dispute queries all sentinels for the primary at once.
const (
	QueryMaster Query = iota
	QueryReplicas
	QuerySentinels
	QueryID // its own id, to detect one sentinel with two addresses
	kinds
)

// String returns the subcommand.
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
