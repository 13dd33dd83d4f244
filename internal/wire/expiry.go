package wire

import "time"

// Expires returns the time when the connection's credentials expire, or zero if they do not.
func (c *Conn) Expires() time.Time {
	at := c.expires.Load()
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// SetExpires records when the connection's credentials expire.
func (c *Conn) SetExpires(at time.Time) { c.expires.Store(nanoseconds(at)) }

// Renewed records an AUTH with credentials that expire at at, in place of those that expire at was. It does nothing
// if other credentials replaced these meanwhile.
func (c *Conn) Renewed(was, at time.Time) {
	c.expires.CompareAndSwap(nanoseconds(was), nanoseconds(at))
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
