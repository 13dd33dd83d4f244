package keywatch

import (
	"time"

	"github.com/seed-2b0d76a6/respool/internal/fifo"
)

// state is what the server knows of a key.
type state uint8

const (
	queued  state = iota // in the queue: EXISTS must be sent
	asked                // EXISTS is in flight
	tracked              // the server pushes the next change
	away                 // this node does not serve it: EXISTS must be sent again at core.awayUntil
)

// key is a watched key. It is in core.keys as long as it has watches.
type key struct {
	fifo.Links[key] // of a slot of the wheel

	name    string
	watches fifo.List[Watch, *Watch]
	noted   uint32 // tick of the wheel at the last notification
	slot    uint8  // of the wheel
	state   state
	again   bool // a push arrived while EXISTS was in flight: it may concern a change after it
	pushed  bool // it was tracked and pushed, and no reply to EXISTS has arrived since
	alone   bool // the server refused an EXISTS of several keys: send one for this key
}

func (k *key) gone() bool { return k.watches.Len() == 0 }

// note is a call that the driver must make: of a watch's subscriber, or without a watch of Config.OnRefusal.
type note struct {
	watch   *Watch
	err     error
	refusal *RefusedError
}

// core decides what to send and whom to notify. It has no clock, no lock and no I/O: the driver passes frames, times
// and changes of the connection, posts what next returns, and makes the calls in notes. Times count from any origin and
// do not decrease.
type core struct {
	keys      map[string]*key
	most      int // the most keys since the map was made
	watches   int
	wheel     wheel
	queue     queue[*key] // keys of state queued, in order, and gone ones
	stale     int         // gone keys in queue
	moves     bool        // Config.Moves
	away      []*key      // of state away, and gone ones
	awayUntil time.Duration
	notes     []note
	spare     []note // a buffer for notes

	// The connection.
	open     bool // there is one
	started  bool // CLIENT TRACKING ON was sent
	on       bool // and accepted
	ending   bool // CLIENT TRACKING OFF was sent
	clean    bool // and accepted: the connection may be released
	single   bool // the server refuses several keys in one EXISTS whatever they are
	flight   queue[*request]
	unused   []*request // for next
	pace     pace
	pauses   int           // consecutive transient refusals
	resumeAt time.Duration // nothing is sent before

	refusal    *RefusedError // why tracking is impossible
	retryAfter time.Duration
	retryAt    time.Duration // when the server may be asked again
	reported   bool          // a refusal was reported, and no success since
	idleSince  time.Duration // when the last key was removed

	exists, invalidations, notifications, lastResort uint64

	random func(time.Duration) time.Duration // in [0, n)
}

// shrinkFrom is the number of keys from which an empty map is replaced, because maps do not shrink.
const shrinkFrom = 1024

func (c *core) init(lastResort, retryAfter time.Duration, random func(time.Duration) time.Duration) {
	c.keys = map[string]*key{}
	c.retryAfter, c.random = retryAfter, random
	c.wheel.init(lastResort, random)
}

// watch adds a watch of a key. The error is that of a refusal whose time is not over.
func (c *core) watch(now time.Duration, x *Watch, name string) error {
	if c.refusal != nil {
		if now < c.retryAt {
			return c.refusal
		}
		c.refusal = nil
	}
	k := c.keys[name]
	if k == nil {
		if len(c.keys) == 0 {
			c.wheel.restart(now)
		}
		k = &key{name: name}
		c.keys[name] = k
		c.most = max(c.most, len(c.keys))
		c.wheel.add(now, k)
		c.enqueue(k)
	} else if k.state == tracked {
		// The subscriber may have looked at the key before a change whose push has arrived already.
		x.noted = true
		c.notes = append(c.notes, note{watch: x})
	}
	x.key = k
	k.watches.Push(x)
	c.watches++
	return nil
}

// stop removes a watch. The key of the last one is forgotten; a later push of it is ignored.
func (c *core) stop(x *Watch) {
	k := x.key
	if !k.watches.Remove(x) {
		return
	}
	c.watches--
	if k.watches.Len() > 0 {
		return
	}
	c.wheel.remove(k)
	delete(c.keys, k.name)
	if len(c.keys) == 0 && c.most >= shrinkFrom {
		c.keys, c.most = map[string]*key{}, 0
	}
	if k.state == queued {
		c.stale++
		c.compact()
	}
}

