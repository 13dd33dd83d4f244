package respool

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
)

// ErrSubscriptionClosed is given by a Subscription that was closed.
var ErrSubscriptionClosed = engine.ErrSubscriptionClosed

// Message is what a channel carried or, where Gap is set, the place where
// messages are missing.
type Message struct {
	Channel string
	Pattern string // the pattern that matched, of PSubscribe
	Payload string
	Gap     *Gap // nil for a message
}

// The causes of gaps.
const (
	GapReconnected    = pubsub.Reconnected    // the connection was lost and made again
	GapSlowSubscriber = pubsub.SlowSubscriber // the buffer was full
)

// Gap stands in the place of messages that were lost to a subscription: what
// is received before it was sent before them, what comes after it was sent after.
type Gap struct {
	Lost  int    // how many; -1 if nobody can tell
	Cause string // GapReconnected or GapSlowSubscriber
}

// Subscription receives what its channels carry. All subscriptions of a client
// share one connection. It survives the loss of that connection: everything is
// subscribed again, and a Gap tells that messages may be missing.
//
// It holds up to Options.SubscriptionBuffer messages for a slow receiver. When
// they are that many, newer ones are dropped, and a Gap with their exact number
// stands in their place; the connection and other subscriptions go on.
//
// All methods are safe for concurrent use. It has to be closed.
type Subscription struct {
	sub *pubsub.Subscription
}

// Subscribe subscribes to channels and waits until the server has confirmed
// each, bounded by ctx and Options.SocketTimeout. If one is refused none is
// subscribed, and the error is a *ServerError. While the node is down it
// returns the dial's error at once.
//
// The one connection of all subscriptions is taken with the first of them and
// given back with the last. It counts against MaxConnections, and with
// MaxConnections 1 it leaves none for commands.
func (c *Client) Subscribe(ctx context.Context, channels ...string) (*Subscription, error) {
	return c.subscribe(ctx, pubsub.Channel, channels)
}

// PSubscribe subscribes to the channels that match glob patterns, as Subscribe
// does. A message comes once for each pattern that matches.
func (c *Client) PSubscribe(ctx context.Context, patterns ...string) (*Subscription, error) {
	return c.subscribe(ctx, pubsub.Pattern, patterns)
}

// SSubscribe subscribes to shard channels (Redis 7 and later), as Subscribe does.
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

// wrapSubscription is wrapError for what a hub returns. It names the package in what only subscriptions return.
func wrapSubscription(err error) error {
	if errors.Is(err, pubsub.ErrNoNames) || errors.Is(err, pubsub.ErrReceive) {
		return fmt.Errorf("respool: %w", err)
	}
	return wrapError(engine.WrapError(err))
}

// Add subscribes to further channels, or patterns, as Subscribe does. On an
// error those names that were not there before are not there afterwards.
// Nothing arrives that was published before Add was called.
func (s *Subscription) Add(ctx context.Context, names ...string) error {
	return wrapSubscription(s.sub.Add(ctx, names...))
}

// Remove ends the subscription to some channels, or patterns. Nothing of them
// arrives afterwards; what arrived before is still received. It does not
// block, and ignores names that are not there.
func (s *Subscription) Remove(names ...string) error {
	return wrapSubscription(s.sub.Remove(names...))
}

// Receive waits for the next message or gap until ctx ends. Several may wait
// at once: each message goes to one of them. After Close it returns
// ErrSubscriptionClosed, and ErrClosed once the client is closed. Where the
// server refused to subscribe again after a lost connection, the
// *ServerError comes behind what had arrived.
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

// Messages ranges over what Receive gives until ctx ends or the subscription is
// closed, whose error is the last element.
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

// Close ends the subscription and drops what was not received. A waiting
// Receive returns. It does not block, and closing again is fine.
func (s *Subscription) Close() error { return s.sub.Close() }
