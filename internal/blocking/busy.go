package blocking

// busy counts the attempts of one identity that are in flight, if their number is limited.
type busy struct {
	attempts int
	stalled  []*queue // need an attempt when there are fewer, in order
}

// isBusy reports whether w must wait, because as many attempts of its identity are in flight as may be. q is evaluated
// again when one of them ends.
func (c *core) isBusy(w *Wait, q *queue) bool {
	if c.ofIdentity == 0 {
		return false
	}
	b := c.busy[w.identity]
	if b == nil || b.attempts < c.ofIdentity {
		return false
	}
	if !q.stalled {
		q.stalled = true
		b.stalled = append(b.stalled, q)
	}
	return true
}

// began counts an attempt.
func (c *core) began(t *attempt) {
	c.inFlight++
	if c.ofIdentity == 0 {
		return
	}
	t.identity = t.lead.identity
	b := c.busy[t.identity]
	if b == nil {
		b = &busy{}
		c.busy[t.identity] = b
	}
	b.attempts++
}

// ended no longer counts an attempt. The queue that has waited longest is next; it may need no attempt any more, so the
// last attempt lets all queues go on.
func (c *core) ended(t *attempt) {
	c.inFlight--
	if c.ofIdentity == 0 {
		return
	}
	b := c.busy[t.identity]
	b.attempts--
	next := min(1, len(b.stalled))
	if b.attempts == 0 {
		next = len(b.stalled)
		delete(c.busy, t.identity)
	}
	for _, q := range b.stalled[:next] {
		q.stalled = false
		c.enqueue(q)
	}
	b.stalled = b.stalled[next:]
}