// enqueue marks a key for an EXISTS.
func (c *core) enqueue(k *key) {
	k.state, k.again = queued, false
	c.queue.push(k)
}

// compact removes gone keys from the queue if they are the larger part.
func (c *core) compact() {
	const few = 64
	if c.stale > few+c.queue.len()/2 {
		c.queue.keep(func(k *key) bool { return !k.gone() })
		c.stale = 0
	}
}

// connect records a new connection. next then returns CLIENT TRACKING ON.
func (c *core) connect() { c.open = true }

// disconnect records the end of the connection. All keys must be tracked again.
func (c *core) disconnect() {
	c.open, c.started, c.on, c.ending, c.clean, c.single = false, false, false, false, false, false
	c.flight.clear()
	c.pauses, c.resumeAt = 0, 0
	c.queue.clear()
	c.stale, c.away = 0, nil
	for _, k := range c.keys {
		k.alone, k.pushed = false, false
		c.enqueue(k)
	}
}

// end asks for CLIENT TRACKING OFF, unless something is in flight or watched.
func (c *core) end() {
	if len(c.keys) == 0 && c.flight.len() == 0 && c.open {
		c.ending = true
	}
}

// changed records a push for a key.
func (c *core) changed(name []byte) {
	k := c.keys[string(name)]
	if k == nil {
		return
	}
	c.invalidations++
	k.pushed = k.state == tracked
	if k.pushed && c.flight.len() == 0 {
		c.notify(k, k.noted) // early: the connection is not busy, so this costs nobody time
	}
	c.untrack(k)
}

// allChanged records a push for all keys.
func (c *core) allChanged() {
	c.invalidations++
	for _, k := range c.keys {
		c.untrack(k)
	}
}

func (c *core) untrack(k *key) {
	switch k.state {
	case tracked:
		c.enqueue(k)
	case asked:
		// The push may belong to an earlier tracking, or follow a change after the EXISTS in flight, whose reply a proxy
		// has delayed. In the first case one EXISTS is wasted.
		k.again = true
	}
}

// notify queues a notification for all watches of a key.
func (c *core) notify(k *key, tick uint32) {
	k.noted = tick
	for x := k.watches.First(); x != nil; x = x.Next() {
		if !x.noted {
			x.noted = true
			c.notes = append(c.notes, note{watch: x})
		}
	}
}

// endKey ends all watches of a key.
func (c *core) endKey(k *key, err error) {
	for x := k.watches.First(); x != nil; x = k.watches.First() {
		c.stop(x)
		c.notes = append(c.notes, note{watch: x, err: err})
	}
}

// endAll ends all watches.
func (c *core) endAll(err error) {
	for _, k := range c.keys {
		c.endKey(k, err)
	}
	c.queue.clear()
	c.stale, c.away = 0, nil
}

// tick notifies about the keys whose time has come in the wheel, and queues those that were away.
func (c *core) tick(now time.Duration) {
	if len(c.away) > 0 && now >= c.awayUntil {
		c.retry(c.away)
		c.away = nil
	}
	c.wheel.advance(now, func(k *key) {
		c.lastResort += uint64(k.watches.Len())
		c.notify(k, c.wheel.tick(now))
	})
}

// wakeAt returns the time of the next tick, or of the end of a pause.
func (c *core) wakeAt() (at time.Duration, ok bool) {
	at, ok = c.wheel.next()
	if len(c.away) > 0 && (!ok || c.awayUntil < at) {
		at, ok = c.awayUntil, true
	}
	if c.open && c.resumeAt > 0 && (!ok || c.resumeAt < at) {
		return c.resumeAt, true
	}
	return at, ok
}

// takeNotes returns the notes and keeps none. returnNotes takes their buffer back.
func (c *core) takeNotes() []note {
	notes := c.notes
	c.notes, c.spare = c.spare, nil
	return notes
}

// mostSpare is the number of notes in the largest buffer that is kept.
const mostSpare = 4096

func (c *core) returnNotes(notes []note) {
	if cap(notes) <= mostSpare {
		clear(notes)
		c.spare = notes[:0]
	}
}
