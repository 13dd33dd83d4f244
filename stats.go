package respool

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Stats is the state of a client's connections at one moment, and what it
// counted since it was made. It is a value: nothing in it changes any more.
// Where sentinels tell the nodes the numbers are those of all nodes together,
// and Nodes has them apart.
type Stats struct {
	Addr string // the node; the primary where sentinels tell it, empty while none is known

	MaxConnections int // the bound in force, for each node
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
	WaitsInVain uint64        // those that ended without one, except where the caller canceled its ctx
	Waited      time.Duration // all waits together
	LongestWait time.Duration

	// Refused counts the callers that got no connection because the server
	// refused their user, their database or their protocol.
	Refused uint64

	// LastDialError is the error of the last dial, if it failed. Where connections
	// are made for several users or databases, it is that of the last one that
	// the server refused, as long as it was not accepted since.
	LastDialError error

	// Of Options.Credentials: how often connections authenticated again before their credentials
	// expired, how often that failed, and why the last attempt did, if so. Connections to
	// sentinels count as well, by SentinelOptions.Credentials. They are not in Nodes.
	Renewals         uint64
	RenewalFailures  uint64
	LastRenewalError error

	// Nodes has a client's nodes one by one, by address: those in use and those
	// that still have sockets. nil where sentinels do not tell them.
	Nodes []Stats
	// Service is what the sentinels told. nil where there are none.
	Service *ServiceStats
}

// Sockets is how many of the bound are taken: what the server may count.
func (s Stats) Sockets() int {
	return s.Dialing + s.Lanes + s.Idle + s.Dedicated + s.Subscribed + s.Closing
}

// String sums the state up in a line.
func (s Stats) String() string {
	where := s.Addr
	if s.Service != nil {
		where = fmt.Sprintf("%s, %s, epoch %d", s.Service.Name, cmp.Or(s.Addr, "no primary known"), s.Service.Epoch)
	}
	return fmt.Sprintf("%s: %d of %d sockets (%d lanes, %d idle, %d dedicated, %d subscribed, %d dialing, %d closing), %d callers waiting, %d replies due",
		where, s.Sockets(), s.MaxConnections, s.Lanes, s.Idle, s.Dedicated, s.Subscribed, s.Dialing, s.Closing, s.Waiting, s.RepliesDue)
}

// Stats takes a snapshot. It is cheap, and safe for concurrent use, after
// Close too.
func (c *Client) Stats() Stats {
	list := c.nodes.list()
	if c.finder == nil {
		st := c.nodeStats(list[0])
		c.renewer.addTo(&st)
		return st
	}
	total := Stats{MaxConnections: c.nodes.limit(c.opt.MaxConnections), Service: c.finder.stats(), Nodes: []Stats{}}
	if total.Service.Known {
		total.Addr = total.Service.Primary
	}
	departed := c.nodes.past()
	total.add(&departed)
	for _, n := range list {
		s := c.nodeStats(n)
		total.add(&s)
		total.Nodes = append(total.Nodes, s)
	}
	c.renewer.addTo(&total)
	c.finder.sentinels.renewer.addTo(&total)
	slices.SortFunc(total.Nodes, func(a, b Stats) int { return strings.Compare(a.Addr, b.Addr) })
	return total
}

func (c *Client) nodeStats(n *node) Stats {
	s := n.pool.Stats()
	st := statsOf(&s)
	st.LastDialError = c.public(s.LastDialError)
	if st.LastDialError == nil {
		st.LastDialError = c.public(s.LastRefusal)
	}
	return st
}

func statsOf(s *pool.Stats) Stats {
	return Stats{
		Addr: s.Addr, MaxConnections: s.Max, Dialing: s.Dialing, Lanes: s.Lanes, Idle: s.Idle,
		Dedicated: s.Dedicated, Subscribed: s.Subscribed, Closing: s.Closing,
		Waiting: s.Waiting, RepliesDue: s.RepliesDue,
		Dials: s.Dials, DialFailures: s.DialFailures, Closed: s.Closed, Condemned: s.Condemned, Leaks: s.Leaks,
		Waits: s.Waits, WaitsInVain: s.WaitsInVain, Refused: s.Refused, Waited: s.Waited, LongestWait: s.LongestWait,
	}
}

// add takes a node's numbers into the sum.
func (s *Stats) add(n *Stats) {
	for _, p := range []struct{ sum, one *int }{
		{&s.Dialing, &n.Dialing}, {&s.Lanes, &n.Lanes}, {&s.Idle, &n.Idle}, {&s.Dedicated, &n.Dedicated},
		{&s.Subscribed, &n.Subscribed}, {&s.Closing, &n.Closing}, {&s.Waiting, &n.Waiting}, {&s.RepliesDue, &n.RepliesDue},
	} {
		*p.sum += *p.one
	}
	for _, p := range []struct{ sum, one *uint64 }{
		{&s.Dials, &n.Dials}, {&s.DialFailures, &n.DialFailures}, {&s.Closed, &n.Closed}, {&s.Condemned, &n.Condemned},
		{&s.Leaks, &n.Leaks}, {&s.Waits, &n.Waits}, {&s.WaitsInVain, &n.WaitsInVain}, {&s.Refused, &n.Refused},
	} {
		*p.sum += *p.one
	}
	s.Waited += n.Waited
	s.LongestWait = max(s.LongestWait, n.LongestWait)
	if n.LastDialError != nil {
		s.LastDialError = n.LastDialError
	}
}

// ServiceStats is what is known of a service by its sentinels.
type ServiceStats struct {
	Name    string
	Epoch   uint64 // rises with each new primary; 0 before the first one
	Primary string // the last one, if none is known now
	Known   bool   // whether Primary is believed to be primary
	Changed time.Time
	Cause   string // of the last change
	Err     error  // why no primary is known; nil if one is

	Replicas  []string         // to be used
	LeftOut   []ReplicaLeftOut // not to be used
	Sentinels []SentinelStats
}

// ReplicaLeftOut is a replica that is not used, and why.
type ReplicaLeftOut struct{ Addr, Reason string }

// SentinelStats is what is known of one sentinel.
type SentinelStats struct {
	Addr    string
	ID      string // its own; empty where it is not known yet
	Learnt  bool   // from another sentinel: it is not in SentinelOptions.Addrs
	Sockets int    // the client's, and those of others that share its Sentinel: 2 at most
	State   string // how it was found, in words
	Said    string // what it said last
}

// stats is what the machine believes.
func (f *finder) stats() *ServiceStats {
	st := &ServiceStats{Name: f.c.opt.Service}
	s := f.service.Load()
	if s == nil {
		return st
	}
	v, now := s.View()
	st.Epoch, st.Primary, st.Known, st.Cause, st.Replicas = v.Epoch, v.Primary, v.Known, v.Cause, v.Replicas
	if v.Changed > 0 {
		st.Changed = time.Now().Add(v.Changed - now)
	}
	if v.Err != nil {
		st.Err = v.Err
	}
	for _, l := range v.LeftOut {
		st.LeftOut = append(st.LeftOut, ReplicaLeftOut(l))
	}
	sockets := f.sentinels.links.Sockets()
	for _, p := range v.Sentinels {
		st.Sentinels = append(st.Sentinels, SentinelStats{
			Addr: p.Addr, ID: p.ID, Learnt: !p.Configured, Sockets: sockets[p.Addr], State: p.Finding.String(), Said: p.Said,
		})
	}
	return st
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
	c.nodes.resize(n)
	return nil
}

var (
	errNoArguments = errors.New("respool: empty command: want a name and its arguments")
	errBadName     = errors.New("respool: argument 0 is no string: want the command's name")
)
