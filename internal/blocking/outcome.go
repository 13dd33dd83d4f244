package blocking

import (
	"bytes"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// replied handles the end of an attempt.
func (c *core) replied(t *attempt, o Outcome) {
	waited := c.waiting
	defer func() {
		if ended := waited - c.waiting; ended > 0 {
			c.expect = ended
		}
	}()
	c.ended(t)
	if o.Err != nil {
		c.failed(t, o)
		return
	}
	c.unpark(t.lead.identity)
	refusal := resp.ErrorIn(o.Reply)
	switch t.purpose {
	case resolve:
		c.resolved(t, o.Reply, refusal)
	case probe:
		c.probed(t, o.Reply, refusal)
	case giveBackIt:
		c.givenBack(t, refusal)
	default:
		if refusal != nil {
			c.refused(t, refusal, o.Reply)
			return
		}
		c.fetched(t, o.Reply)
	}
}

// end releases the queues and the waits of an attempt.
func (c *core) end(t *attempt) {
	for _, w := range t.waits {
		if w.try == t {
			w.try = nil
		}
		if w.leaving && !(w.late && w.first) {
			c.finish(w, *w.leave)
		}
		if w.finished {
			continue
		}
		for i := range w.links {
			c.enqueue(w.links[i].q)
		}
	}
	c.unlock(t)
}

func (c *core) unlock(t *attempt) {
	if !t.locked {
		return
	}
	t.locked = false
	for _, q := range t.queues {
		if q.trying--; q.trying == 0 {
			q.lead = nil
		}
		c.enqueue(q)
		c.drop(q)
	}
}

// fetched handles a reply that is no error.
func (c *core) fetched(t *attempt, reply []byte) {
	f := t.lead.form
	keys := t.current()
	d, err := f.parse(reply, keys, t.n)
	if err == nil && !d.none && f.takes() && !containsKey(keys, d.key) {
		err = malformed(f, "one of its keys")
	}
	switch {
	case err != nil:
		c.counts(f).Lost++
		c.finishAll(t, Result{Err: err}, failedReason)
	case d.none:
		t.rightTypes(len(keys))
		c.foundNothing(t)
		return
	case f.takes():
		c.deliver(t, d)
	case t.saved != nil && !t.confirms:
		t.stepwise, t.confirms = false, true
		c.send(t)
		return
	case f.kind == read:
		c.share(t, d.whole)
	default:
		c.handOver(t, d.whole)
	}
	c.end(t)
}

// foundNothing handles a reply without data. The attempt continues with its next key, or ends.
func (c *core) foundNothing(t *attempt) {
	if !t.first {
		c.counts(t.lead.form).Spurious++
	}
	c.markClean(t, len(t.keys))
	if t.stepwise && t.step+1 < len(t.keys) && !c.suspended && c.wanted(t) {
		t.step++
		c.send(t)
		return
	}
	c.settleAll(t)
	c.end(t)
}

// wanted reports whether a wait of t still waits.
func (c *core) wanted(t *attempt) bool {
	for _, w := range t.waits {
		if !w.finished && (!w.leaving || w.late) {
			return true
		}
	}
	return false
}

// markClean notes that the first n keys of the command in flight have no data, as of the start of the attempt.
func (c *core) markClean(t *attempt, n int) {
	first, count := 0, min(n, len(t.queues))
	if t.stepwise {
		first, count = t.step, min(count, 1)
	}
	for i := first; i < first+count && i < len(t.queues); i++ {
		q := t.queues[i]
		q.clean = max(q.clean, t.versions[i])
		q.window = 1
	}
}

// rightTypes notes that the first n keys of the command in flight do not have another type.
func (t *attempt) rightTypes(n int) {
	for i := t.step; i < t.step+n && i < len(t.queues); i++ {
		t.queues[i].wrong = false
	}
}

// settleAll notes that the waits of t, and those of their class that came before it, know that the server accepts
// their command.
func (c *core) settleAll(t *attempt) {
	for _, w := range t.waits {
		c.settle(w)
	}
	if len(t.queues) == 0 || len(t.lead.links) == 0 {
		return
	}
	for _, w := range t.lead.links[0].q.firsts {
		if w.seq <= t.seq && w.first && !w.finished && w.sameClass(t.lead) {
			c.settle(w)
		}
	}
}

// finishAll ends all waits of t.
func (c *core) finishAll(t *attempt, r Result, why reason) {
	for i, w := range t.waits {
		if w.finished {
			continue
		}
		w.reason = why
		if i > 0 {
			r.Reply = bytes.Clone(r.Reply)
		}
		c.finish(w, r)
	}
}

// share gives the entries of a stream to all XREAD waits of t.
func (c *core) share(t *attempt, reply []byte) { c.finishAll(t, Result{Reply: reply}, servedReason) }

// handOver gives a reply that serves one wait to the first of the class: an element that has moved, or the entries of
// a consumer. If nobody is left, they stay where they are.
func (c *core) handOver(t *attempt, reply []byte) {
	q := t.queues[0]
	f := t.lead.form
	q.window = min(2*q.window, maxWindow)
	if f.kind == groupRead && !f.counts() {
		c.markClean(t, len(t.queues))
	}
	if w := t.lead; f.kind == groupRead && !w.finished {
		c.serve(w, reply)
		return
	}
	lead := t.lead
	for l := q.head; l != nil; l = l.next {
		if w := l.w; w.sameClass(lead) {
			c.exchange(t, w)
			c.serve(w, reply)
			c.settle(lead)
			return
		}
	}
	c.counts(f).Dropped++
}

// exchange makes t the attempt of w. The wait that had t gets the attempt of w, if there is one: it has to wait for that
// reply, even if it leaves.
func (c *core) exchange(t *attempt, w *Wait) {
	lead, other := t.lead, w.try
	if w == lead || other == nil || lead.finished || len(t.waits) > 1 || len(other.waits) > 1 {
		return
	}
	other.lead, other.waits[0], lead.try = lead, lead, other
	t.lead, t.waits[0], w.try = w, w, t
}

func (c *core) serve(w *Wait, reply []byte) {
	w.reason = servedReason
	c.finish(w, Result{Reply: reply})
}

// deliver distributes elements to the waits in line. What nobody can take goes back to the server.
func (c *core) deliver(t *attempt, d found) {
	f := t.lead.form
	at := 0
	for i, key := range t.current() {
		if bytes.Equal(key, d.key) {
			at = i
			break
		}
	}
	c.markClean(t, at) // keys before that of the elements
	t.rightTypes(at + 1)
	i := at
	if t.stepwise {
		i = t.step
	}
	q := t.queues[i]
	if asked := t.n * f.want(); asked > 1 && d.size(f.zset()) < asked {
		q.clean = max(q.clean, t.versions[i])
	}
	for l := q.head; l != nil && len(d.items) > 0; {
		w := l.w
		l = l.next // serve removes the place
		if w.identity == t.lead.identity && w.resp3 == t.lead.resp3 && w.form.accepts(f) {
			c.serve(w, w.form.serve(&d))
			continue
		}
		if !c.isParked(w, nil) {
			break
		}
	}
	if len(d.items) > 0 {
		c.giveBack(t, q, d)
	}
	for _, w := range t.waits {
		c.settle(w)
	}
}

// giveBack starts to return elements. Until it ends, nobody tries the key.
func (c *core) giveBack(t *attempt, q *queue, d found) {
	back := &attempt{
		purpose: giveBackIt, lead: t.lead, queues: []*queue{q}, key: bytes.Clone(d.key), elements: d.size(t.lead.form.zset()),
	}
	args, err := giveBack(t.lead.form, back.key, d.items)
	if err != nil {
		c.lose(back, err)
		return
	}
	back.args = args
	c.lock(back)
	c.send(back)
}

func (c *core) givenBack(t *attempt, refusal *resp.ServerError) {
	switch {
	case refusal == nil:
		c.counts(t.lead.form).GivenBack += uint64(t.elements)
	case slices.Contains(transient, refusal.Code) && !c.closed:
		c.returnLater(t)
		return
	default:
		c.lose(t, refusal)
	}
	for _, q := range t.queues {
		q.version++
		c.enqueue(q)
	}
	c.unlock(t)
}

// lose reports elements that could not be returned.
func (c *core) lose(t *attempt, err error) {
	c.counts(t.lead.form).Lost += uint64(t.elements)
	c.out = append(c.out, action{kind: doLose, key: string(t.key), err: err})
}

// retryReturns sends elements back whose return was not sent.
func (c *core) retryReturns() {
	if len(c.returns) == 0 {
		return
	}
	waiting := c.returns
	c.returns = nil
	for _, t := range waiting {
		if c.isParked(t.lead, nil) {
			c.returns = append(c.returns, t)
			continue
		}
		c.send(t)
	}
}

// returnLater sends elements back again after a delay.
func (c *core) returnLater(t *attempt) {
	c.returns = append(c.returns, t)
	c.park(t.lead.identity)
	c.unlock(t)
}

// failed handles an attempt without a reply. The waits continue, unless the failure is final. A wait whose first
// attempt this was ends, like any other command.
func (c *core) failed(t *attempt, o Outcome) {
	f := t.lead.form
	if t.purpose == giveBackIt {
		if !o.Sent && !o.Final && !c.closed {
			c.returnLater(t)
			return
		}
		c.lose(t, o.Err)
		c.unlock(t)
		return
	}
	if o.Sent && t.purpose == fetch && f.kind != read {
		c.counts(f).Lost++
	}
	if o.Final {
		c.finishAll(t, Result{Err: o.Err}, failedReason)
	} else {
		c.finishFirsts(t, Result{Err: o.Err})
		c.finishBehind(t, o.Err)
		c.park(t.lead.identity)
		c.reconsider(t)
	}
	c.end(t)
}

// reconsider lets the XREAD waits of t try again.
func (c *core) reconsider(t *attempt) {
	if t.lead.form.kind != read {
		return
	}
	for _, w := range t.waits {
		for i := range w.links {
			w.links[i].seen = 0
		}
	}
}

// park delays the next attempts of an identity, longer after each failure.
func (c *core) park(identity any) {
	p := c.parked[identity]
	if p == nil {
		p = &park{}
		c.parked[identity] = p
	}
	if p.until > c.now {
		return // another attempt of the same time
	}
	p.until = c.now + min(firstPark<<min(p.fails, 20), longestPark)
	p.fails++
}

// unpark ends the delay of an identity after a success. It forgets the identities without a recent failure.
func (c *core) unpark(identity any) {
	if len(c.parked) == 0 {
		return
	}
	if p := c.parked[identity]; p != nil {
		delete(c.parked, identity)
		for _, q := range p.stalled {
			c.enqueue(q)
		}
	}
	for other, p := range c.parked {
		if c.now-p.until > forgetPark && len(p.stalled) == 0 {
			delete(c.parked, other)
		}
	}
}

// refused handles an error of the server.
func (c *core) refused(t *attempt, e *resp.ServerError, reply []byte) {
	f := t.lead.form
	switch {
	case e.Code == "ERR" && c.learned(t, e.Message):
	case e.Code == "NOPERM" || e.Code == "ERR" && isUnknown(e.Message): // the server knows what to say about its own command
		c.finishAll(t, Result{Err: ErrDedicated}, failedReason)
	case slices.Contains(transient, e.Code):
		c.finishFirsts(t, Result{Reply: reply})
		c.park(t.lead.identity)
		c.reconsider(t)
	case e.Code == "WRONGTYPE" && f.kind != groupRead:
		c.wrongType(t, reply)
		return
	default:
		c.finishAll(t, Result{Reply: reply}, failedReason)
	}
	c.end(t)
}

// transient are the codes of states of the server that a blocked client does not see.
var transient = []string{
	"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "BUSY", "NOREPLICAS", "MISCONF",
}

// learned notes what the server lacks.
func (c *core) learned(t *attempt, message string) bool {
	f := t.lead.form
	switch {
	case f.countable() && len(t.current()) > 1 && isUnknown(message):
		c.commands.noMPop = true
	case f.kind == listPop && t.n > 1 && strings.HasPrefix(strings.ToLower(message), "wrong number of arguments"):
		c.commands.noCount = true
	default:
		return false
	}
	return true
}

// isUnknown reports whether an error says that the server lacks a command.
func isUnknown(message string) bool {
	return strings.HasPrefix(strings.ToLower(message), "unknown command")
}

// finishFirsts ends the waits of t whose first attempt this was. One that leaves ends with its own error, unless the
// server has replied.
func (c *core) finishFirsts(t *attempt, r Result) {
	for _, w := range t.waits {
		if w.first && !w.finished && (r.Err == nil || !w.leaving || w.late) {
			w.reason = failedReason
			c.finish(w, Result{Reply: bytes.Clone(r.Reply), Err: r.Err})
		}
	}
}

// finishBehind ends the waits that would have had their first attempt after t.
func (c *core) finishBehind(t *attempt, err error) {
	for _, q := range t.queues {
		for _, w := range slices.Clone(q.firsts) {
			if w.first && !w.finished && w.try == nil && w.identity == t.lead.identity {
				w.reason = failedReason
				c.finish(w, Result{Err: err})
			}
		}
	}
}

// resolved puts the ID into the command of an XREAD wait.
func (c *core) resolved(t *attempt, reply []byte, refusal *resp.ServerError) {
	w := t.lead
	switch {
	case w.finished:
	case refusal != nil && refusal.Code == "NOPERM":
		c.finishAll(t, Result{Err: ErrDedicated}, failedReason)
	case refusal != nil:
		c.finishAll(t, Result{Reply: reply}, failedReason)
	default:
		id, err := lastID(reply)
		if err != nil {
			c.finishAll(t, Result{Err: malformed(w.form, "an entry of a stream")}, failedReason)
			break
		}
		form := *w.form
		form.args = slices.Clone(form.args)
		form.args[t.idAt] = id
		w.form = &form
	}
	c.end(t)
}
