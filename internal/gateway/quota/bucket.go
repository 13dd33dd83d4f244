package quota

import (
	"math"
	"time"
)

// Rate is a limit per second. A value of 0 is no limit.
type Rate struct {
	Commands int
	Bytes    int64 // of requests and replies
}

// IsZero reports whether nothing is limited.
func (r Rate) IsZero() bool { return r == Rate{} }

// burstTime is the time whose share of the rate may pass at once after a quiet time.
const burstTime = 100 * time.Millisecond

// bucket is a token bucket. Its tokens may be negative: those are reserved, or were charged afterwards.
type bucket struct {
	rate   float64 // tokens per second; 0: no limit
	burst  float64 // most tokens
	tokens float64
	at     time.Time // of tokens
}

// limit changes the rate. A new bucket is full.
func (b *bucket) limit(rate float64, now time.Time) {
	switch {
	case rate == b.rate:
		return
	case rate == 0:
		*b = bucket{}
		return
	}
	b.fill(now)
	fresh := b.rate == 0
	b.rate, b.burst, b.at = rate, max(1, rate*burstTime.Seconds()), now
	if b.tokens = min(b.tokens, b.burst); fresh {
		b.tokens = b.burst
	}
}

// fill adds the tokens of the time since the last call.
func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens, b.at = min(b.burst, b.tokens+d.Seconds()*b.rate), now
	}
}

// wait returns the time until the bucket has n tokens.
func (b *bucket) wait(n float64, now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	if b.fill(now); b.tokens >= n {
		return 0
	}
	ns := math.Ceil((n - b.tokens) / b.rate * float64(time.Second))
	return time.Duration(min(ns, float64(longest)))
}

// longest bounds a wait, so that it cannot overflow.
const longest = 1000 * time.Hour

// take removes n tokens.
func (b *bucket) take(n float64) {
	if b.rate != 0 {
		b.tokens -= n
	}
}

// rates are the buckets of one client or one user.
type rates struct{ commands, bytes bucket }

func (r *rates) limit(to Rate, now time.Time) {
	r.commands.limit(float64(to.Commands), now)
	r.bytes.limit(float64(to.Bytes), now)
}

// limited reports whether a limit is set.
func (r *rates) limited() bool { return r.commands.rate != 0 || r.bytes.rate != 0 }
