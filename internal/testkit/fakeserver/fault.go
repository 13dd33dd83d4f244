package fakeserver

import "slices"

// FaultKind is a kind of fault in a reply.
type FaultKind int

// The kinds of faults.
const (
	Drop   FaultKind = iota // the reply is not sent
	Double                  // the reply is sent twice
	Swap                    // the reply is sent after the next one of the connection
)

type fault struct {
	kind    FaultKind
	matches func(c *Conn, args []string) bool
}

// Fault injects a fault into the reply to the next command that matches, once. A nil matches accepts
// any command.
func (s *Server) Fault(kind FaultKind, matches func(c *Conn, args []string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fault{kind, matches})
}

// Named matches commands of one name. The case counts.
func Named(name string) func(*Conn, []string) bool {
	return func(_ *Conn, args []string) bool { return args[0] == name }
}

// takeFault removes and returns the first fault that matches a command.
func (s *Server) takeFault(c *Conn, args []string) (FaultKind, bool) {
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

// emit appends a reply to the pending ones, after a fault if one matches.
func (c *Conn) emit(args []string, reply string) {
	if kind, ok := c.s.takeFault(c, args); ok {
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
