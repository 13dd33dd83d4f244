package blocking

import (
	"bytes"
	"errors"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// action is one thing that the owner of a core has to do, in order.
type action struct {
	kind   actionKind
	try    *attempt // send
	w      *Wait    // finish
	result Result   // finish
	key    string   // watch, unwatch, lose
	err    error    // lose
}

type actionKind uint8

const (
	doSend actionKind = iota
	doFinish
	doWatch
	doUnwatch
	doLose // elements could not be returned to key
)

// core is the state of all waits of one node. Its owner sets now before each call, calls pump afterwards, and then
// performs the actions in out.
type core struct {
	now       int64
	out       []action
	commands  commands
	names     map[string]*name
	deadlines deadlines
	parked    map[any]*park
	busy      map[any]*busy // by identity, if ofIdentity limits its attempts
	returns   []*attempt    // elements that wait to be given back

	readyHead, readyTail *queue

	seq         uint64
	waiting     int
	expect      int // waits that the last reply with data has ended, whose callers may wait again
	inFlight    int
	maxWaits    int
	maxInFlight int // attempts
	ofIdentity  int // attempts in flight of an identity; 0: no limit
	grace       int64
	suspended   bool
	closed      bool

	reexecutes func() bool // Config.Reexecutes
	stats      map[string]*Counts
	counted    *command.Info // the command of the last call of counts
	last       *Counts       // its figures
}

func newCore(most, attempts int, grace int64) *core {
	return &core{
		names: make(map[string]*name), parked: make(map[any]*park), busy: make(map[any]*busy), stats: make(map[string]*Counts),
		maxWaits: most, maxInFlight: attempts, grace: grace, reexecutes: func() bool { return false },
	}
}

var (
	errClosed  = errors.New("respool: wait for a key: the client is closed")
	errTooMany = errors.New("respool: wait for a key: max_blocked commands wait already: raise max_blocked, or block in fewer callers")
)

func (c *core) counts(f *Form) *Counts {
	if c.counted == f.info {
		return c.last
	}
	s := c.stats[f.info.Name]
	if s == nil {
		s = &Counts{}
		c.stats[f.info.Name] = s
	}
	c.counted, c.last = f.info, s
	return s
}

// add takes a new wait.
func (c *core) add(w *Wait) error {
	switch {
	case c.closed:
		return errClosed
	case c.waiting >= c.maxWaits:
		return errTooMany
	}
	c.seq++
	c.waiting++
	c.expect = max(0, c.expect-1)
	c.counts(w.form).Waiting++
	w.seq, w.first, w.began = c.seq, true, c.now
	if w.form.timeout > 0 {
		c.deadlines.set(w, c.now+int64(w.form.timeout))
	}
	keys := w.form.Keys()
	if w.links = w.one[:0]; len(keys) > 1 {
		w.links = make([]link, 0, len(keys))
	}
	for i, key := range keys {
		if i > 0 && containsKey(keys[:i], key) {
			continue
		}
		w.links = append(w.links, link{w: w})
		l := &w.links[len(w.links)-1]
		q := c.queueOf(key, w)
		if q.family <= zsets && (q.head == nil || !q.head.w.sameClass(w)) {
			// The first in line tries first, since a change may not be known here yet. If it is of the same class, it
			// takes what the first attempt of w finds.
			q.version++
		}
		q.push(l)
		c.enqueue(q)
	}
	if q := w.links[0].q; q.family != reads {
		q.prune()
		q.firsts = append(q.firsts, w)
	}
	return nil
}

// company reports whether other waits may begin soon that the first attempt of w can serve too.
func (c *core) company(w *Wait) bool {
	return (c.waiting > 1 || c.expect > 0) && w.links[0].q.trying == 0
}

func containsKey(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}

// queueOf returns the queue for one of the wait's keys.
func (c *core) queueOf(key []byte, w *Wait) *queue {
	n := c.names[string(key)]
	if n == nil {
		n = &name{key: string(key)}
		c.names[n.key] = n
	}
	fam := w.form.family()
	for _, q := range n.queues {
		if q.db == w.db && q.family == fam && q.group == string(w.form.group) {
			return q
		}
	}
	q := &queue{name: n, group: string(w.form.group), db: w.db, family: fam, version: 1, window: 1}
	n.queues = append(n.queues, q)
	return q
}

// drop forgets q if nothing needs it.
func (c *core) drop(q *queue) {
	if q.n > 0 || q.trying > 0 {
		return
	}
	n := q.name
	for i, other := range n.queues {
		if other == q {
			n.queues = append(n.queues[:i], n.queues[i+1:]...)
			break
		}
	}
	if len(n.queues) == 0 && c.names[n.key] == n {
		delete(c.names, n.key)
		if n.watched {
			c.out = append(c.out, action{kind: doUnwatch, key: n.key})
		}
	}
}

// enqueue marks q for evaluation.
func (c *core) enqueue(q *queue) {
	for _, d := range q.dependents {
		c.enqueueOne(d)
	}
	q.dependents = q.dependents[:0]
	c.enqueueOne(q)
}

func (c *core) enqueueOne(q *queue) {
	if q.ready {
		return
	}
	q.ready = true
	if c.readyTail == nil {
		c.readyHead = q
	} else {
		c.readyTail.nextReady = q
	}
	c.readyTail = q
}

// pump starts attempts until there is nothing to try or the limit is reached.
func (c *core) pump() {
	if c.suspended {
		return
	}
	c.retryReturns()
	for c.inFlight < c.maxInFlight && c.readyHead != nil {
		q := c.readyHead
		c.readyHead = q.nextReady
		if c.readyHead == nil {
			c.readyTail = nil
		}
		q.nextReady, q.ready = nil, false
		c.evaluate(q)
	}
}

// changed handles a possible change of a key.
func (c *core) changed(key string) {
	if n := c.names[key]; n != nil {
		c.changedName(n)
	}
}

func (c *core) changedName(n *name) {
	for _, q := range n.queues {
		q.version++
		c.enqueue(q)
	}
}

// changedAll handles a possible change of every key.
func (c *core) changedAll() {
	for _, n := range c.names {
		c.changedName(n)
	}
}

// resume continues after suspend, perhaps on another server. rewatch watches all keys again.
func (c *core) resume(rewatch bool) {
	c.suspended = false
	c.commands = commands{}
	clear(c.parked)
	for _, n := range c.names {
		if rewatch && n.watched {
			c.out = append(c.out, action{kind: doWatch, key: n.key})
		}
		c.changedName(n)
	}
}

// depart ends a wait with r, or if an attempt in flight may find data for it, after that attempt. gone means that
// nobody is left to receive data.
func (c *core) depart(w *Wait, r Result, why reason, gone bool) bool {
	if w.finished || w.leaving && !gone && (!w.late || why == timeoutReason) {
		return false
	}
	if why == timeoutReason && w.first {
		// A command that the server has not seen looks for data at least once, and does not report that there is none.
		w.leaving, w.late, w.leave, w.reason = true, true, &r, why
		return true
	}
	w.late = false
	if !gone && w.try != nil && w.try.purpose == fetch && w.form.kind != read {
		w.leaving, w.leave, w.reason = true, &r, why
		c.deadlines.set(w, c.now+c.grace)
		return true
	}
	w.reason = why
	c.finish(w, r)
	return true
}

// refuse ends the waits for a key that cannot be watched.
func (c *core) refuse(key string) {
	n := c.names[key]
	if n == nil {
		return
	}
	n.watched = false
	for _, q := range slices.Clone(n.queues) {
		for l := q.head; l != nil; {
			w := l.w
			l = l.next
			c.depart(w, Result{Err: ErrDedicated}, failedReason, false)
		}
	}
}

// expire ends the waits whose deadlines have passed, and ends delays.
func (c *core) expire() {
	for {
		w := c.deadlines.due(c.now)
		if w == nil {
			break
		}
		c.deadlines.remove(w)
		if w.leaving {
			c.finish(w, *w.leave)
			continue
		}
		c.depart(w, Result{Reply: timedOut(w.resp3)}, timeoutReason, false)
	}
	for _, p := range c.parked {
		if p.until <= c.now {
			for _, q := range p.stalled {
				c.enqueue(q)
			}
			p.stalled = nil
		}
	}
}

// next returns when expire has to be called; 0: not at all.
func (c *core) next() int64 {
	at := c.deadlines.next()
	for _, p := range c.parked {
		if p.until > c.now && (len(p.stalled) > 0 || len(c.returns) > 0) && (at == 0 || p.until < at) {
			at = p.until
		}
	}
	return at
}

// finish ends a wait and removes it from everything, except from an attempt in flight.
func (c *core) finish(w *Wait, r Result) {
	if w.finished {
		return
	}
	if r.Err == ErrDedicated {
		r.Err = &dedicatedError{w.form}
	}
	w.finished = true
	c.waiting--
	c.deadlines.remove(w)
	s := c.counts(w.form)
	s.ended(w.reason, c.now-w.began)
	for i := range w.links {
		l := &w.links[i]
		q := l.q
		q.remove(l)
		c.enqueue(q)
		c.drop(q)
	}
	w.links = nil
	c.out = append(c.out, action{kind: doFinish, w: w, result: r})
}

// settle records that the server has replied to the first attempt of a wait that continues.
func (c *core) settle(w *Wait) {
	if !w.first || w.finished {
		return
	}
	w.first = false
	if w.late {
		if w.try == nil {
			c.finish(w, *w.leave)
		}
		return
	}
	for i := range w.links {
		if n := w.links[i].q.name; !n.watched {
			n.watched = true
			c.out = append(c.out, action{kind: doWatch, key: n.key})
		}
	}
}

// close ends all waits. Those with an attempt in flight end after it.
func (c *core) close() {
	c.closed = true
	for _, w := range c.all() {
		c.depart(w, Result{Err: errClosed}, cancelReason, false)
		c.deadlines.remove(w) // an attempt in flight ends it, or cut
	}
}

// cut ends what close left.
func (c *core) cut() {
	for _, w := range c.all() {
		w.reason = cancelReason
		c.finish(w, Result{Err: errClosed})
	}
	for _, t := range c.returns {
		c.lose(t, errClosed)
	}
	c.returns = nil
}

// all returns every wait.
func (c *core) all() (waits []*Wait) {
	for _, n := range c.names {
		for _, q := range n.queues {
			for l := q.head; l != nil; l = l.next {
				if l == &l.w.links[0] {
					waits = append(waits, l.w)
				}
			}
		}
	}
	return waits
}
