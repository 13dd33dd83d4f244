package pubsub

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// session is the state of one connection. Hub.mu guards its mutable fields.
type session struct {
	link *link
	conn *pool.Conn
	lane *lane.Lane

	sent    []*request // requests without a reply, in the order of their bytes
	settled bool       // all topics have been confirmed once
	broken  bool       // the server's bytes cannot be trusted any more
	reauth  *reauth    // nil: none
	moved   []move     // to report to the cluster

	heard   uint64    // frames received
	pinged  time.Time // time of the last PING
	oldest  *request  // the oldest request at the last check
	heardAt uint64    // heard at the last check

	doubtedAt uint64 // heard at the last doubt
}

type verb uint8

const (
	subscribe verb = iota
	unsubscribe
	ping
	authenticate
)

// request is a command with a pending reply: one confirmation for each topic, or one error for all.
type request struct {
	verb   verb
	topics []*topic
	acked  int
}

// awaits reports whether the confirmation belongs to the next topic of the request.
func (r *request) awaits(v verb, k Kind, name []byte) bool {
	if r.verb != v {
		return false
	}
	t := r.topics[r.acked]
	return t.kind == k && t.name == string(name)
}

// commandName is the command by verb and kind. Confirmations contain the same names in lower case.
var commandName = [...][kinds]string{
	subscribe:   {Channel: "SUBSCRIBE", Pattern: "PSUBSCRIBE", Shard: "SSUBSCRIBE"},
	unsubscribe: {Channel: "UNSUBSCRIBE", Pattern: "PUNSUBSCRIBE", Shard: "SUNSUBSCRIBE"},
}

// batch is the maximum number of names in one command.
const batch = 256

// group identifies the topics that one command may contain. In a cluster, all shard channels of a command have the same
// slot.
type group struct {
	verb verb
	kind Kind
	slot int
}

// commandsLocked encodes the changes that the server needs, and records them as sent.
func (h *Hub) commandsLocked(s *session) []byte {
	dirty := s.link.dirty
	if len(dirty) == 0 {
		return nil
	}
	s.link.dirty = nil
	var out []byte
	var groups []group // in the order of their first topics
	lists := map[group][]*topic{}
	for _, t := range dirty {
		if t.link != s.link || !t.dirty {
			continue // it has moved
		}
		t.dirty = false
		if t.flight != nil {
			continue // the reply marks it again
		}
		v := subscribe
		switch {
		case t.staying > 0 && t.on && len(t.waiting) == 0:
			continue // the state is right already
		case t.staying > 0:
		case t.on:
			v = unsubscribe
		default:
			h.deleteLocked(t)
			continue
		}
		if t.alone {
			out = s.append(out, v, t.kind, []*topic{t})
			continue
		}
		g := group{v, t.kind, 0}
		if h.cfg.Cluster != nil {
			g.slot = t.slot
		}
		list := append(lists[g], t)
		if len(list) == 1 {
			groups = append(groups, g)
		}
		if lists[g] = list; len(list) == batch {
			out = s.append(out, v, t.kind, list)
			lists[g] = nil
		}
	}
	for _, g := range groups {
		if list := lists[g]; len(list) > 0 {
			out = s.append(out, g.verb, g.kind, list)
			lists[g] = nil
		}
	}
	return out
}

func (s *session) append(out []byte, v verb, k Kind, topics []*topic) []byte {
	req := &request{verb: v, topics: topics}
	s.sent = append(s.sent, req)
	for _, t := range topics {
		t.send(req)
	}
	out = resp.AppendArrayHeader(out, 1+len(topics))
	out = resp.AppendBulkString(out, commandName[v][k])
	for _, t := range topics {
		out = resp.AppendBulkString(out, t.name)
	}
	return out
}

