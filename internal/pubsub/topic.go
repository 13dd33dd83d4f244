package pubsub

import "slices"

// state is what the server was told of a topic. There is never more than one
// request under way for it: a change of mind waits for the answer.
type state uint8

const (
	off state = iota
	subscribing
	on
	unsubscribing
)

// topic is a channel or a pattern that is wanted or known to the server.
// Topics and members are guarded by Hub.mu.
type topic struct {
	kind    Kind
	name    string
	members []*member // it is wanted while there are any
	state   state
	dirty   bool // stands in Hub.dirty
	alone   bool // is asked for by itself, since the server refused it together with others

	settled []chan struct{} // of those who wait until the server sends no more of it
}

// unwanted tells those who wait that the server sends no more, or that it is wanted again.
func (t *topic) unwanted() {
	for _, ch := range t.settled {
		close(ch)
	}
	t.settled = nil
}

// member is a subscription's share in a topic.
type member struct {
	topic *topic
	sub   *Subscription
	at    int     // its place in topic.members; -1 once it has left
	live  bool    // confirmed
	lost  bool    // it was live until the connection was lost
	refs  int     // calls that asked for it and did not fail
	calls []*call // those among them that wait
}

func (m *member) forget(c *call) {
	m.calls = slices.DeleteFunc(m.calls, func(x *call) bool { return x == c })
}

func (h *Hub) clearTopicsLocked() {
	for k := range h.topics {
		for _, t := range h.topics[k] {
			t.unwanted()
		}
		h.topics[k] = map[string]*topic{}
	}
	h.dirty = nil
}

// joinLocked makes name part of s on behalf of c, which waits for it unless
// it is confirmed already.
func (h *Hub) joinLocked(s *Subscription, name string, c *call) {
	m := s.members[name]
	if m == nil {
		t := h.topics[s.kind][name]
		if t == nil {
			t = &topic{kind: s.kind, name: name}
			h.topics[s.kind][name] = t
		}
		m = &member{topic: t, sub: s, at: len(t.members), live: t.state == on}
		t.members = append(t.members, m)
		t.unwanted()
		s.members[name] = m
		if len(t.members) == 1 {
			h.wanted++
			h.touchLocked(t)
		}
	}
	m.refs++
	c.members = append(c.members, m)
	if !m.live {
		c.pending++
		m.calls = append(m.calls, c)
	}
}

// leaveLocked takes a member out. Calls that wait for it wait no longer.
func (h *Hub) leaveLocked(m *member) {
	if m.at < 0 {
		return
	}
	t := m.topic
	last := len(t.members) - 1
	t.members[m.at] = t.members[last]
	t.members[m.at].at = m.at
	t.members[last] = nil
	t.members = t.members[:last]
	m.at, m.live = -1, false
	delete(m.sub.members, t.name)
	h.healLocked(m)
	h.settleCallsLocked(m)
	if len(t.members) == 0 {
		h.wanted--
		h.touchLocked(t)
	}
}

func (h *Hub) settleCallsLocked(m *member) {
	calls := m.calls
	m.calls = nil
	for _, c := range calls {
		if c.pending--; c.pending == 0 {
			h.finishLocked(c, nil)
		}
	}
}

// touchLocked has the hub's goroutine compare what is wanted of a topic with
// what the server was told.
func (h *Hub) touchLocked(t *topic) {
	if h.session == nil {
		// A new connection begins with all topics that are there.
		if len(t.members) == 0 {
			delete(h.topics[t.kind], t.name)
		}
		if h.wanted == 0 {
			h.wakeUp()
		}
		return
	}
	if !t.dirty {
		t.dirty = true
		h.dirty = append(h.dirty, t)
	}
	h.wakeUp()
}

// confirmedLocked notes that the server has subscribed us.
func (h *Hub) confirmedLocked(t *topic) {
	t.state = on
	for _, m := range slices.Clone(t.members) {
		if m.live || m.at < 0 {
			continue
		}
		m.live = true
		h.healLocked(m)
		h.settleCallsLocked(m)
	}
	if len(t.members) == 0 {
		h.touchLocked(t)
	}
}

// endedLocked notes that the server has unsubscribed us.
func (h *Hub) endedLocked(t *topic) {
	t.state = off
	t.unwanted()
	h.touchLocked(t)
}

// refusedLocked fails those who wait for a topic, and the subscriptions that
// had it before the connection was lost. It returns err where the refusal is
// of the moment, so that the latter are better served by another attempt.
func (h *Hub) refusedLocked(t *topic, err error) error {
	t.state = off
	for _, m := range slices.Clone(t.members) {
		for _, c := range slices.Clone(m.calls) {
			h.finishLocked(c, err)
		}
	}
	if len(t.members) == 0 {
		h.touchLocked(t)
		return nil
	}
	if transient(err) {
		return err
	}
	h.refusedAgainLocked(t, err)
	return nil
}

// loseLocked notes that the server forgot a topic.
func (h *Hub) loseLocked(t *topic) {
	if t.state == on {
		for _, m := range t.members {
			if m.live {
				m.live, m.lost = false, true
				m.sub.lost++
				m.sub.interrupt(h.losses)
			}
		}
	}
	t.state = off
	t.unwanted()
}

// healLocked notes that a member is confirmed again, or has left. The gap is
// shown when the last one of its subscription is.
func (h *Hub) healLocked(m *member) {
	if !m.lost {
		return
	}
	m.lost = false
	if m.sub.lost--; m.sub.lost == 0 {
		m.sub.resume(h.losses)
	}
}
