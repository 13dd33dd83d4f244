package pubsub

import "slices"

// topic is a channel or a pattern that is wanted or known to the server.
// Topics and members are guarded by Hub.mu.
//
// Whoever joins or leaves does so at a point in the stream of what the server sends: where it confirms a
// request that was sent afterwards. What it sent before is not for those who join, and is for those who leave. While
// others stay subscribed, that request is to subscribe again, which changes nothing at the server.
// There is never more than one request in flight for a topic: who comes meanwhile waits for the next one.
type topic struct {
	kind    Kind
	name    string
	members []*member
	staying int       // members that do not leave: it is wanted while there are any
	waiting []*member // who join or leave, and are not asked for yet
	asked   []*member // who join or leave with the request in flight
	flight  bool      // there is one
	on      bool      // the server has confirmed that it sends it
	dirty   bool      // stands in Hub.dirty
	alone   bool      // is asked for by itself, since the server refused it together with others
}

// member is a subscription's share in a topic.
type member struct {
	topic *topic
	sub   *Subscription
	at    int     // its place in topic.members; -1 once it has left
	queue int     // its place in topic.waiting; -1 if it is not there
	live  bool    // gets messages
	lost  bool    // it was live until the connection was lost
	leave *leave  // it leaves
	refs  int     // calls that asked for it and did not fail
	calls []*call // those among them that wait
}

func (m *member) forget(c *call) {
	m.calls = slices.DeleteFunc(m.calls, func(x *call) bool { return x == c })
}

// leave waits until members have left.
type leave struct {
	pending int
	done    chan struct{}
}

// wait has the next request for the topic settle what m wants.
func (t *topic) wait(m *member) {
	m.queue = len(t.waiting)
	t.waiting = append(t.waiting, m)
}

// unwait takes m out of those who wait for the next request, if it is there.
func (t *topic) unwait(m *member) {
	if m.queue < 0 {
		return
	}
	last := len(t.waiting) - 1
	t.waiting[m.queue] = t.waiting[last]
	t.waiting[m.queue].queue = m.queue
	t.waiting[last] = nil
	t.waiting = t.waiting[:last]
	m.queue = -1
}

// send notes a request as sent.
func (t *topic) send() {
	for _, m := range t.waiting {
		m.queue = -1
	}
	t.asked, t.waiting, t.flight = t.waiting, nil, true
}

// answered gives those whom the request in flight was for and who are still there.
func (t *topic) answered() []*member {
	asked := slices.DeleteFunc(t.asked, func(m *member) bool { return m.at < 0 })
	t.asked, t.flight = nil, false
	return asked
}

// askAgain has the next request settle what the one in flight did not.
func (t *topic) askAgain() {
	for _, m := range t.answered() {
		t.wait(m)
	}
}

func (h *Hub) clearTopicsLocked() {
	for k := range h.topics {
		h.topics[k] = map[string]*topic{}
	}
	h.dirty = nil
}

// joinLocked makes name part of s on behalf of c, which waits for it unless
// it is confirmed already.
func (h *Hub) joinLocked(s *Subscription, name string, c *call) {
	m := s.members[name]
	if m != nil && m.leave != nil {
		h.leaveLocked(m)
		m = nil
	}
	if m == nil {
		m = h.newMemberLocked(s, name)
	}
	m.refs++
	c.members = append(c.members, m)
	if !m.live {
		c.pending++
		m.calls = append(m.calls, c)
	}
}

func (h *Hub) newMemberLocked(s *Subscription, name string) *member {
	t := h.topics[s.kind][name]
	if t == nil {
		t = &topic{kind: s.kind, name: name}
		h.topics[s.kind][name] = t
	}
	m := &member{topic: t, sub: s, at: len(t.members)}
	t.members = append(t.members, m)
	s.members[name] = m
	if t.staying++; t.staying == 1 {
		h.wanted++
	}
	t.wait(m)
	h.touchLocked(t)
	return m
}

// partLocked makes a member leave once the server has sent all that it is to get, which is at once if it gets nothing.
func (h *Hub) partLocked(m *member, l *leave) {
	if !m.live || h.session == nil {
		h.leaveLocked(m)
		return
	}
	if m.leave == nil {
		m.leave = l
		l.pending++
		h.unwantLocked(m.topic)
		m.topic.wait(m)
		h.touchLocked(m.topic)
	}
}

// unwantLocked notes that one more member does not stay.
func (h *Hub) unwantLocked(t *topic) {
	if t.staying--; t.staying == 0 {
		h.wanted--
		h.touchLocked(t)
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
	t.unwait(m)
	m.at, m.live = -1, false
	delete(m.sub.members, t.name)
	h.healLocked(m)
	h.settleCallsLocked(m)
	if l := m.leave; l == nil {
		h.unwantLocked(t)
	} else if l.pending--; l.pending == 0 {
		close(l.done)
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
		if t.staying == 0 {
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

// changedLocked takes the server's answer in: those who have joined get what comes now, those who leave
// have got all.
func (h *Hub) changedLocked(t *topic, on bool) {
	t.on = on
	for _, m := range t.answered() {
		if m.leave != nil {
			h.leaveLocked(m)
			continue
		}
		m.live = true
		h.healLocked(m)
		h.settleCallsLocked(m)
	}
	if t.staying == 0 || len(t.waiting) > 0 {
		h.touchLocked(t)
	}
}

// refusedLocked fails those who wait for a topic, and the subscriptions that
// had it before the connection was lost. It returns err where the refusal is
// of the moment, so that the latter are better served by another attempt.
func (h *Hub) refusedLocked(t *topic, err error) error {
	t.askAgain()
	for _, m := range slices.Clone(t.waiting) {
		if m.leave != nil {
			h.leaveLocked(m)
		}
		for _, c := range slices.Clone(m.calls) {
			h.finishLocked(c, err)
		}
	}
	if t.on || t.staying == 0 {
		h.touchLocked(t)
		return nil
	}
	if transient(err) {
		return err
	}
	h.refusedAgainLocked(t, err)
	return nil
}

// loseLocked notes that the server forgot a topic. Nothing more comes for those who leave.
func (h *Hub) loseLocked(t *topic) {
	for _, m := range slices.Clone(t.members) {
		switch {
		case m.leave != nil:
			h.leaveLocked(m)
		case m.live:
			m.live, m.lost = false, true
			m.sub.lost++
			m.sub.interrupt(h.losses)
			t.wait(m)
		}
	}
	t.on = false
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