// checkLocked returns an error if a reply is pending and nothing arrived for a whole period; else it returns the PING
// to send.
func (h *Hub) checkLocked(s *session, now time.Time, period time.Duration) ([]byte, error) {
	head := s.head()
	if head != nil && head == s.oldest && s.heard == s.heardAt {
		return nil, &lane.StallError{Silent: period}
	}
	var out []byte
	if every := h.cfg.HealthCheck; every > 0 && head == nil && now.Sub(s.pinged) >= every-every/8 {
		out = h.pingLocked(s, now)
		head = s.head()
	}
	s.oldest, s.heardAt = head, s.heard
	return out, nil
}

// doubt returns the ping to send after another connection became silent.
func (h *Hub) doubt(s *session) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.doubtedAt = s.heard
	if s.head() != nil {
		return nil // a reply is pending already
	}
	return h.pingLocked(s, time.Now())
}

// judge fails a connection that received nothing since doubt.
func (h *Hub) judge(s *session, patience time.Duration) {
	h.mu.Lock()
	silent := s.heard == s.doubtedAt
	h.mu.Unlock()
	if silent {
		s.lane.Fail(&lane.StallError{Silent: patience, Reason: lane.NoPong})
	}
}

func (h *Hub) pingLocked(s *session, now time.Time) []byte {
	s.pinged = now
	s.sent = append(s.sent, &request{verb: ping})
	raw, _ := resp.AppendCommand(nil, h.cfg.Ping)
	return raw
}

func (s *session) head() *request {
	if len(s.sent) == 0 {
		return nil
	}
	return s.sent[0]
}

func (s *session) pop() {
	s.sent[0] = nil
	s.sent = s.sent[1:]
}

// receive processes a frame. It runs on the lane's reader goroutine.
func (h *Hub) receive(s *session, frame []byte) {
	h.mu.Lock()
	if s.link.session != s || s.broken {
		h.mu.Unlock()
		return
	}
	s.heard++
	err := h.handleLocked(s, frame)
	s.broken = err != nil
	s.settled = s.settled || len(s.sent) == 0 && len(s.link.dirty) == 0
	if s.reauth != nil && len(s.sent) == 0 {
		s.link.wakeUp()
	}
	moved := s.moved
	s.moved = nil
	h.mu.Unlock()
	for _, m := range moved {
		h.cfg.Cluster.Refused(s.link.source, m.slot, m.err)
	}
	if err != nil {
		s.lane.Fail(err)
	}
}

// parts are the first elements of a frame.
type parts struct {
	n    int // number of elements in the frame
	push bool
	text [4][]byte
}

func (h *Hub) handleLocked(s *session, frame []byte) error {
	head, err := resp.ReadHead(frame)
	if err != nil {
		return err
	}
	switch head.Kind {
	case resp.SimpleError, resp.BulkError:
		return h.errorLocked(s, resp.NewServerError(string(head.Str)))
	case resp.SimpleString:
		if s.awaits(authenticate) {
			h.reauthenticatedLocked(s, nil)
			return nil
		}
		return s.pong()
	case resp.Map:
		return s.pong()
	case resp.Array, resp.Push:
	default:
		return unexpected(head.Kind.String())
	}
	p := parts{n: int(head.Int), push: head.Kind == resp.Push}
	for i := range min(p.n, len(p.text)) {
		frame = frame[head.Size:]
		if head, err = resp.ReadHead(frame); err != nil {
			return err
		}
		if p.text[i] = head.Str; head.Str == nil {
			break // not a string: the hub does not need later elements
		}
	}
	return h.pushLocked(s, &p)
}

func (h *Hub) pushLocked(s *session, p *parts) error {
	switch string(p.text[0]) {
	case "message":
		return h.messageLocked(s, Channel, p, 3)
	case "pmessage":
		return h.messageLocked(s, Pattern, p, 4)
	case "smessage":
		return h.messageLocked(s, Shard, p, 3)
	case "subscribe":
		return h.answerLocked(s, subscribe, Channel, p)
	case "psubscribe":
		return h.answerLocked(s, subscribe, Pattern, p)
	case "ssubscribe":
		return h.answerLocked(s, subscribe, Shard, p)
	case "unsubscribe":
		return h.answerLocked(s, unsubscribe, Channel, p)
	case "punsubscribe":
		return h.answerLocked(s, unsubscribe, Pattern, p)
	case "sunsubscribe":
		return h.answerLocked(s, unsubscribe, Shard, p)
	case "pong":
		return s.pong()
	}
	if p.push {
		return nil // another kind of push
	}
	return unexpected("array")
}

