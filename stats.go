package respool

import (
	"errors"
	"fmt"
	"time"
)

// Stats is the state of a client's connections at one moment, and what it
// counted since it was made. It is a value: nothing in it changes any more.
type Stats struct {
	Addr string // the node

	MaxConnections int // the bound in force
	Dialing        int // sockets being dialed or handshaken
	Lanes          int // shared sockets
	Idle           int // sockets kept ready for dedicated use
	Dedicated      int // sockets lent to one caller each
	Subscribed     int // sockets with subscriptions
	Closing        int // sockets whose other side is not closed yet

	Waiting    int // callers waiting for a connection
	RepliesDue int // commands on the lanes whose reply has not come

	Dials        uint64 // connections opened
	DialFailures uint64
	Closed       uint64 // connections closed
	Condemned    uint64 // lanes that broke
	Leaks        uint64 // leaks suspected

	Waits       uint64        // waits for a connection that did not end at once
	WaitsInVain uint64        // those that ended without one
	Waited      time.Duration // all waits together
	LongestWait time.Duration

	LastDialError error // of the last dial, if it failed
}

// Sockets is how many of the bound are taken: what the server may count.
func (s Stats) Sockets() int {
	return s.Dialing + s.Lanes + s.Idle + s.Dedicated + s.Subscribed + s.Closing
}

// String sums the state up in a line.
func (s Stats) String() string {
	return fmt.Sprintf("%s: %d of %d sockets (%d lanes, %d idle, %d dedicated, %d subscribed, %d dialing, %d closing), %d callers waiting, %d replies due",
		s.Addr, s.Sockets(), s.MaxConnections, s.Lanes, s.Idle, s.Dedicated, s.Subscribed, s.Dialing, s.Closing, s.Waiting, s.RepliesDue)
}

// Stats takes a snapshot. It is cheap, and safe for concurrent use, after
// Close too.
func (c *Client) Stats() Stats {
	s := c.pool.Stats()
	return Stats{
		Addr: s.Addr, MaxConnections: s.Max, Dialing: s.Dialing, Lanes: s.Lanes, Idle: s.Idle,
		Dedicated: s.Dedicated, Subscribed: s.Subscribed, Closing: s.Closing,
		Waiting: s.Waiting, RepliesDue: s.RepliesDue,
		Dials: s.Dials, DialFailures: s.DialFailures, Closed: s.Closed, Condemned: s.Condemned, Leaks: s.Leaks,
		Waits: s.Waits, WaitsInVain: s.WaitsInVain, Waited: s.Waited, LongestWait: s.LongestWait,
		LastDialError: c.public(s.LastDialError),
	}
}

// Resize changes MaxConnections while the client runs. Downwards it closes
// idle connections at once, drains lanes, and closes lent connections when
// they come back: it does not wait for that. It returns an error if n is
// less than 1.
func (c *Client) Resize(n int) error {
	if n < 1 {
		return fmt.Errorf("respool: resize to %d connections: want 1 or more", n)
	}
	if c.closed.Load() {
		return ErrClosed
	}
	c.pool.Resize(n)
	return nil
}

var (
	errNoArguments = errors.New("respool: empty command: want a name and its arguments")
	errBadName     = errors.New("respool: argument 0 is no string: want the command's name")
)
