package refusal

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Pauses between two redials of a server's connections while it refuses commands. They double while refusals continue.
// Each is extended by a random time of up to a quarter.
const (
	firstRedialPause = time.Second
	lastRedialPause  = 8 * time.Second
)

// provenFor is how long a confirmation applies to a connection that cannot be queried any more.
const provenFor = 5 * time.Second

// Record remembers the refusals of one server. The zero Record has none. All methods are safe for concurrent use.
type Record struct {
	mu     sync.Mutex
	next   time.Time // time before which there is no redial
	pause  time.Duration
	seen   time.Time // time of the last refusal
	proven time.Time // when the server was last confirmed to refuse commands
}

// RedialDue records a refusal and reports whether to redial the server's connections now.
func (r *Record) RedialDue(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.seen) > 2*lastRedialPause {
		r.pause = 0
	}
	r.seen = now
	if now.Before(r.next) {
		return false
	}
	r.pause = min(max(firstRedialPause, 2*r.pause), lastRedialPause)
	r.next = now.Add(r.pause + rand.N(r.pause/4))
	return true
}

// Proved records that the server is in a state in which it refuses commands.
func (r *Record) Proved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proven = time.Now()
}

// ProvedSince reports whether Proved was called a short time ago, after the time born.
func (r *Record) ProvedSince(born time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proven.After(born) && time.Since(r.proven) < provenFor
}
