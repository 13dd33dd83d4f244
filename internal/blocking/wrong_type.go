package blocking

import (
	"slices"

	"github.com/seed-2b0d76a6/respool/resp"
)

// seesTypes reports whether a server that executes the blocked command of f again replies with the wrong type of one key
// when another one has data.
func (c *core) seesTypes(f *Form) bool { return f.takes() && f.nkeys > 1 && c.reexecutes() }

// wrongType handles a key with a value of another type. A client that is blocked on the server does not see the change
// of a type. A server that executes its command again when another key has data then replies with this error.
func (c *core) wrongType(t *attempt, reply []byte) {
	c.finishFirsts(t, Result{Reply: reply})
	f := t.lead.form
	if f.kind == listMove || c.reexecutes() {
		t.saved = reply
	}
	switch {
	case !c.wanted(t):
		c.end(t)
	case t.confirms:
		c.finishAll(t, Result{Reply: reply}, failedReason)
		c.end(t)
	case f.kind == listMove: // the source has another type, which has no effect, or the destination
		t.purpose = probe
		c.send(t)
	case !t.stepwise && len(t.keys) > 1: // one of the keys hides the others
		t.stepwise = true
		if c.seesTypes(f) {
			t.purpose = probe
		}
		c.send(t)
	default:
		if t.step < len(t.queues) {
			t.queues[t.step].wrong = true
		}
		if c.seesTypes(f) {
			t.purpose = probe // the next key, if any
		}
		c.foundNothing(t)
	}
}

// probed handles the number of elements in a key. If it has data, a wrong type decides: that of the destination of BLMOVE,
// or of an earlier key.
func (c *core) probed(t *attempt, reply []byte, refusal *resp.ServerError) {
	q := t.queues[t.step]
	h, err := resp.ReadHead(reply)
	size := int64(-1) // unknown
	if refusal == nil && err == nil && h.Kind == resp.Integer {
		size = h.Int
	}
	switch {
	case refusal != nil && refusal.Code == "WRONGTYPE":
		q.wrong = true
		if t.confirms {
			c.finishAll(t, Result{Reply: reply}, failedReason)
			break
		}
		if t.saved == nil {
			t.saved = reply
		}
		c.foundNothing(t)
		return
	case t.confirms && size >= 0:
		q.wrong = false // the keys have changed: try again
	case size == 0:
		q.wrong = false
		c.foundNothing(t)
		return
	case refusal != nil && slices.Contains(transient, refusal.Code):
		c.park(t.lead.identity)
	case size > 0 && t.lead.form.takes():
		if before := slices.IndexFunc(t.queues[:t.step], (*queue).isWrong); before >= 0 {
			t.step, t.confirms = before, true
			c.send(t)
			return
		}
		if q.wrong = false; q.dirty() {
			t.purpose = fetch
			c.send(t)
			return
		}
		// Its change is about to be reported. Others may be first in line.
	case size > 0: // the destination of BLMOVE has the wrong type, unless the source has just changed
		t.purpose, t.confirms = fetch, true
		c.send(t)
		return
	case t.saved == nil: // the user may not ask, so the server has to decide
		c.finishAll(t, Result{Err: ErrDedicated}, failedReason)
	default:
		c.finishAll(t, Result{Reply: t.saved}, failedReason)
	}
	c.end(t)
}
