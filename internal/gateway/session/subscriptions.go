package session

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// TopicKind says what a subscription matches.
type TopicKind uint8

const (
	// Channel is what SUBSCRIBE subscribes to.
	Channel TopicKind = iota
	// Pattern is what PSUBSCRIBE subscribes to.
	Pattern
	// Shard is what SSUBSCRIBE subscribes to.
	Shard

	topicKinds = 3
)

var topicPrefix = [topicKinds]string{"", "p", "s"}

func (k TopicKind) String() string { return [...]string{"channel", "pattern", "shard channel"}[k] }

// Topic is what a client subscribes to.
type Topic struct {
	Kind TopicKind
	Name string
}

// topicSet remembers the order in which topics came.
type topicSet struct {
	at   map[string]uint64
	next uint64
}

func (t *topicSet) has(name string) bool {
	_, ok := t.at[name]
	return ok
}

func (t *topicSet) add(name string) {
	if t.has(name) {
		return
	}
	if t.at == nil {
		t.at = make(map[string]uint64)
	}
	t.at[name] = t.next
	t.next++
}

func (t *topicSet) remove(name string) {
	if delete(t.at, name); len(t.at) == 0 {
		*t = topicSet{}
	}
}

// names are in the order in which they came.
func (t *topicSet) names() []string {
	names := make([]string, 0, len(t.at))
	for name := range t.at {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(t.at[a], t.at[b]) })
	return names
}

// Subscriptions is how many channels, patterns and shard channels the client is subscribed to.
func (s *Session) Subscriptions() (channels, patterns, shards int) {
	return len(s.topics[Channel].at), len(s.topics[Pattern].at), len(s.topics[Shard].at)
}

// restricted is whether RESP2 leaves a subscriber nothing but subscriptions.
func (s *Session) subscriberMode() bool {
	return s.identity.Proto == 2 && len(s.topics[Channel].at)+len(s.topics[Pattern].at)+len(s.topics[Shard].at) > 0
}

// count is the number that replies to subscriptions of a kind hold.
func (s *Session) subscriptionCount(kind TopicKind) int {
	channels, patterns, shards := s.Subscriptions()
	if kind == Shard {
		return shards
	}
	return channels + patterns
}

func (s *Session) allTopics() []Topic {
	var all []Topic
	for kind := range s.topics {
		for _, name := range s.topics[kind].names() {
			all = append(all, Topic{TopicKind(kind), name})
		}
	}
	return all
}

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
	fresh := make(map[string]bool)
	for _, arg := range r.args[1:] {
		topic := Topic{kind, string(arg)}
		step.requested = append(step.requested, topic)
		if !s.topics[kind].has(topic.Name) && !fresh[topic.Name] {
			fresh[topic.Name] = true
			step.Topics = append(step.Topics, topic)
		}
	}
	limit := cmp.Or(s.cfg.MaxTopics, DefaultMaxTopics)
	channels, patterns, shards := s.Subscriptions()
	if channels+patterns+shards+len(step.Topics) > limit {
		return failure(fmt.Sprintf("respool: a client may have no more than %d subscriptions", limit))
	}
	return step
}

// subscribed makes the replies of a Subscribe that all subscriber conns have confirmed. A
// frame, if there is one, is the error by which a server refused it.
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
		s.topics[topic.Kind].add(topic.Name)
		reply = s.appendTopic(reply, "subscribe", topic.Kind, &topic.Name)
	}
	return Outcome{Reply: reply}
}

func (s *Session) unsubscribe(r request) Step {
	kind := kindOf(r)
	step := Step{Kind: Unsubscribe, Barrier: true, Info: r.info}
	set := &s.topics[kind]
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
		step.Reply = s.appendTopic(step.Reply, "unsubscribe", kind, &names[i])
	}
	if len(names) == 0 {
		step.Reply = s.appendTopic(nil, "unsubscribe", kind, nil)
	}
	return step
}

// appendTopic appends the push that confirms a change. The name is nil where there was
// nothing to unsubscribe.
func (s *Session) appendTopic(dst []byte, verb string, kind TopicKind, name *string) []byte {
	if s.identity.Proto == 3 {
		dst = appendHeader(dst, '>', 3)
	} else {
		dst = appendHeader(dst, '*', 3)
	}
	dst = resp.AppendBulkString(dst, topicPrefix[kind]+verb)
	if name != nil {
		dst = resp.AppendBulkString(dst, *name)
	} else {
		dst = append(dst, s.null()...)
	}
	return appendInteger(dst, int64(s.subscriptionCount(kind)))
}
