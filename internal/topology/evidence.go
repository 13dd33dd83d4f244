// Package topology defines the terms that all methods of finding a service's nodes share. The state machines and the
// drivers that perform their I/O are packages below it.
package topology

import "fmt"

// Evidence is an observation about the state of a data node, made on a connection to it.
type Evidence int

// The kinds of evidence: replies of the node, or its silence.
const (
	ReadOnly   Evidence = iota // it refused a write with READONLY
	MasterDown                 // it replied MASTERDOWN: it is a replica without its primary
	Loading                    // it replied LOADING: it was restarted
	ConnLost                   // a connection broke or stalled, or a dial failed

	// Refusals of a cluster's node. It checks them before it executes anything.
	Moved       // MOVED: another node serves the slot
	Asked       // ASK: another node is receiving the slot, and has the key
	TryAgain    // TRYAGAIN: the keys of one command are on two nodes while their slot moves
	ClusterDown // CLUSTERDOWN: the cluster does not serve the slot

	Changed // a cluster's node ended the subscriptions of a slot, or reported another state of the cluster than before
)

// OfCluster reports whether only a cluster's node makes this observation.
func (e Evidence) OfCluster() bool { return e >= Moved }

// String returns the evidence in words, for the cause of a change.
func (e Evidence) String() string {
	switch e {
	case ReadOnly:
		return "READONLY reply"
	case MasterDown:
		return "MASTERDOWN reply"
	case Loading:
		return "LOADING reply"
	case ConnLost:
		return "lost connection"
	case Moved:
		return "MOVED reply"
	case Asked:
		return "ASK reply"
	case TryAgain:
		return "TRYAGAIN reply"
	case ClusterDown:
		return "CLUSTERDOWN reply"
	case Changed:
		return "change of the cluster"
	}
	return fmt.Sprintf("evidence %d", int(e))
}
