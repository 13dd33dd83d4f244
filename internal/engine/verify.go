package engine

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Pauses between two renewals of a node's connections while its server refuses commands. They double while refusals
// continue. Each is extended by a random time of up to a quarter.
const (
	firstRenewalPause = time.Second
	lastRenewalPause  = 8 * time.Second
)

// renewal paces the renewals of a node's connections.
type renewal struct {
	mu     sync.Mutex
	next   time.Time // time before which there is no renewal
	pause  time.Duration
	seen   time.Time // time of the last refusal
	proven time.Time // when the node was last confirmed to refuse commands
}

// due records a refusal and reports whether to renew the connections now.
func (r *renewal) due(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.seen) > 2*lastRenewalPause {
		r.pause = 0
	}
	r.seen = now
	if now.Before(r.next) {
		return false
	}
	r.pause = min(max(firstRenewalPause, 2*r.pause), lastRenewalPause)
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
func (n *node) verify(ctx context.Context, l *lane.Lane, kind sentinel.EvidenceKind) verdict {
	question := "ROLE"
	if kind == sentinel.NodeLoading {
		question = "PING" // a loading server refuses PING but answers ROLE
	}
	frame, err := l.Do(ctx, []any{question}, lane.Options{})
	found := unsure
	switch {
	case err == nil:
		if found = verdictOf(frame, kind); found == confirmed {
			n.renewal.proved()
		}
	case !sent(err) && !ctxEnded(err) && n.renewal.provedSince(l.Born):
		found = confirmed // others confirmed it on the same server, and the lane is closed since
	}
	return found
}

// provenFor is how long a confirmation applies to a lane that cannot be queried any more.
const provenFor = 5 * time.Second

// proved records that the node's server is in a state in which it refuses commands.
func (r *renewal) proved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proven = time.Now()
}

// provedSince reports whether that was confirmed within provenFor, after born.
func (r *renewal) provedSince(born time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proven.After(born) && time.Since(r.proven) < provenFor
}

func verdictOf(frame []byte, kind sentinel.EvidenceKind) verdict {
	err := errorOf(frame)
	if kind == sentinel.NodeLoading {
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
