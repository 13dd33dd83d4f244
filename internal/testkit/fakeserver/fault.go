package fakeserver

import "slices"

// FaultKind is how a reply goes wrong.
type FaultKind int

// How a reply goes wrong.
const (
	Drop   FaultKind = iota // it is not sent
	Double                  // it is sent twice
	Swap                    // it is sent after the next one of its connection
)

type fault struct {
	kind    FaultKind
	matches func(c *Conn, args []string) bool
}

// Fault spoils the reply to the next command that matches, once. A nil matches takes any command.
func (s *Server) Fault(kind FaultKind, matches func(c *Conn, args []string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fault{kind, matches})
}

// Named matches commands of one name, spelled as the client spells it.
func Named(name string) func(*Conn, []string) bool {
	return func(_ *Conn, args []string) bool { return args[0] == name }
}

// spoiled takes the fault that the reply to a command suffers, or none.
func (s *Server) spoiled(c *Conn, args []string) (FaultKind, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.matches == nil || f.matches(c, args) {
			s.faults = slices.Delete(s.faults, i, i+1)
			return f.kind, true
		}
	}
	return 0, false
}

// emit appends a reply to those pending, or what a fault makes of it.
func (c *Conn) emit(args []string, reply string) {
	if kind, ok := c.s.spoiled(c, args); ok {
		switch kind {
		case Drop:
			return
		case Double:
			reply += reply
		case Swap:
			c.held += reply
			return
		}
	}
	c.Send(reply)
	if reply != "" {
		c.Send(c.held)
		c.held = ""
	}
}
