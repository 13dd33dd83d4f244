package keywatch

import (
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// verb is the kind of a request.
type verb uint8

const (
	trackingOn verb = iota
	trackingOff
	exists
	ping
	authenticate
)

// request is one write with pending replies.
type request struct {
	verb    verb
	keys    []*key // of exists
	each    bool   // one EXISTS per key, instead of one for all
	replies int    // pending
	done    chan<- error
}

// Limits of the requests. A few requests in flight, and not one for each push, collect the keys of many pushes.
const (
	mostInFlight = 4
	mostKeys     = 1000     // of a request
	mostBytes    = 64 << 10 // of its names; one longer name is sent alone
)

var (
	commandOn  = []string{"CLIENT", "TRACKING", "ON"}
	commandOff = []string{"CLIENT", "TRACKING", "OFF"}
)

func appendCommand(dst []byte, words []string) []byte {
	dst = resp.AppendArrayHeader(dst, len(words))
	for _, word := range words {
		dst = resp.AppendBulkString(dst, word)
	}
	return dst
}

// next appends the next request to dst. nil: there is nothing to send now. The driver calls sent or unsent.
func (c *core) next(now time.Duration, dst []byte) ([]byte, *request) {
	if !c.open || c.refusal != nil || now < c.resumeAt {
		return dst, nil
	}
	c.resumeAt = 0
	switch {
	case !c.started:
		c.started = true
		return appendCommand(dst, commandOn), &request{verb: trackingOn, replies: 1}
	case c.ending:
		if c.flight.len() > 0 || c.clean {
			return dst, nil
		}
		return appendCommand(dst, commandOff), &request{verb: trackingOff, replies: 1}
	case c.flight.len() >= mostInFlight:
		return dst, nil
	}
	most, at := c.pace.limit(now)
	if most == 0 {
		if c.queue.len() > c.stale {
			c.resumeAt = at
		}
		return dst, nil
	}
	return c.nextExists(dst, most)
}

// nextExists appends an EXISTS for some keys at most.
func (c *core) nextExists(dst []byte, most int) ([]byte, *request) {
	var r *request
	bytes := 0
	for c.queue.len() > 0 {
		k := c.queue.first()
		if k.gone() {
			c.stale--
		} else {
			alone := k.alone || c.single
			if r == nil {
				r = c.newRequest(alone)
			} else if r.each != alone || len(r.keys) >= most || bytes+len(k.name) > mostBytes {
				break
			}
			bytes += len(k.name)
			k.state = asked
			r.keys = append(r.keys, k)
		}
		c.queue.pop()
	}
	if r == nil {
		return dst, nil
	}
	c.pace.sent(len(r.keys))
	if r.each {
		r.replies = len(r.keys)
		for _, k := range r.keys {
			dst = resp.AppendArrayHeader(dst, 2)
			dst = resp.AppendBulkString(dst, "EXISTS")
			dst = resp.AppendBulkString(dst, k.name)
		}
		return dst, r
	}
	r.replies = 1
	dst = resp.AppendArrayHeader(dst, 1+len(r.keys))
	dst = resp.AppendBulkString(dst, "EXISTS")
	for _, k := range r.keys {
		dst = resp.AppendBulkString(dst, k.name)
	}
	return dst, r
}

// newRequest returns a request of EXISTS without keys.
func (c *core) newRequest(each bool) *request {
	n := len(c.unused)
	if n == 0 {
		return &request{verb: exists, each: each}
	}
	r := c.unused[n-1]
	c.unused = c.unused[:n-1]
	r.each = each
	return r
}

// answered removes the oldest request, which has all replies.
func (c *core) answered() {
	r := c.flight.first()
	c.flight.pop()
	if r.verb == exists && len(c.unused) < mostInFlight {
		clear(r.keys)
		r.keys = r.keys[:0]
		c.unused = append(c.unused, r)
	}
}

// sent records that a request of next, or another one, was posted.
func (c *core) sent(r *request) {
	c.flight.push(r)
	if r.verb == exists {
		c.exists += uint64(r.replies)
	}
}

// unsent takes back a request of next that was not posted.
func (c *core) unsent(r *request) {
	switch r.verb {
	case trackingOn:
		c.started = false
	case exists:
		for _, k := range r.keys {
			if !k.gone() {
				c.enqueue(k)
			}
		}
	}
}
