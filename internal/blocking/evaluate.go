package blocking

import (
	"bytes"
	"slices"
)

// evaluate starts the attempts that q needs now.
func (c *core) evaluate(q *queue) {
	if q.family == reads {
		c.evaluateReads(q)
		return
	}
	for c.inFlight < c.maxInFlight {
		w := c.nextOn(q)
		if w == nil || !c.mayTry(w, q) {
			return
		}
		c.fetch(w, q)
	}
	c.enqueueOne(q)
}

// nextOn returns the wait that an attempt on q has to serve next, or nil.
func (c *core) nextOn(q *queue) *Wait {
	if q.full() {
		return nil
	}
	if !q.dirty() {
		return c.nextFirst(q)
	}
	for l := q.head; l != nil; l = l.next {
		w := l.w
		switch {
		case w.try != nil && q.trying > 0 && w.try.locks(q):
		case w.try != nil:
			return nil // its attempt on another key decides
		case c.isParked(w, q):
		case !q.room(w, q.window), c.isBusy(w, q):
			return nil
		default:
			return w
		}
	}
	return nil
}

// nextFirst returns the first wait on a clean queue that needs an attempt of its own, to find out whether the server
// refuses it.
func (c *core) nextFirst(q *queue) *Wait {
	q.prune()
	for _, w := range q.firsts {
		if w.finished || !w.first || w.try != nil || c.isParked(w, q) {
			continue
		}
		if !q.room(w, maxWindow) || c.isBusy(w, q) {
			return nil
		}
		return w
	}
	return nil
}

// prune removes the waits from firsts whose first attempt has ended.
func (q *queue) prune() {
	if len(q.firsts) > 2*int(q.n)+8 {
		q.firsts = slices.DeleteFunc(q.firsts, func(w *Wait) bool { return w.finished || !w.first })
	}
	for len(q.firsts) > 0 && (q.firsts[0].finished || !q.firsts[0].first) {
		q.firsts[0] = nil
		q.firsts = q.firsts[1:]
	}
	if len(q.firsts) == 0 {
		q.firsts = nil
	}
}

// locks reports whether t is in flight on q.
func (t *attempt) locks(q *queue) bool {
	for _, locked := range t.queues {
		if locked == q {
			return true
		}
	}
	return false
}

// full reports whether q has room for no attempt at all, without a look at its waits.
func (q *queue) full() bool {
	return q.trying > 0 && q.family <= zsets && (q.lead == nil || q.lead.form.takes())
}

// room reports whether q allows an attempt for w beside those in flight. Several are allowed only if their order does
// not decide who gets what: consumers of one group, and waits of one class, which take each other's replies.
func (q *queue) room(w *Wait, window int32) bool {
	if q.trying == 0 {
		return true
	}
	if q.trying >= window || q.lead == nil {
		return false
	}
	return q.family == groups || !w.form.takes() && w.sameClass(q.lead)
}

// mayTry reports whether the other keys of w allow an attempt too. If they do not, q is evaluated again when they
// change.
func (c *core) mayTry(w *Wait, q *queue) bool {
	for i := range w.links {
		d := w.links[i].q
		if d == q || !c.covers(w, d) {
			continue
		}
		window := d.window
		if w.first {
			window = maxWindow
		}
		if d.room(w, window) && (!d.dirty() || c.nextOn(d) == w) {
			continue
		}
		for _, known := range d.dependents {
			if known == q {
				return false
			}
		}
		d.dependents = append(d.dependents, q)
		return false
	}
	return true
}

// isParked reports whether attempts of the identity of w are delayed. q is evaluated again afterwards.
func (c *core) isParked(w *Wait, q *queue) bool {
	if len(c.parked) == 0 {
		return false
	}
	p := c.parked[w.identity]
	if p == nil || p.until <= c.now {
		return false
	}
	if n := len(p.stalled); q != nil && (n == 0 || p.stalled[n-1] != q) {
		p.stalled = append(p.stalled, q)
	}
	return true
}

// covers reports whether an attempt for w that starts now covers the key of q. A key without a change has no data, but its
// type may decide.
func (c *core) covers(w *Wait, q *queue) bool {
	return w.first || q.dirty() || q.wrong && c.seesTypes(w.form)
}

// fetch starts an attempt for w and for the waits of its class directly behind it.
func (c *core) fetch(w *Wait, q *queue) {
	t := &attempt{lead: w, n: 1, seq: c.seq, first: w.first}
	t.queues = t.oneQueue[:0]
	for i := range w.links {
		if d := w.links[i].q; c.covers(w, d) {
			t.queues = append(t.queues, d)
		}
	}
	t.keys = keysOf(w, t.queues)
	t.stepwise = len(t.keys) > 1 && w.form.takes() && !c.commands.batches(w.form)
	if !w.first && slices.ContainsFunc(t.queues, (*queue).isWrong) && c.seesTypes(w.form) {
		t.purpose, t.stepwise = probe, true // this takes no data from keys where others may be first in line
	}
	t.waits = append(t.oneWait[:0], w)
	if most := c.commands.most(w.form); most > 1 {
		c.extend(t, most)
	}
	for _, v := range t.waits {
		v.try = t
	}
	c.lock(t)
	c.send(t)
}

