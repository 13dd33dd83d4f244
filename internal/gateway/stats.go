package gateway

import (
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
)

// Stats is a snapshot of the state and the counters of a gateway.
type Stats struct {
	Clients    int            // client connections
	Blocked    int            // clients with a pending blocking command
	Subscribed int            // clients with subscriptions
	Pinned     int            // clients with a dedicated connection, apart from blocking commands
	PinnedBy   map[string]int // dedicated connections by reason
	Paused     bool           // a pause holds back commands

	Accepted   uint64 // accepted connections
	Refused    uint64 // connections refused because of a limit
	Closed     uint64 // connections that have ended
	Commands   uint64 // requests received
	Errors     uint64 // malformed requests and wrong passwords
	SlowClosed uint64 // clients closed because they did not read their replies
	BytesIn    uint64 // received from clients
	BytesOut   uint64 // sent to clients
	Buffered   int64  // bytes that wait to be sent, approximately

	LimitWaits   uint64            // commands that waited because of a rate
	LimitRefused uint64            // commands refused because of a rate, after LimitWait
	Users        []quota.UserStats // users with limits, by name

	Queue  Latency // time before a command was sent: of all commands that waited, and a sample of the others
	Server Latency // time from the sending to the reply, of a sample
}

// tally is what the commands of one loop's clients change, apart from the clients. Each loop has its own cache lines.
type tally struct {
	buffered      atomic.Int64 // bytes that wait to be sent, approximately
	queue, server stopwatch
	_             [cacheLine]byte
}

// tally returns the tally of a client's loop.
func (c *client) tally() *tally { return &c.g.tallies[c.loop] }

// sumTallies adds the tallies of all loops.
func (g *Gateway) sumTallies(s *Stats) {
	for i := range g.tallies {
		t := &g.tallies[i]
		s.Buffered += t.buffered.Load()
		s.Queue.add(t.queue.latency())
		s.Server.add(t.server.latency())
	}
}

// stopwatch sums durations.
type stopwatch struct{ count, sum atomic.Int64 }

// add adds the time since start, in Unix nanoseconds. It ignores a start of 0.
func (w *stopwatch) add(start int64) {
	if start == 0 {
		return
	}
	w.count.Add(1)
	w.sum.Add(time.Now().UnixNano() - start)
}

// addZero adds a duration of zero.
func (w *stopwatch) addZero() { w.count.Add(1) }

func (w *stopwatch) latency() Latency {
	return Latency{Count: uint64(w.count.Load()), Sum: time.Duration(w.sum.Load())}
}

// Latency is the number and the sum of durations.
type Latency struct {
	Count uint64
	Sum   time.Duration
}

// add adds other durations.
func (l *Latency) add(o Latency) {
	l.Count += o.Count
	l.Sum += o.Sum
}

// mean returns the mean duration, or "none".
func (l Latency) mean() string {
	if l.Count == 0 {
		return "none"
	}
	return (l.Sum / time.Duration(l.Count)).Round(time.Microsecond).String()
}

// MaxClients returns the current limit of client connections.
func (g *Gateway) MaxClients() int { return g.settings.Load().MaxClients }

// Stats returns a snapshot. It visits every client.
func (g *Gateway) Stats() Stats {
	s := Stats{
		PinnedBy: map[string]int{}, Accepted: g.count.accepted.Load(), Refused: g.count.refused.Load(),
		Errors: g.count.malformed.Load() + g.count.denied.Load(), SlowClosed: g.count.slow.Load(),
		Paused:     g.pauses.paused(pauseWrites) != nil,
		LimitWaits: g.count.limitWaits.Load(), LimitRefused: g.count.limitRefused.Load(), Users: g.quotas.Stats(),
	}
	g.sumTallies(&s)
	g.mu.Lock()
	s.Closed, s.Commands, s.BytesIn, s.BytesOut = g.past.closed, g.past.commands, g.past.bytesIn, g.past.bytesOut
	all := g.listLocked() // each client is either here or in g.past
	g.mu.Unlock()
	for _, c := range all {
		c.count(&s)
	}
	return s
}

// count adds the client's state and counters.
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
	if c.blockedLocked() {
		s.Blocked++
	}
	c.dedicated.count(s, c.session)
}

// countLocked adds the client's counters. They are final once the client has left.
func (c *client) countLocked(s *Stats) {
	s.Commands += c.in.commands
	s.BytesIn += c.in.bytes
	s.BytesOut += c.out.Sent()
}
