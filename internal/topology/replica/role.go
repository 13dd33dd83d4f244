package replica

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Role is a node's answer to ROLE, or the reason why there is none.
type Role struct {
	Kind    string // master, slave or sentinel; empty if there is a problem
	Offset  int64
	Link    string // of a replica
	Primary string // of a replica
	Problem string
}

// Is reports whether the node says that it has a role.
func (r Role) Is(kind string) bool { return r.Kind == kind }

// Text returns the node's answer in words.
func (r Role) Text() string {
	switch r.Kind {
	case "":
		return "does not answer ROLE: " + r.Problem
	case "master":
		return "says that it is a primary"
	case "slave":
		return "says that it is a replica of " + r.Primary
	}
	return "says that it is a sentinel"
}

// RoleOf reads the answer to ROLE.
func RoleOf(v resp.Value) Role {
	if err := topology.ErrorOf(v); err != nil {
		return Role{Problem: topology.Harmless(err.Error())}
	}
	malformed := Role{Problem: "its answer is malformed"}
	elems := v.Elems
	if v.Kind != resp.Array || len(elems) == 0 {
		return malformed
	}
	number := func(i int) (int64, bool) {
		if i >= len(elems) || elems[i].Kind != resp.Integer {
			return 0, false
		}
		return elems[i].Int, true
	}
	switch kind := topology.TextOf(elems[0]); kind {
	case "master":
		if offset, ok := number(1); ok {
			return Role{Kind: kind, Offset: offset}
		}
	case "slave":
		port, okPort := number(2)
		offset, ok := number(4)
		if !ok || !okPort {
			return malformed
		}
		addr, ok := topology.JoinAddr(topology.TextOf(elems[1]), fmt.Sprint(port))
		if !ok {
			return malformed
		}
		return Role{Kind: kind, Offset: offset, Link: topology.Clip(topology.TextOf(elems[3])), Primary: addr}
	case "sentinel":
		return Role{Kind: kind}
	}
	return malformed
}
