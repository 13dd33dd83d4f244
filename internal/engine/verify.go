package engine

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Pauses between two redials of a node's connections while its server refuses commands. They double while refusals
// continue. Each is extended by a random time of up to a quarter.
const (
	firstRedialPause = time.Second
	lastRedialPause  = 8 * time.Second
)

// redialPace paces the redials of a node's connections.
type redialPace struct {
	mu     sync.Mutex
	next   time.Time // time before which there is no redial
	pause  time.Duration
	seen   time.Time // time of the last refusal
	proven time.Time // when the node was last confirmed to refuse commands
}

// due records a refusal and reports whether to redial now.
func (r *redialPace) due(now time.Time) bool {
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

// verdict is the server's answer about its state after a script's error.
type verdict uint8

const (
	confirmed verdict = iota
	denied
	unsure
)

// verify queries the server behind l whether it is in the state that a refusal indicates: a script may return such an
// error itself, after it wrote. It uses the connection of the reply, because the node's name may resolve to another
// server by now.
func (n *node) verify(ctx context.Context, l *lane.Lane, kind topology.Evidence) verdict {
	question := "ROLE"
	if kind == topology.Loading {
		question = "PING" // a loading server refuses PING but answers ROLE
	}
	frame, err := l.Do(ctx, []any{question}, lane.Options{})
	found := unsure
	switch {
	case err == nil:
		if found = verdictOf(frame, kind); found == confirmed {
			n.redials.proved()
		}
	case !sent(err) && !ctxEnded(err) && n.redials.provedSince(l.Born):
		found = confirmed // others confirmed it on the same server, and the lane is closed since
	}
	return found
}

// provenFor is how long a confirmation applies to a lane that cannot be queried any more.
const provenFor = 5 * time.Second

// proved records that the node's server is in a state in which it refuses commands.
func (r *redialPace) proved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proven = time.Now()
}

// provedSince reports whether that was confirmed within provenFor, after born.
func (r *redialPace) provedSince(born time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proven.After(born) && time.Since(r.proven) < provenFor
}

func verdictOf(frame []byte, kind topology.Evidence) verdict {
	err := errorOf(frame)
	if kind == topology.Loading {
		switch {
		case err == nil:
			return denied
		case refusedDial(err):
			return confirmed
		}
		return unsure
	}
	fields, malformed := resp.Elements(frame)
	if err != nil || malformed != nil || len(fields) == 0 {
		return unsure
	}
	switch role, _ := resp.StringOf(fields[0]); string(role) {
	case "slave", "replica":
		return confirmed
	case "master", "primary":
		return denied
	}
	return unsure
}
