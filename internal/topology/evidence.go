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
)

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
	}
	return fmt.Sprintf("evidence %d", int(e))
}
