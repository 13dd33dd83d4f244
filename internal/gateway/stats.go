package gateway

import (
	"sync/atomic"
	"time"
)

// Stats is the state of a gateway at one moment, and what it counted.
type Stats struct {
	Clients    int            // connections of clients
	Blocked    int            // clients with a blocking command under way
	Subscribed int            // clients with subscriptions
	Pinned     int            // clients that hold a connection of their own
	PinnedBy   map[string]int // the same by reason

	Accepted   uint64 // connections let in
	Refused    uint64 // connections refused for a limit
	Closed     uint64 // connections that have ended
	Commands   uint64 // requests taken
	Errors     uint64 // malformed requests and wrong passwords
	SlowClosed uint64 // clients closed because they took nothing
	BytesIn    uint64 // from clients
	BytesOut   uint64 // sent to clients
	Buffered   int64  // bytes that wait to be sent, about

	Queue  Latency // of commands before they were sent: of all that had to wait, and a sample of others
	Server Latency // from there to the reply, of a sample
}

// stopwatch adds up times.
type stopwatch struct{ count, sum atomic.Int64 }

// add takes a time that began then, in unix nanoseconds; 0 is none.
func (w *stopwatch) add(began int64) {
	if began == 0 {
		return
	}
	w.count.Add(1)
	w.sum.Add(time.Now().UnixNano() - began)
}

// none counts one that took no time.
func (w *stopwatch) none() { w.count.Add(1) }

func (w *stopwatch) latency() Latency {
	return Latency{Count: uint64(w.count.Load()), Sum: time.Duration(w.sum.Load())}
}

// Latency is a sum of times.
type Latency struct {
	Count uint64
	Sum   time.Duration
}

// mean is none as long as nothing was timed.
func (l Latency) mean() string {
	if l.Count == 0 {
		return "none"
	}
	return (l.Sum / time.Duration(l.Count)).Round(time.Microsecond).String()
}

// Stats takes a snapshot. It looks at every client.
func (g *Gateway) Stats() Stats {
	s := Stats{
		PinnedBy: map[string]int{}, Accepted: g.count.accepted.Load(), Refused: g.count.refused.Load(),
		Errors: g.count.malformed.Load() + g.count.denied.Load(), SlowClosed: g.count.slow.Load(), Buffered: g.buffered.Load(),
		Queue: g.count.queue.latency(), Server: g.count.server.latency(),
	}
	g.mu.Lock()
	s.Closed, s.Commands, s.BytesIn, s.BytesOut = g.past.closed, g.past.commands, g.past.bytesIn, g.past.bytesOut
	all := g.listLocked() // each client is here or in the past
	g.mu.Unlock()
	for _, c := range all {
		c.count(&s)
	}
	return s
}

// count adds what a client has and did.
func (c *client) count(s *Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.countLocked(s)
	if c.gone {
		return
	}
	s.Clients++
	if c.session.Type() == "pubsub" {
		s.Subscribed++
	}
	c.dedicated.count(s, c.session)
}

// countLocked adds what the client has counted, which rises no more once it is gone.
func (c *client) countLocked(s *Stats) {
	s.Commands += c.in.commands
	s.BytesIn += c.in.bytes
	s.BytesOut += c.out.Sent()
}
