package pool

import (
	"math"
	"math/rand/v2"
	"time"
)

// dialGate admits dials: a limited number in flight, at the pace of the backoff. Pool.mu guards it.
type dialGate struct {
	backoff
	parallel int       // maximum number in flight
	inFlight int       // dials that have begun and not ended
	since    time.Time // when inFlight last rose from 0
}

func (d *dialGate) init(cfg *Config) {
	d.backoff.init(cfg)
	d.parallel = cfg.DialParallel
}

// full reports whether no other dial may begin before one in flight ends.
func (d *dialGate) full() bool { return d.inFlight >= d.parallel }

// begin begins a dial if it is allowed now. Otherwise wait is the time until it may be allowed; 0: when a dial in
// flight ends. Retries of refused identities use at most half of the dials in flight.
func (d *dialGate) begin(retry bool) (wait time.Duration, ok bool) {
	if d.full() || retry && d.inFlight >= max(1, d.parallel/2) {
		return 0, false
	}
	if wait, ok = d.take(d.inFlight, retry); !ok {
		return wait, false
	}
	if d.inFlight == 0 {
		d.since = time.Now()
	}
	d.inFlight++
	return 0, true
}

// end ends a dial that begin admitted.
func (d *dialGate) end() { d.inFlight-- }

// backoff decides when a dial is allowed: a token bucket while the node accepts dials; after a failed dial one dial
// at a time, with growing random pauses. Pool.mu guards its fields.
type backoff struct {
	base, cap time.Duration
	rate      float64
	burst     float64

	tokens    float64
	filled    time.Time
	failures  int
	retryAt   time.Time
	lastError error // error of the last dial; nil if it succeeded
}

func (b *backoff) init(cfg *Config) {
	b.base, b.cap = cfg.BackoffBase, cfg.BackoffCap
	b.rate, b.burst = cfg.DialRate, float64(max(cfg.Max, 1))
	b.tokens, b.filled = b.burst, time.Now()
}

// pausing reports whether the last dial failed and the pause is not over.
func (b *backoff) pausing() bool { return b.failures > 0 && time.Now().Before(b.retryAt) }

// take takes a token for a dial, or returns the time until one is available. dialing is the number of dials in
// flight. A retry of a refused identity leaves half of the tokens to others.
func (b *backoff) take(dialing int, retry bool) (wait time.Duration, ok bool) {
	now := time.Now()
	if b.failures > 0 {
		if dialing > 0 {
			return 0, false // the dial in flight decides
		}
		if d := b.retryAt.Sub(now); d > 0 {
			return d, false
		}
	}
	b.tokens = min(b.burst, b.tokens+now.Sub(b.filled).Seconds()*b.rate)
	b.filled = now
	need := 1.0
	if retry {
		need += math.Floor(b.burst / 2)
	}
	if b.tokens < need {
		return time.Duration((need - b.tokens) / b.rate * float64(time.Second)), false
	}
	b.tokens--
	return 0, true
}

// failed records a failed dial. The pause doubles up to the cap. It is drawn from its upper half, so that many
// clients do not dial at the same time.
func (b *backoff) failed(err error) {
	pause := b.cap
	if b.failures < 20 {
		pause = min(b.cap, b.base<<b.failures)
	}
	b.failures++
	b.lastError = err
	b.retryAt = time.Now().Add(pause/2 + rand.N(pause/2+1))
}

func (b *backoff) succeeded() { b.failures, b.lastError = 0, nil }
