package cluster

import (
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Event is an input of the machine: one of the types below.
type Event interface{ event() }

type (
	// Start starts the machine.
	Start struct{}

	// Resolved is the outcome of Resolve{Seq}.
	Resolved struct {
		Seq   uint64
		Nodes []Node // the addresses of the seeds, in order. Hostname is the name that was resolved
		Err   error  // why a seed has no address; may accompany the addresses of others
	}

	// Answer is the outcome of Query{Seq}. The replies may be errors of the server; Err is any other error.
	Answer struct {
		Seq   uint64
		Info  resp.Value // of CLUSTER INFO
		Slots resp.Value // of CLUSTER SLOTS
		Err   error
	}

	// Moved reports a MOVED reply.
	Moved struct {
		Slot    int
		From    string // address of the node that replied
		To      string // address as received; its host may be empty
		Version uint64 // version of the current map when the command was sent to From
	}

	// Ask reports an ASK reply.
	Ask struct{ From, To string } // as in Moved

	// Evidence is an observation on connections to a node.
	Evidence struct {
		Kind topology.Evidence
		Addr string
	}

	// Tick reports that the time of a Wake has come.
	Tick struct{}
)

func (Start) event()    {}
func (Resolved) event() {}
func (Answer) event()   {}
func (Moved) event()    {}
func (Ask) event()      {}
func (Evidence) event() {}
func (Tick) event()     {}
