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

// Pauses between two renewals of a node's connections, while its server refuses commands: they double
// as long as that does not help, and a quarter of each is added at random.
const (
	firstRenewalPause = time.Second
	lastRenewalPause  = 8 * time.Second
)

// renewal paces the renewals of a node's connections.
type renewal struct {
	mu     sync.Mutex
	next   time.Time // no renewal before
	pause  time.Duration
	seen   time.Time // the last refusal
	proven time.Time // when the node was last found in the state that made it refuse
}

// due takes note of a refusal, and reports whether the connections are to be renewed.
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

// verdict is what a server says of its state when it is asked after a script's error.
type verdict uint8

const (
	confirmed verdict = iota
	denied
	unsure
)

// verify asks the server behind l whether it is in the state that a refusal tells of: a script may make such
// an error by itself, after it wrote. It is asked on the connection on which the reply came: the
// node's name may lead another one elsewhere.
func (n *node) verify(ctx context.Context, l *lane.Lane, kind sentinel.EvidenceKind) verdict {
	question := "ROLE"
	if kind == sentinel.NodeLoading {
		question = "PING" // a server that loads does not answer it, but tells its role
	}
	frame, err := l.Do(ctx, []any{question}, lane.Options{})
	found := unsure
	switch {
	case err == nil:
		if found = verdictOf(frame, kind); found == confirmed {
			n.renewal.proved()
		}
	case !sent(err) && !ctxEnded(err) && n.renewal.provedSince(l.Born):
		found = confirmed // the lane is closed since others found it out about the same server
	}
	return found
}

// provenFor is for how long what was found holds for a lane that can't be asked any more.
const provenFor = 5 * time.Second

// proved takes note that the node's server is in a state that makes it refuse.
func (r *renewal) proved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proven = time.Now()
}

// provedSince reports whether it was found so just now, on a connection made at born or a later one.
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
