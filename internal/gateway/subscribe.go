package gateway

import (
	"context"
	"maps"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/resp"
)

var kinds = [...]pubsub.Kind{session.Channel: pubsub.Channel, session.Pattern: pubsub.Pattern, session.Shard: pubsub.Shard}

// subscriptions are the topics of a client, by the user of the engine who subscribed. The client's lock guards them.
type subscriptions struct {
	byUser map[string]*pubsub.Listening // by token
	ticket *ticket                      // of the subscription without a confirmation
}

// listen returns the subscriptions of a user.
func (s *subscriptions) listen(e *engine.Engine, token string, to pubsub.Listener) *pubsub.Listening {
	if l := s.byUser[token]; l != nil {
		return l
	}
	if s.byUser == nil {
		s.byUser = map[string]*pubsub.Listening{}
	}
	l := e.Hub(token).Listen(to)
	s.byUser[token] = l
	return l
}

// has reports whether a user has subscriptions, or had some since the last close.
func (s *subscriptions) has(token string) bool { return s.byUser[token] != nil }

// confirm notes that the subscription is confirmed or has failed.
func (s *subscriptions) confirm(p *pauseControl) {
	p.leave(s.ticket)
	s.ticket = nil
}

// close ends all subscriptions.
func (s *subscriptions) close() {
	for _, l := range s.byUser {
		l.Close()
	}
	s.byUser = nil
}

// subscribe subscribes the client to the step's topics and waits for the confirmation. The output keeps earlier
// messages back until the reply.
func (w *worker) subscribe(ctx context.Context) ([][]byte, error) {
	c := w.c
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return nil, context.Canceled
	}
	topics := c.subscriptions.listen(c.g.engine, c.login.token, (*subscriber)(c))
	c.out.HoldPushes()
	c.mu.Unlock()

	for kind, list := range byKind(w.step.Topics) { // there is one kind
		if err := topics.Add(ctx, kinds[kind], list); err != nil {
			if frame, ok := serverErrorFrame(err); ok && !w.userRefused(ctx, err) {
				return [][]byte{frame}, nil
			}
			return nil, err
		}
	}
	return nil, nil
}

// answer removes the topics that the step ends, after all their messages are delivered, and returns the reply.
func (w *worker) answer(ctx context.Context) ([][]byte, error) {
	c := w.c
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.subscriptions.byUser))
	c.mu.Unlock()
	names := byKind(leaving(w.step))
	for _, l := range all {
		for kind, list := range names {
			l.Leave(ctx, kinds[kind], list...)
		}
	}
	if len(w.step.Reply) == 0 {
		return nil, nil
	}
	return [][]byte{w.step.Reply}, nil
}

func byKind(topics []session.Topic) map[session.TopicKind][]string {
	names := map[session.TopicKind][]string{}
	for _, topic := range topics {
		names[topic.Kind] = append(names[topic.Kind], topic.Name)
	}
	return names
}

// confirmLocked sends the reply that announces messages, and then the messages that were kept back.
func (c *client) confirmLocked(s *pendingReply) {
	c.out.Append(s.reply, false)
	s.reply = nil
	c.out.ReleasePushes()
}

// subscriber is a client as package pubsub sees it.
type subscriber client

// Deliver receives a message from the hub.
func (c *subscriber) Deliver(kind pubsub.Kind, topic string, channel, payload []byte) {
	if s := c.leaving.Load(); s != nil && s.hold(kind, topic, channel, payload) {
		return
	}
	if c.out.PushMessage(c.g.settings.Load().OutputBuffer, func(dst []byte, resp3 bool) []byte {
		return appendMessage(dst, resp3, kind, topic, channel, payload)
	}) {
		c.g.count.slow.Add(1)
	}
}

// appendMessage appends a message of a topic, as a server sends it to a subscriber.
func appendMessage(dst []byte, resp3 bool, kind pubsub.Kind, topic string, channel, payload []byte) []byte {
	size := 3
	if kind == pubsub.Pattern {
		size = 4
	}
	if resp3 {
		dst = append(dst, '>', byte('0'+size), '\r', '\n')
	} else {
		dst = resp.AppendArrayHeader(dst, size)
	}
	switch kind {
	case pubsub.Pattern:
		dst = resp.AppendBulkString(dst, "pmessage")
		dst = resp.AppendBulkString(dst, topic)
	case pubsub.Shard:
		dst = resp.AppendBulkString(dst, "smessage")
	default:
		dst = resp.AppendBulkString(dst, "message")
	}
	dst = resp.AppendBulk(dst, channel)
	return resp.AppendBulk(dst, payload)
}

// Lost notes the loss of the hub's connection. Messages may be missing, as after any failover, and the client stays.
func (c *subscriber) Lost() { c.g.count.gaps.Add(1) }

// Refused handles the end of a subscription that the server does not allow any more. It closes the client, as a server
// does when rights change.
func (c *subscriber) Refused(pubsub.Kind, string, error) { c.out.Close() }
