package pubsub

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// ErrRouteChanged is the error of a Source whose node does not serve slots any more. Cluster then returns other sources.
var ErrRouteChanged = errors.New("the node left the map of the cluster")

// A topic that a cluster's nodes refuse is requested without a pause quickRefusals times. The pauses after that double,
// and each is drawn from the upper half of its value.
const (
	quickRefusals = 2
	firstPause    = 4 * time.Millisecond
	lastPause     = 128 * time.Millisecond
)

// move is a refusal of the shard channels of a slot, or the end of their subscription.
type move struct {
	slot int
	err  error
}

// Reroute moves the shard channels to the nodes that serve them now, and subscribes names of keyspace notifications at
// all primaries. The cluster calls it after each change of its map. It does not block. Subscriptions to a channel that
// moves receive a gap, and those to keyspace notifications if there is another primary.
func (h *Hub) Reroute() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics[Shard] {
		if t.staying > 0 {
			h.placeLocked(t)
		}
	}
	h.renotifyLocked()
}

// reroute is Reroute for the topics of the link.
func (l *link) reroute() {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	for t := range l.topicsLocked() {
		if t.staying > 0 {
			l.h.placeLocked(t)
		}
	}
	l.h.renotifyLocked()
}

// placeLocked gives a topic to the link that carries it according to the cluster. It reports whether that is another
// link than before.
func (h *Hub) placeLocked(t *topic) bool {
	if t.passes == notifications {
		return false
	}
	source := h.source
	if t.kind == Shard && h.cfg.Cluster != nil {
		source = h.cfg.Cluster.Source(t.slot)
	}
	from := t.link
	if from != nil && from.source == source {
		return false
	}
	t.link, t.dirty = h.linkLocked(source), false
	if from == nil {
		return true
	}
	h.losses++
	t.askAgain()
	h.loseLocked(t)
	if t.staying > 0 {
		t.link.wanted++
		if from.wanted--; from.wanted == 0 {
			from.wakeUp()
		}
		t.link.startLocked()
		h.requestLocked(t)
	}
	return true
}

// requestLocked marks a topic for a request, after a pause if nodes refused it repeatedly.
func (h *Hub) requestLocked(t *topic) {
	if t.staying > 0 && t.refusals > quickRefusals {
		t.link.later = append(t.link.later, t)
		t.link.wakeUp()
		return
	}
	h.touchLocked(t)
}

// endedLocked records that the server ended a shard channel because its slot has moved.
func (h *Hub) endedLocked(s *session, t *topic) {
	if t == nil || t.link != s.link || !t.on {
		return
	}
	h.losses++
	h.loseLocked(t)
	h.touchLocked(t)
	if h.cfg.Cluster != nil {
		s.moved = append(s.moved, move{slot: t.slot})
	}
}

// postponeLocked keeps topics of one slot that the node does not serve now. They wait for another map, or for a pause.
func (h *Hub) postponeLocked(s *session, topics []*topic, err error) {
	s.moved = append(s.moved, move{slot: topics[0].slot, err: err})
	for _, t := range topics {
		t.refusals++
		t.askAgain()
		if t.on {
			h.losses++
			h.loseLocked(t)
		}
		h.reportLocked(t, err)
		switch {
		case t.staying == 0:
			h.touchLocked(t)
		case !h.placeLocked(t):
			t.link.later = append(t.link.later, t)
		}
	}
	s.link.wakeUp()
}

// reportLocked reports a refusal of a topic to the calls that wait for it. They fail if they wait too long.
func (h *Hub) reportLocked(t *topic, err error) {
	for _, m := range slices.Clone(t.members) {
		for _, c := range slices.Clone(m.interest.calls) {
			c.refusal = err
			if limit := h.cfg.RefusalLimit; limit > 0 && time.Since(c.began) >= limit {
				h.finishLocked(c, err)
			}
		}
	}
}

// retryTimer returns a timer for the refused topics; nil if there are none.
func (l *link) retryTimer() <-chan time.Time {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	refusals := 0
	for _, t := range l.later {
		refusals = max(refusals, t.refusals)
	}
	if refusals == 0 {
		return nil
	}
	d := min(firstPause<<min(refusals-1, 10), lastPause)
	return time.After(d/2 + rand.N(d/2))
}

// retryRefused requests the refused topics again.
func (l *link) retryRefused() {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	later := l.later
	l.later = nil
	for _, t := range later {
		if t.link == l && t.staying > 0 && t.flight == nil && !t.on && !l.h.placeLocked(t) {
			l.h.touchLocked(t)
		}
	}
}

// movedReply reports whether a node replied that another one serves a slot.
func movedReply(err error) bool { return movedSlot(err) >= 0 }

// movedSlot returns the slot in a MOVED reply; -1 if err is none.
func movedSlot(err error) int {
	se, ok := errors.AsType[*resp.ServerError](err)
	if !ok || se.Code != "MOVED" {
		return -1
	}
	text, _, _ := strings.Cut(se.Message, " ")
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return -1
}

// orphans reports whether an error is the reply to an earlier SUNSUBSCRIBE: the server had ended the subscription
// already when it received the command, and its push looked like the reply.
func (r *request) orphans(err error) bool {
	slot := movedSlot(err)
	if slot < 0 {
		return false
	}
	return r == nil || len(r.topics) == 0 || r.topics[0].kind != Shard || r.topics[0].slot != slot
}

// unanswered returns the topics of a request without a confirmation that have not moved to another link.
func (r *request) unanswered() (topics []*topic) {
	if r.verb > unsubscribe {
		return nil
	}
	for _, t := range r.topics[r.acked:] {
		if t.flight == r {
			topics = append(topics, t)
		}
	}
	return topics
}
