package gateway

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/observe"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/lane"
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
	Closed     uint64 // connections that have ended, and those that moved to another process
	Moved      uint64 // clients that moved to another process
	Adopted    uint64 // clients that moved here from another process
	Commands   uint64 // requests received
	Errors     uint64 // malformed requests and wrong passwords
	SlowClosed uint64 // clients closed because they did not read their replies
	BytesIn    uint64 // received from clients
	BytesOut   uint64 // sent to clients
	Buffered   int64  // bytes that wait to be sent, approximately

	Slow uint64 // commands of the slow log, including those that it does not keep any more

	TurnWaiting  int               // clients that wait for their turn
	TurnWaits    uint64            // commands that waited for the turn of their client
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

// addTime adds a duration.
func (w *stopwatch) addTime(d time.Duration) {
	w.count.Add(1)
	w.sum.Add(int64(d))
}

// extend adds a duration to one that add will add.
func (w *stopwatch) extend(d time.Duration) { w.sum.Add(int64(d)) }

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
		Paused:    g.pauses.paused(pauseWrites) != nil,
		Slow:      g.slow.Count(),
		TurnWaits: g.turns.Waits(), TurnWaiting: g.turns.Waiting(),
		LimitWaits: g.count.limitWaits.Load(), LimitRefused: g.count.limitRefused.Load(), Users: g.quotas.Stats(),
		Moved: g.count.moved.Load(), Adopted: g.count.adopted.Load(),
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

// Observed returns what hurts the gateway, with up to n entries of each kind. It is safe for concurrent use.
func (g *Gateway) Observed(n int) observe.Report {
	set := g.settings.Load()
	r := observe.Report{SlowThreshold: max(0, set.SlowThreshold), SlowCount: g.slow.Count(), Slow: g.slow.Newest(n), HotKeys: !set.NoHotKeys, Big: g.big.Top(n)}
	r.Hot, r.HotUses, r.HotSince = g.hot.Top(n)
	return r
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

// observed is a command with a reply that may belong in the slow log. Nil: it does not.
type observed struct {
	entry     observe.SlowEntry
	replied   time.Time
	threshold time.Duration
	admitted  bool // by SlowLog.Admit
}

// notableLocked reports whether a reply to a posted request is slow, or large.
func (c *client) notableLocked(s *pendingReply, size int, b *lane.Batch) bool {
	return size >= observe.LeastBig || s.at != 0 && c.set.SlowThreshold > 0 &&
		b.Now()-s.at+int64(s.waited)*int64(time.Microsecond) >= int64(c.set.SlowThreshold)
}

// noteWait ends the wait of a request that is posted now, in Unix nanoseconds.
func (s *pendingReply) noteWait(now int64) {
	s.addWait(now - s.at)
	s.at = now
}

// addWait adds a time that a request has waited, in nanoseconds.
func (s *pendingReply) addWait(wait int64) {
	s.waited = uint32(min(int64(s.waited)+max(wait, 0)/int64(time.Microsecond), math.MaxUint32))
}

// observeLocked notes the complete reply to a posted request. behind reports that the client may take long to read it.
func (c *client) observeLocked(s *pendingReply, now int64, size int, behind bool) *observed {
	return c.observeTimesLocked(s, time.Duration(s.waited)*time.Microsecond, time.Duration(max(now-s.at, 0)), time.Unix(0, now), size, behind)
}

// observeStepLocked is observeLocked for a step.
func (c *client) observeStepLocked(s *pendingReply, now int64, size int) *observed {
	_, blocked := c.out.Waiting()
	return c.observeLocked(s, now, size, !blocked.IsZero())
}

// observeWorkerLocked notes the complete reply to a request that a worker executed.
func (c *client) observeWorkerLocked(s *pendingReply, w *worker, started, finished time.Time, size int) *observed {
	_, blocked := c.out.Waiting()
	return c.observeTimesLocked(s, time.Duration(s.waited)*time.Microsecond+max(started.Sub(w.queuedAt), 0)+w.waited, finished.Sub(started)-w.waited, finished, size, !blocked.IsZero())
}

func (c *client) observeTimesLocked(s *pendingReply, queue, server time.Duration, replied time.Time, size int, behind bool) *observed {
	waits := false
	if s.step != nil {
		switch waits = s.step.Waits(); s.step.Kind {
		case session.Transaction, session.Pinned, session.Pin, session.Dedicated:
		default:
			return nil
		}
	}
	slow := queue+server >= c.set.SlowThreshold
	log := c.set.SlowThreshold > 0 && s.at != 0 && !waits && (slow || behind) // a blocking command is not slow
	if log && slow && !c.g.slow.Admit(replied.UnixNano()) {
		c.g.slow.Miss()
		log = false
	}
	big := size >= observe.LeastBig && !c.set.NoHotKeys
	if !log && !big {
		return nil
	}
	text, request := c.aboutLocked(s)
	if big {
		c.g.big.Observe(size, text)
	}
	if !log {
		return nil
	}
	return &observed{threshold: c.set.SlowThreshold, admitted: slow, replied: replied, entry: observe.SlowEntry{
		At: replied.Add(-queue - server), Client: c.id, Addr: c.addr, User: c.session.Identity().User, Command: text,
		Queue: queue, Server: server, Request: request, Reply: size,
	}}
}

// aboutLocked returns the description and the size of a request.
func (c *client) aboutLocked(s *pendingReply) (text string, size int) {
	switch raw := c.pending.replay.bytes(s.from, s.to); {
	case s.step == nil:
		return observe.DescribeRaw(raw, 1), len(raw)
	case s.step.about != "":
		return s.step.about, s.step.size
	default:
		return observe.DescribeRaw(raw, commandsOf(&s.step.Step)), len(raw)
	}
}

// commandsOf returns the number of commands in the bytes of a step.
func commandsOf(step *session.Step) int {
	if step.Kind == session.Transaction {
		return step.Replies
	}
	return 1
}

// end logs the command if it is slow: at once, or once the client has taken the reply, if that was sent.
func (o *observed) end(c *client, sent bool) {
	if o == nil {
		return
	}
	log := &c.g.slow
	if !sent {
		o.add(log)
		return
	}
	c.out.Mark(func() {
		o.entry.Write = time.Since(o.replied)
		o.add(log)
	})
}

func (o *observed) add(log *observe.SlowLog) {
	switch {
	case o.entry.Total() < o.threshold:
	case o.admitted || log.Admit(time.Now().UnixNano()):
		log.Add(o.entry)
	default:
		log.Miss()
	}
}

// totalSize returns the bytes of frames.
func totalSize(frames [][]byte) (n int) {
	for _, f := range frames {
		n += len(f)
	}
	return n
}
