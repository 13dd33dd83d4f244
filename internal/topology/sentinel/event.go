package sentinel

import (
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Link is one of the two possible connections to a sentinel.
type Link int

// The command connection carries queries, the other one pushes.
const (
	Command Link = iota
	Subscription
)

// String returns the name of the link.
func (l Link) String() string {
	if l == Subscription {
		return "subscription"
	}
	return "command"
}

// Event is an input of the machine: one of the types below.
type Event interface{ event() }

type (
	// Start starts the machine.
	Start struct{}

	// SentinelUp reports that the dial of Connect{Seq}, with its handshake, has succeeded.
	SentinelUp struct{ Seq uint64 }

	// SentinelDown reports that the dial of Connect{Seq} failed, or that the connection was lost. It need not follow
	// a Disconnect. Queries on that connection need no Answer any more.
	SentinelDown struct {
		Seq uint64
		Err error
	}

	// Answer is the outcome of Ask{Seq} or Verify{Seq}. Reply contains errors of the server; Err is any other error.
	Answer struct {
		Seq   uint64
		Reply resp.Value
		Err   error
	}

	// Push is a message that a sentinel published.
	Push struct {
		Sentinel string // as in Connect
		Channel  string
		Payload  string
	}

	// Evidence is an observation on connections to a data node.
	Evidence struct {
		Kind  topology.Evidence
		Addr  string // as in NewEpoch
		Epoch uint64 // epoch of the connection
	}

	// Tick reports that the time of a Wake has come.
	Tick struct{}
)

func (Start) event()        {}
func (SentinelUp) event()   {}
func (SentinelDown) event() {}
func (Answer) event()       {}
func (Push) event()         {}
func (Evidence) event()     {}
func (Tick) event()         {}
