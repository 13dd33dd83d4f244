package wire

import "time"

// Expires is when the credentials end with which the connection has authenticated, or zero
// if they never do.
func (c *Conn) Expires() time.Time {
	at := c.expires.Load()
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// SetExpires takes note that the connection authenticates with credentials that end then.
func (c *Conn) SetExpires(at time.Time) { c.expires.Store(nanoseconds(at)) }

// Renewed takes note of AUTH with credentials that end at the time given, in the place of
// those that ended at was. If these were replaced meanwhile, nothing changes.
func (c *Conn) Renewed(was, at time.Time) {
	c.expires.CompareAndSwap(nanoseconds(was), nanoseconds(at))
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
