package pubsub

import (
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// topic is a channel or pattern that has members or that the server sends. Hub.mu guards topics and members.
//
// A member joins or leaves at a point in the server's stream: the confirmation of a request that was sent afterwards.
// Earlier messages are not delivered to a joining member, but are delivered to a leaving one. While other members
// stay, the request subscribes again, which changes nothing at the server. A topic has at most one request in flight.
// Members that arrive meanwhile wait for the next one.
type topic struct {
	kind    Kind
	name    string
	slot    int   // of a shard channel
	link    *link // carries it
	passes  filter
	members []*member
	staying int       // members that stay subscribed
	waiting []*member // members that join or leave, without a request yet
	asked   []*member // members that join or leave with the request in flight
	flight  *request  // the request in flight; nil: none
	on      bool      // the server has confirmed the subscription
	dirty   bool      // is in Hub.dirty
	alone   bool      // is requested separately, because the server refused it together with others

	refusals int // by nodes of a cluster that do not serve it, since the last confirmation
}

// member is the membership of a subscription in a topic.
type member struct {
	topic    *topic
	sub      *Subscription
	interest *interest
	at       int    // index in topic.members; -1 after it has left
	queue    int    // index in topic.waiting; -1 if it is not there
	live     bool   // receives messages
	lost     bool   // it was live when the connection was lost
	loss     uint64 // number of its last loss; 0: none
	leave    *leave // set while it leaves
}

// interest is a name of a subscription. It has one member in each topic that carries the name: in one topic, except for
// names of keyspace notifications in a cluster. It always has a member while it is in Subscription.interests.
type interest struct {
	name    string
	members []*member
	refs    int     // calls that added it and did not fail
	calls   []*call // the waiting ones of these calls
}

func (i *interest) forget(c *call) {
	i.calls = slices.DeleteFunc(i.calls, func(x *call) bool { return x == c })
}

// complete reports whether all members receive messages.
func (i *interest) complete() bool {
	return !slices.ContainsFunc(i.members, func(m *member) bool { return !m.live })
}

// leaves reports whether the subscription no longer wants the name.
func (i *interest) leaves() bool { return i.members[0].leave != nil }

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
func (t *topic) send(req *request) {
	for _, m := range t.waiting {
		m.queue = -1
	}
	t.asked, t.waiting, t.flight = t.waiting, nil, req
}

// answered returns the members of the request in flight that have not left.
func (t *topic) answered() []*member {
	asked := slices.DeleteFunc(t.asked, func(m *member) bool { return m.at < 0 })
	t.asked, t.flight = nil, nil
	return asked
}

// askAgain makes the members of the request in flight wait for the next one.
func (t *topic) askAgain() {
	for _, m := range t.answered() {
		t.wait(m)
	}
}

// joinLocked adds name to s for c, which waits for the confirmation unless the topic is confirmed already.
func (h *Hub) joinLocked(s *Subscription, name string, c *call) {
	i := s.interests[name]
	if i != nil && i.leaves() {
		h.dropLocked(i)
		i = nil
	}
	if i == nil {
		i = h.newInterestLocked(s, name)
	}
	i.refs++
	c.interests = append(c.interests, i)
	if !i.complete() {
		c.pending++
		i.calls = append(i.calls, c)
	}
}

func (h *Hub) newInterestLocked(s *Subscription, name string) *interest {
	i := &interest{name: name}
	s.interests[name] = i
	passes := everything
	if h.cfg.Cluster != nil {
		passes = filterOf(s.kind, name)
	}
	if passes != everything {
		h.notifyLocked(s, i)
	}
	if passes != notifications {
		h.enterLocked(s, i, h.topicLocked(s.kind, name, passes))
	}
	return i
}

// topicLocked returns the topic of a name, except the ones of keyspace notifications.
func (h *Hub) topicLocked(kind Kind, name string, passes filter) *topic {
	t := h.topics[kind][name]
	if t == nil {
		t = &topic{kind: kind, name: name, passes: passes}
		if kind == Shard {
			t.slot = command.Slot(name)
		}
		h.topics[kind][name] = t
	}
	if t.staying == 0 {
		h.placeLocked(t)
	}
	return t
}

// enterLocked makes a member of an interest wait for a topic.
func (h *Hub) enterLocked(s *Subscription, i *interest, t *topic) *member {
	m := &member{topic: t, sub: s, interest: i, at: len(t.members)}
	t.members = append(t.members, m)
	i.members = append(i.members, m)
	if t.staying++; t.staying == 1 {
		t.link.wanted++
	}
	t.wait(m)
	h.touchLocked(t)
	return m
}

// dropLocked removes all members of an interest.
func (h *Hub) dropLocked(i *interest) {
	for _, m := range slices.Clone(i.members) {
		h.leaveLocked(m)
	}
}

// partLocked makes a member leave after the server has sent all its messages. A member that receives none leaves at
// once.
func (h *Hub) partLocked(m *member, l *leave) {
	if !m.live || m.topic.link.session == nil {
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
		t.link.wanted--
		h.touchLocked(t)
	}
}

// leaveLocked removes a member, and the interest with its last one. Calls do not wait for it any more.
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
	i := m.interest
	if i.members = slices.DeleteFunc(i.members, func(x *member) bool { return x == m }); len(i.members) == 0 {
		delete(m.sub.interests, i.name)
		delete(h.notified, i)
	}
	h.healLocked(m)
	h.settleCallsLocked(i)
	if l := m.leave; l == nil {
		h.unwantLocked(t)
	} else if l.pending--; l.pending == 0 {
		close(l.done)
	}
}

// settleCallsLocked ends the wait of calls for an interest, if no member of it waits for a confirmation.
func (h *Hub) settleCallsLocked(i *interest) {
	if !i.complete() {
		return
	}
	calls := i.calls
	i.calls = nil
	for _, c := range calls {
		if c.pending--; c.pending == 0 {
			h.finishLocked(c, nil)
		}
	}
}

// touchLocked marks a topic whose state at the server may differ.
func (h *Hub) touchLocked(t *topic) {
	l := t.link
	if l.session == nil {
		// A new connection requests all topics.
		if t.staying == 0 {
			h.deleteLocked(t)
		}
		if l.wanted == 0 {
			l.wakeUp()
		}
		return
	}
	if !t.dirty {
		t.dirty = true
		l.dirty = append(l.dirty, t)
	}
	l.wakeUp()
}

// changedLocked processes the server's confirmation: joining members receive messages from now on, leaving members
// have received all.
func (h *Hub) changedLocked(t *topic, on bool) {
	t.on = on
	if on {
		t.refusals = 0
	}
	for _, m := range t.answered() {
		if m.leave != nil {
			h.leaveLocked(m)
			continue
		}
		m.live = true
		h.healLocked(m)
		h.settleCallsLocked(m.interest)
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
		for _, c := range slices.Clone(m.interest.calls) {
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
			m.live = false
			h.missLocked(m)
			t.wait(m)
		}
	}
	t.on = false
}

// missLocked records that a member misses messages until its topic is confirmed.
func (h *Hub) missLocked(m *member) {
	m.lost, m.loss = true, h.losses
	m.sub.lost++
	m.sub.interrupt(h.losses)
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
