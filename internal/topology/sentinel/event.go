package sentinel

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Link is one of the two connections that a sentinel may have at most.
type Link int

// The command connection carries queries, the other one pushes.
const (
	Command Link = iota
	Subscription
)

// String names the link.
func (l Link) String() string {
	if l == Subscription {
		return "subscription"
	}
	return "command"
}

// Event is something that happened: one of the types below.
type Event interface{ event() }

type (
	// Start begins the work.
	Start struct{}

	// SentinelUp says that the dial of Connect{Seq} is done, with its handshake.
	SentinelUp struct{ Seq uint64 }

	// SentinelDown says that the dial of Connect{Seq} failed, or that the connection
	// was lost. It need not follow a Disconnect. Queries that were asked on it need no answer any more.
	SentinelDown struct {
		Seq uint64
		Err error
	}

	// Answer is what Ask{Seq} or Verify{Seq} brought. Errors of the server
	// stand in Reply; Err is for all others.
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

	// Evidence is what connections to a data node found.
	Evidence struct {
		Kind  EvidenceKind
		Addr  string // as in NewEpoch
		Epoch uint64 // to which the connection belonged
	}

	// Tick says that the time of a Wake has come.
	Tick struct{}
)

func (Start) event()        {}
func (SentinelUp) event()   {}
func (SentinelDown) event() {}
func (Answer) event()       {}
func (Push) event()         {}
func (Evidence) event()     {}
func (Tick) event()         {}

// EvidenceKind is what a connection to a data node found.
type EvidenceKind int

// What is found may be the node's own word, or its silence.
const (
	NodeReadOnly   EvidenceKind = iota // it refused a write with READONLY
	NodeMasterDown                     // it replied MASTERDOWN: it is a replica without its primary
	NodeLoading                        // it replied LOADING: it was restarted
	NodeLost                           // a connection broke or stalled, or a dial failed
)

// String gives the evidence in words, for the cause of a change.
func (k EvidenceKind) String() string {
	switch k {
	case NodeReadOnly:
		return "READONLY reply"
	case NodeMasterDown:
		return "MASTERDOWN reply"
	case NodeLoading:
		return "LOADING reply"
	case NodeLost:
		return "lost connection"
	}
	return fmt.Sprintf("evidence %d", int(k))
}
