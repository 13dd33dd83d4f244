// Package quota limits the clients of a gateway: the commands and bytes per second of each client and of all clients of
// a user, and the connections of a user. It is not for the gateway's own bounds, such as its buffers, and it neither
// reads requests nor writes replies. It starts no goroutine and no timer: a caller that has to wait receives the time.
package quota

import (
	"fmt"
	"time"
)

// Client is the state of one client with a limited rate. Its owner's lock guards it.
//
// A command takes a token before its request is read. Commands of a user take their tokens in the order in which they
// asked, so a wait is known when it begins. The bytes of requests and replies are charged when they have come: the
// client, or the user, then waits until the mean is within the limit again.
type Client struct {
	user  *User
	rates rates

	permit   bool      // the next request may run
	refusal  string    // of the next request; empty: it is not refused
	reserved bool      // the token is taken, and may be used at readyAt
	since    time.Time // when the wait began; zero: the client does not wait
	readyAt  time.Time
}

// Limit sets the limits of the client, and its user, which may be nil. A client that waits must call Admit again.
func (c *Client) Limit(to Rate, u *User, now time.Time) {
	c.user, c.reserved = u, false
	c.rates.limit(to, now)
}

// Admit decides about the next request of the client. If wait is positive, the client must not take it now, and must
// call Admit again after that time. After the time most, Admit lets the gateway refuse the request: see Refusal.
// began reports that the wait has just begun.
func (c *Client) Admit(now time.Time, most time.Duration) (wait time.Duration, began bool) {
	switch {
	case c.permit || c.refusal != "":
		return 0, false
	case c.reserved:
		if wait := c.readyAt.Sub(now); wait > 0 {
			return wait, false
		}
		c.admit()
		return 0, false
	}
	if began = c.since.IsZero(); began {
		c.since = now
	}
	left := most - now.Sub(c.since)
	wait, taken := c.reserve(now, left)
	switch {
	case taken && wait == 0:
		c.admit()
		return 0, false
	case taken:
		c.reserved, c.readyAt = true, now.Add(wait)
	case left <= 0:
		c.since, c.refusal = time.Time{}, c.reason(now)
		c.user.countRefusal()
		return 0, false
	default:
		wait = min(wait, left)
	}
	if began {
		c.user.countWait()
	}
	return wait, began
}

func (c *Client) admit() { c.permit, c.reserved, c.since = true, false, time.Time{} }

// reserve takes a token of the client and one of the user if both are there within the time most and no bytes are
// owed. Otherwise it takes none, and wait is the time until another call makes sense.
func (c *Client) reserve(now time.Time, most time.Duration) (wait time.Duration, taken bool) {
	if owed := c.rates.bytes.wait(0, now); owed > 0 {
		return owed, false
	}
	own := c.rates.commands.wait(1, now)
	if own > max(most, 0) {
		return own, false
	}
	wait, taken = c.user.reserve(now, max(most, 0))
	if !taken {
		return wait, false
	}
	c.rates.commands.take(1)
	return max(wait, own), true
}

// reserve takes a token within a time.
func (u *User) reserve(now time.Time, most time.Duration) (wait time.Duration, taken bool) {
	if u == nil {
		return 0, true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if owed := u.rates.bytes.wait(0, now); owed > 0 {
		return owed, false
	}
	if wait = u.rates.commands.wait(1, now); wait > most {
		return wait, false
	}
	u.rates.commands.take(1)
	return wait, true
}

// Refusal returns why the gateway must refuse the request that it has read, or an empty string.
func (c *Client) Refusal() string { return c.refusal }

// Took notes that the request was read, with its size in bytes. A refused one is not charged.
func (c *Client) Took(bytes int) {
	if c.permit {
		c.Charge(bytes)
	}
	c.permit, c.refusal = false, ""
}

// Charge charges bytes of a reply.
func (c *Client) Charge(bytes int) {
	c.rates.bytes.take(float64(bytes))
	if u := c.user; u != nil {
		u.mu.Lock()
		u.rates.bytes.take(float64(bytes))
		u.mu.Unlock()
	}
}

// reason names the limit that a client exceeds.
func (c *Client) reason(now time.Time) string {
	if c.rates.bytes.wait(0, now) > 0 || c.rates.commands.wait(1, now) > 0 {
		return "this client is over its " + c.rates.text(now)
	}
	if u := c.user; u != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		return "user " + u.name + " is over its " + u.rates.text(now)
	}
	return "this client is over a limit"
}

// text names the limit that is exceeded.
func (r *rates) text(now time.Time) string {
	if r.bytes.wait(0, now) > 0 {
		return fmt.Sprintf("bytes_per_second of %.0f", r.bytes.rate)
	}
	return fmt.Sprintf("commands_per_second of %.0f", r.commands.rate)
}

func (u *User) countWait() {
	if u != nil {
		u.mu.Lock()
		u.waits++
		u.mu.Unlock()
	}
}

func (u *User) countRefusal() {
	if u != nil {
		u.mu.Lock()
		u.refused++
		u.mu.Unlock()
	}
}