// messageLocked delivers a message to every member of its topic.
func (h *Hub) messageLocked(s *session, k Kind, p *parts, want int) error {
	if p.n != want {
		return unexpected(string(p.text[0]))
	}
	t := s.link.topicLocked(k, p.text[1])
	if t == nil {
		return nil // no member is left, or another node serves it
	}
	channel, payload := p.text[want-2], p.text[want-1]
	if !t.passes.message(channel) {
		return nil // a topic at another node delivers it
	}
	var msg *Message // shared by the members that keep it
	for _, m := range t.members {
		switch l := m.sub.listener; {
		case !m.live: // it joins later
		case l != nil:
			l.Deliver(k, t.name, channel, payload)
		case msg == nil:
			msg = newMessage(t, p)
			fallthrough
		default:
			m.sub.deliver(m, msg)
		}
	}
	return nil
}

func newMessage(t *topic, p *parts) *Message {
	if t.kind == Pattern {
		return &Message{Pattern: t.name, Channel: string(p.text[2]), Payload: string(p.text[3])}
	}
	return &Message{Channel: t.name, Payload: string(p.text[2])}
}

// answerLocked processes a confirmation.
func (h *Hub) answerLocked(s *session, v verb, k Kind, p *parts) error {
	if p.n != 3 {
		return unexpected(string(p.text[0]))
	}
	req := s.head()
	if req == nil || !req.awaits(v, k, p.text[1]) {
		if v == unsubscribe && k == Shard {
			h.endedLocked(s, s.link.topicLocked(k, p.text[1]))
			return nil
		}
		return unexpected(string(p.text[0]))
	}
	t := req.topics[req.acked]
	if req.acked++; req.acked == len(req.topics) {
		s.pop()
	}
	if t.flight == req { // else it has moved
		h.changedLocked(t, v == subscribe)
	}
	return nil
}

// errorLocked processes an error reply to the oldest request.
func (h *Hub) errorLocked(s *session, err error) error {
	req := s.head()
	if h.cfg.Cluster != nil && req.orphans(err) {
		return nil
	}
	if req == nil || req.acked > 0 && !movedReply(err) {
		return err
	}
	if req.verb == authenticate {
		h.reauthenticatedLocked(s, err)
		return nil
	}
	s.pop()
	topics := req.unanswered()
	switch {
	case req.verb == ping || len(topics) == 0: // any reply proves liveness
	case req.verb == unsubscribe:
		// Later messages of the topics have no members. A new subscription works as usual.
		for _, t := range topics {
			h.changedLocked(t, false)
		}
	case h.cfg.Cluster != nil && topics[0].kind == Shard && (movedReply(err) || transient(err)):
		h.postponeLocked(s, topics, err)
	case len(topics) > 1:
		// One of the topics may cause the refusal: request each one separately.
		for _, t := range topics {
			t.alone = true
			t.askAgain()
			h.touchLocked(t)
		}
	default:
		return h.refusedLocked(topics[0], err)
	}
	return nil
}

// transient reports whether a refusal is temporary.
func transient(err error) bool {
	var se *resp.ServerError
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code {
	case "BUSY", "LOADING", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN":
		return true
	}
	return false
}

func (s *session) pong() error {
	req := s.head()
	if req == nil || req.verb != ping {
		return unexpected("pong")
	}
	s.pop()
	return nil
}

// unexpected returns the error for a frame that breaks the protocol. It does not quote the frame, which may be a
// user's message.
func unexpected(what string) error {
	return fmt.Errorf("the server sent a frame that the subscriber does not expect here: %s", what)
}
