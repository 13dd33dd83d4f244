package session

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// TopicKind is the kind of a subscription.
type TopicKind uint8

const (
	// Channel is the kind of SUBSCRIBE.
	Channel TopicKind = iota
	// Pattern is the kind of PSUBSCRIBE.
	Pattern
	// Shard is the kind of SSUBSCRIBE.
	Shard

	topicKinds = 3
)

var topicPrefix = [topicKinds]string{"", "p", "s"}

func (k TopicKind) String() string { return [...]string{"channel", "pattern", "shard channel"}[k] }

// Topic is a channel, pattern or shard channel of a subscription.
type Topic struct {
	Kind TopicKind
	Name string
}

// subscriptions are the topics to which a client is subscribed.
type subscriptions [topicKinds]topicSet

// total returns the number of topics.
func (s *subscriptions) total() int {
	return len(s[Channel].order) + len(s[Pattern].order) + len(s[Shard].order)
}

// replyCount returns the number in the reply to a subscription of a kind.
func (s *subscriptions) replyCount(kind TopicKind) int {
	if kind == Shard {
		return len(s[Shard].order)
	}
	return len(s[Channel].order) + len(s[Pattern].order)
}

// all returns the topics of each kind in the order of their subscription.
func (s *subscriptions) all() []Topic {
	var all []Topic
	for kind := range s {
		for _, name := range s[kind].names() {
			all = append(all, Topic{TopicKind(kind), name})
		}
	}
	return all
}

// topicSet is a set of names that keeps their order.
type topicSet struct {
	order map[string]uint64 // by name
	next  uint64
}

func (t *topicSet) has(name string) bool {
	_, ok := t.order[name]
	return ok
}

func (t *topicSet) add(name string) {
	if t.has(name) {
		return
	}
	if t.order == nil {
		t.order = make(map[string]uint64)
	}
	t.order[name] = t.next
	t.next++
}

func (t *topicSet) remove(name string) {
	if delete(t.order, name); len(t.order) == 0 {
		*t = topicSet{}
	}
}

// names returns the names in the order in which they were added.
func (t *topicSet) names() []string {
	names := make([]string, 0, len(t.order))
	for name := range t.order {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(t.order[a], t.order[b]) })
	return names
}

// subscriberMode reports whether the client may run only commands for subscribers: it has subscriptions and uses RESP2.
func (s *Session) subscriberMode() bool { return s.identity.Proto == 2 && s.subscriptions.total() > 0 }

func kindOf(r request) TopicKind {
	switch r.info.Name[0] {
	case 'P':
		return Pattern
	case 'S':
		if strings.HasPrefix(r.info.Name, "SS") || strings.HasPrefix(r.info.Name, "SUN") {
			return Shard
		}
	}
	return Channel
}

func (s *Session) subscribe(r request) Step {
	kind := kindOf(r)
	step := Step{Kind: Subscribe, Barrier: true, Info: r.info, onDone: (*Session).subscribed}
	added := make(map[string]bool)
	for _, arg := range r.args[1:] {
		topic := Topic{kind, string(arg)}
		step.requested = append(step.requested, topic)
		if !s.subscriptions[kind].has(topic.Name) && !added[topic.Name] {
			added[topic.Name] = true
			step.Topics = append(step.Topics, topic)
		}
	}
	limit := cmp.Or(s.cfg.MaxTopics, DefaultMaxTopics)
	if s.subscriptions.total()+len(step.Topics) > limit {
		return failure(fmt.Sprintf("respool: a client may have no more than %d subscriptions", limit))
	}
	return step
}

// subscribed returns the replies to a completed Subscribe. If there is a frame, it is the server's error reply.
func (s *Session) subscribed(step *Step, frames [][]byte) Outcome {
	if len(frames) > 0 && isError(frames[0]) {
		if step.Silent {
			return Outcome{}
		}
		return Outcome{Reply: frames[0]}
	}
	var reply []byte
	for i := range step.requested {
		topic := &step.requested[i]
		s.subscriptions[topic.Kind].add(topic.Name)
		reply = s.subscriptions.appendConfirmation(reply, s.protocol(), "subscribe", topic.Kind, &topic.Name)
	}
	return Outcome{Reply: reply}
}

func (s *Session) unsubscribe(r request) Step {
	kind := kindOf(r)
	step := Step{Kind: Unsubscribe, Barrier: true, Info: r.info}
	set := &s.subscriptions[kind]
	names := make([]string, 0, len(r.args)-1)
	for _, arg := range r.args[1:] {
		names = append(names, string(arg))
	}
	if len(r.args) == 1 {
		names = set.names()
	}
	for i := range names {
		if set.has(names[i]) {
			set.remove(names[i])
			step.Topics = append(step.Topics, Topic{kind, names[i]})
		}
		step.Reply = s.subscriptions.appendConfirmation(step.Reply, s.protocol(), "unsubscribe", kind, &names[i])
	}
	if len(names) == 0 {
		step.Reply = s.subscriptions.appendConfirmation(nil, s.protocol(), "unsubscribe", kind, nil)
	}
	return step
}

// appendConfirmation appends the push that confirms a change of the subscriptions. name is nil if there was no topic to
// unsubscribe from.
func (s *subscriptions) appendConfirmation(dst []byte, p protocol, verb string, kind TopicKind, name *string) []byte {
	dst = p.appendPushHeader(dst, 3)
	dst = resp.AppendBulkString(dst, topicPrefix[kind]+verb)
	if name != nil {
		dst = resp.AppendBulkString(dst, *name)
	} else {
		dst = append(dst, p.null()...)
	}
	return appendInteger(dst, int64(s.replyCount(kind)))
}