// extend adds the waits that follow the lead on all keys of the attempt.
func (c *core) extend(t *attempt, most int) {
	n := most
	for _, q := range t.queues {
		run := 1
		for l := t.lead.linkTo(q).next; l != nil && run < n; l = l.next {
			if l.w.try != nil || !l.w.sameClass(t.lead) {
				break
			}
			run++
		}
		n = run
	}
	if n > 1 {
		t.waits = append(make([]*Wait, 0, n), t.waits...)
	}
	for l := t.lead.linkTo(t.queues[0]).next; l != nil && len(t.waits) < n; l = l.next {
		t.waits = append(t.waits, l.w)
	}
	t.n = n
}

// keysOf returns the keys of w that have the given queues.
func keysOf(w *Wait, queues []*queue) [][]byte {
	all := w.form.Keys()
	if len(all) == 1 {
		return all
	}
	keys := make([][]byte, 0, len(queues))
	for _, q := range queues {
		for _, key := range all {
			if string(key) == q.name.key {
				keys = append(keys, key)
				break
			}
		}
	}
	return keys
}

// lock counts t on its queues and notes their versions.
func (c *core) lock(t *attempt) {
	t.locked = true
	if t.versions = t.oneVersion[:]; len(t.queues) != 1 {
		t.versions = make([]uint64, len(t.queues))
	}
	for i, q := range t.queues {
		t.versions[i] = q.version
		q.trying++
		q.lead = t.lead
	}
}

// send sends the command of t.
func (c *core) send(t *attempt) {
	switch t.purpose {
	case fetch:
		keys := t.keys
		if t.stepwise {
			keys = t.keys[t.step : t.step+1]
		}
		t.args = c.commands.take(t.lead.form, keys, t.n)
		c.counts(t.lead.form).Tries++
	case resolve:
		t.args = lastEntry(t.key)
	case probe:
		t.args = length(t.lead.form, t.keys[t.step])
	}
	if t.stepwise && t.locked {
		t.versions[t.step] = t.queues[t.step].version
	}
	t.out = Attempt{Identity: t.lead.identity, DB: int(t.lead.db), Args: t.args, Return: t.purpose == giveBackIt, try: t}
	c.began(t)
	c.out = append(c.out, action{kind: doSend, try: t})
}

// current returns the keys that the command in flight covers.
func (t *attempt) current() [][]byte {
	if t.stepwise {
		return t.keys[t.step : t.step+1]
	}
	return t.keys
}

// evaluateReads starts an attempt for each class of XREAD waits on q that may have data.
func (c *core) evaluateReads(q *queue) {
	var started map[string]*attempt
	for l := q.head; l != nil; l = l.next {
		w := l.w
		if w.try != nil || !w.due() || c.isParked(w, q) {
			continue
		}
		if c.isBusy(w, q) {
			return
		}
		if at, key, ok := w.form.unresolved(); ok {
			if c.inFlight >= c.maxInFlight {
				c.enqueueOne(q)
				return
			}
			c.resolve(w, at, key)
			continue
		}
		var class string
		if q.n > 1 {
			class = string(bytes.Join(w.form.args, []byte{0}))
		}
		if t := started[class]; t != nil && len(t.waits) < maxRun && t.lead.sameClass(w) {
			t.waits = append(t.waits, w)
			w.try = t
			w.see()
			continue
		}
		if c.inFlight >= c.maxInFlight {
			c.enqueueOne(q)
			return
		}
		t := c.fetchReads(w)
		if q.n > 1 {
			if started == nil {
				started = make(map[string]*attempt)
			}
			started[class] = t
		}
	}
}

// due reports whether one of the streams of w may have changed since its last attempt.
func (w *Wait) due() bool {
	if w.first {
		return true
	}
	for i := range w.links {
		if w.links[i].seen < w.links[i].q.version {
			return true
		}
	}
	return false
}

// see notes that an attempt that starts now sees all changes.
func (w *Wait) see() {
	for i := range w.links {
		w.links[i].seen = w.links[i].q.version
	}
}

func (c *core) fetchReads(w *Wait) *attempt {
	t := &attempt{lead: w, waits: []*Wait{w}, keys: w.form.Keys(), n: 1, seq: c.seq, first: w.first}
	w.try = t
	w.see()
	c.send(t)
	return t
}

// resolve starts to replace the first ID $ of w.
func (c *core) resolve(w *Wait, at int, key []byte) {
	t := &attempt{purpose: resolve, lead: w, waits: []*Wait{w}, key: key, idAt: at}
	w.try = t
	c.send(t)
}
