package cluster

import "time"

// Action is an instruction to the driver: one of the types below. Later events refer to Seq, which is unique.
type Action interface{ action() }

type (
	// Query sends CLUSTER INFO and CLUSTER SLOTS to a node, on an existing lane if it has one. An Answer must follow.
	// After QueryTimeout it is ignored. There is at most one Query, or one Resolve, in flight.
	Query struct {
		Seq  uint64
		Node Node
	}

	// Resolve looks up the addresses of the seeds. A Resolved must follow. After QueryTimeout it is ignored. A driver
	// that must not resolve names returns the seeds as they are.
	Resolve struct{ Seq uint64 }

	// NewMap replaces the map.
	NewMap struct {
		Map   *Map
		Cause string
	}

	// Lost reports that slots have no owner, or that no node returns a usable map, and why. The last map stays in use.
	// A further Lost only updates the reason. Found ends it.
	Lost struct{ Err *Error }

	// Found reports that a node returns a usable map again in which all slots have owners.
	Found struct{}

	// Wake requests a Tick at that time. It replaces the previous Wake.
	Wake struct{ At time.Duration }
)

func (Query) action()   {}
func (Resolve) action() {}
func (NewMap) action()  {}
func (Lost) action()    {}
func (Found) action()   {}
func (Wake) action()    {}
