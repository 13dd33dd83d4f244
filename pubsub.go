package respool

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
)

// ErrSubscriptionClosed means that the Subscription is closed.
var ErrSubscriptionClosed = engine.ErrSubscriptionClosed

// Message is one message of a channel. If Gap is set, messages are missing at this position.
type Message struct {
	Channel string
	Pattern string // the matching pattern of PSubscribe
	Payload string
	Gap     *Gap // nil for a message
}

// The causes of gaps.
const (
	GapReconnected    = pubsub.Reconnected    // the connection broke, or a channel moved to another node; the client subscribed again
	GapSlowSubscriber = pubsub.SlowSubscriber // the buffer was full
)

// Gap takes the place of messages that a subscription lost. Messages received before it were sent
// before the lost ones, and messages received after it were sent after them.
type Gap struct {
	Lost  int    // the number of lost messages; -1 if it is unknown
	Cause string // GapReconnected or GapSlowSubscriber
}

// Subscription receives the messages of its channels. All subscriptions of a client share one
// connection. If that connection breaks, the client opens another one and subscribes again, and
// each Subscription receives a Gap.
//
// In a cluster, shard channels use one connection for each node that serves one of them. A
// Subscription may have channels on several nodes. If a channel's slot moves, the client subscribes
// at the new node, and the Subscription receives a Gap.
//
// In a cluster, each primary publishes the keyspace notifications of its own keys only. So channels
// that begin with __keyspace@ or __keyevent@, and patterns that can match these, are subscribed at
// all primaries, with one connection for each. A Subscription receives each notification once, and a
// Gap when there is another primary.
//
// It buffers up to Options.SubscriptionBuffer messages for a slow receiver. When the buffer is
// full, the client drops newer messages and replaces them by a Gap with their exact number. That
// delays neither the connection nor other subscriptions.
//
// All methods are safe for concurrent use. The caller must close it.
type Subscription struct {
	sub *pubsub.Subscription
}

// Subscribe subscribes to channels and waits until the server has confirmed each; ctx and
// Options.SocketTimeout limit the wait. If the server refuses one channel, none is subscribed, and
// the error is a *ServerError. While the node is down, it returns the error of the dial at once. In a
// cluster it waits for another node, for at most Options.WaitTimeout.
//
// The first subscription opens the connection of all subscriptions, and the last one closes it.
// That connection counts against MaxConnections. With MaxConnections 1, it leaves none for
// commands. In a cluster it leads to any primary, and moves if that node fails or leaves the
// cluster. Keyspace notifications use further connections: see Subscription.
func (c *Client) Subscribe(ctx context.Context, channels ...string) (*Subscription, error) {
	return c.subscribe(ctx, pubsub.Channel, channels)
}

// PSubscribe subscribes to the channels that match glob patterns, with the rules of Subscribe. A
// message arrives once for each matching pattern.
func (c *Client) PSubscribe(ctx context.Context, patterns ...string) (*Subscription, error) {
	return c.subscribe(ctx, pubsub.Pattern, patterns)
}

// SSubscribe subscribes to shard channels (Redis 7 and later), with the rules of Subscribe. In a
// cluster the channels may have any slots. If a node does not serve a channel, as in a failover, it
// waits for the next node.
func (c *Client) SSubscribe(ctx context.Context, channels ...string) (*Subscription, error) {
	return c.subscribe(ctx, pubsub.Shard, channels)
}

func (c *Client) subscribe(ctx context.Context, kind pubsub.Kind, names []string) (*Subscription, error) {
	sub, err := c.engine.Subscribe(ctx, kind, names)
	if err != nil {
		return nil, wrapSubscription(err)
	}
	return &Subscription{sub}, nil
}

// wrapSubscription is wrapError for errors of a hub. It adds the package name to errors that only
// subscriptions return.
func wrapSubscription(err error) error {
	if errors.Is(err, pubsub.ErrNoNames) || errors.Is(err, pubsub.ErrReceive) {
		return fmt.Errorf("respool: %w", err)
	}
	return wrapError(engine.WrapError(err))
}

// Add subscribes to more channels, or patterns, with the rules of Subscribe. After an error, the
// names that Add would have added are not subscribed. The subscription receives no message of these
// names that was published before the call.
func (s *Subscription) Add(ctx context.Context, names ...string) error {
	return wrapSubscription(s.sub.Add(ctx, names...))
}

// Remove unsubscribes from channels, or patterns. None of their messages arrives afterwards;
// messages that arrived before remain to be received. It does not block, and ignores names that are
// not subscribed.
func (s *Subscription) Remove(names ...string) error {
	return wrapSubscription(s.sub.Remove(names...))
}

// Receive waits for the next message or gap until ctx ends. Several goroutines may wait: each
// message goes to one of them. After Close it returns ErrSubscriptionClosed, and after Close of the
// client ErrClosed. If the server refuses to subscribe again after a lost connection, Receive
// returns that *ServerError after the messages that had arrived.
func (s *Subscription) Receive(ctx context.Context) (Message, error) {
	m, err := s.sub.Receive(ctx)
	if err != nil {
		return Message{}, wrapSubscription(err)
	}
	message := Message{Channel: m.Channel, Pattern: m.Pattern, Payload: m.Payload}
	if m.Gap != nil {
		message.Gap = &Gap{Lost: m.Gap.Lost, Cause: m.Gap.Cause}
	}
	return message, nil
}

// Messages ranges over the messages that Receive returns, until ctx ends or the subscription is
// closed. The error is the last element.
func (s *Subscription) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := s.Receive(ctx)
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the subscription and drops messages that were not received. A waiting Receive returns.
// It does not block. Another call does nothing.
func (s *Subscription) Close() error { return s.sub.Close() }
