package pubsub

import "slices"

// topic is a channel or pattern that has members or that the server sends. Hub.mu guards topics and members.
//
// A member joins or leaves at a point in the server's stream: the confirmation of a request that was sent afterwards.
// Earlier messages are not delivered to a joining member, but are delivered to a leaving one. While other members
// stay, the request subscribes again, which changes nothing at the server. A topic has at most one request in flight.
// Members that arrive meanwhile wait for the next one.
type topic struct {
	kind    Kind
	name    string
	members []*member
	staying int       // members that stay subscribed
	waiting []*member // members that join or leave, without a request yet
	asked   []*member // members that join or leave with the request in flight
	flight  bool      // a request is in flight
	on      bool      // the server has confirmed the subscription
	dirty   bool      // is in Hub.dirty
	alone   bool      // is requested separately, because the server refused it together with others
}

// member is the membership of a subscription in a topic.
type member struct {
	topic *topic
	sub   *Subscription
	at    int     // index in topic.members; -1 after it has left
	queue int     // index in topic.waiting; -1 if it is not there
	live  bool    // receives messages
	lost  bool    // it was live when the connection was lost
	leave *leave  // set while it leaves
	refs  int     // calls that added it and did not fail
	calls []*call // the waiting ones of these calls
}

func (m *member) forget(c *call) {
	m.calls = slices.DeleteFunc(m.calls, func(x *call) bool { return x == c })
}

// leave waits until members have left.
type leave struct {
	pending int
	done    chan struct{}
}

// wait makes m wait for the next request of the topic.
func (t *topic) wait(m *member) {
	m.queue = len(t.waiting)
	t.waiting = append(t.waiting, m)
}

// unwait removes m from the members that wait for the next request.
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

// send records a request as sent.
func (t *topic) send() {
	for _, m := range t.waiting {
		m.queue = -1
	}
	t.asked, t.waiting, t.flight = t.waiting, nil, true
}

// answered returns the members of the request in flight that have not left.
func (t *topic) answered() []*member {
	asked := slices.DeleteFunc(t.asked, func(m *member) bool { return m.at < 0 })
	t.asked, t.flight = nil, false
	return asked
}

// askAgain makes the members of the request in flight wait for the next one.
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

// joinLocked adds name to s for c, which waits for the confirmation unless the topic is confirmed already.
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

// partLocked makes a member leave after the server has sent all its messages. A member that receives none leaves at
// once.
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

// unwantLocked records that a member does not stay.
func (h *Hub) unwantLocked(t *topic) {
	if t.staying--; t.staying == 0 {
		h.wanted--
		h.touchLocked(t)
	}
}

// leaveLocked removes a member. Calls do not wait for it any more.
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

// touchLocked marks a topic whose state at the server may differ.
func (h *Hub) touchLocked(t *topic) {
	if h.session == nil {
		// A new connection requests all topics.
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

// changedLocked processes the server's confirmation: joining members receive messages from now on, leaving members
// have received all.
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

// refusedLocked fails the members that wait for a topic, and the subscriptions that had it before the loss of the
// connection. It returns err if the refusal is temporary: another attempt is then better for these subscriptions.
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

// loseLocked records that the server forgot a topic. Leaving members have left.
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

// healLocked records that a member is confirmed again, or has left. After the last member of a subscription the gap
// becomes visible.
func (h *Hub) healLocked(m *member) {
	if !m.lost {
		return
	}
	m.lost = false
	if m.sub.lost--; m.sub.lost == 0 {
		m.sub.resume(h.losses)
	}
}
