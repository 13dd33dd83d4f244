// Package pubsub carries any number of subscriptions over one connection, and in a cluster over one more for each node
// that serves shard channels or sends keyspace notifications. It counts the subscriptions of each channel and sends
// SUBSCRIBE for the first and UNSUBSCRIBE for the last one. It subscribes again after a lost connection or a move of a
// slot, and delivers each message to all its subscriptions. A gap replaces messages that were or may have been lost.
//
// It never waits for a subscriber: a full buffer drops messages and counts them. It does not watch the keyspace, or
// choose nodes: a Source leases connections, and a Cluster states which Source serves a slot.
//
// A Hub owns one goroutine for each connection while there are subscriptions; Close waits for them. The lane's reader
// goroutine delivers the messages.
package pubsub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

var (
	// ErrClosed is the error of a closed subscription. After the client was closed the error is pool.ErrClosed
	// instead.
	ErrClosed = errors.New("the subscription is closed")
	// ErrReceive is matched by the error of a Receive whose ctx ended, which also matches the error of ctx.
	ErrReceive = errors.New("receive")
	// ErrNoNames is the error of a request without a channel or pattern.
	ErrNoNames = errors.New("subscribe: no channel or pattern given")
)

// Kind is the kind of a subscription's names.
type Kind uint8

// The kinds of subscriptions.
const (
	Channel Kind = iota // SUBSCRIBE
	Pattern             // PSUBSCRIBE
	Shard               // SSUBSCRIBE
	kinds
)

// Source leases the connection. *pool.Pool is a Source. Sources are comparable.
type Source interface {
	AcquireSubscriber(ctx context.Context) (*pool.Conn, error)
}

// Cluster distributes shard channels and keyspace notifications over the nodes of a Redis Cluster. Its methods must not
// block.
type Cluster interface {
	// Primaries returns the source of connections to each primary now, each once. They are those of Source, and differ
	// from the hub's own source.
	Primaries() []Source
	// Source returns the source of connections to the node that serves a slot now. Channels with equal sources share a
	// connection.
	Source(slot int) Source
	// Refused reports that the node of a source does not serve the shard channels of a slot. err is its reply to
	// SSUBSCRIBE. It is nil if the node ended their subscription.
	Refused(by Source, slot int, err error)
}

// Config configures a Hub.
type Config struct {
	Cluster       Cluster       // nil: none
	Addr          string        // address of the node, for errors
	Buffer        int           // capacity of a subscription in messages, at least 1
	ReconnectBase time.Duration // first pause before a new connection; it doubles; 0: 10 ms
	ReconnectCap  time.Duration // longest pause; 0: one second
	HealthCheck   time.Duration // interval of pings; 0: no pings
	Ping          []any         // the command of a ping: PING, or under RESP3 HELLO; nil: PING
	ReplyTimeout  time.Duration // limit of the wait for a confirmation, in addition to ctx; 0: only ctx
	RefusalLimit  time.Duration // how long a call waits while nodes of a cluster do not serve its shard channels; 0: no limit
	StallLimit    time.Duration // limit of silence while a reply is pending, or HealthCheck if that is shorter; 0: HealthCheck
}

// Hub shares connections among all subscriptions. All methods are safe for concurrent use. The caller must close it.
type Hub struct {
	source Source // of all topics except a cluster's shard channels and keyspace notifications
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// mu is never held during calls of the lane or the pool that may call the hub. Subscription.mu may be taken while
	// mu is held.
	mu     sync.Mutex
	topics [kinds]map[string]*topic // except those of keyspace notifications: see link
	links  map[Source]*link
	subs   map[*Subscription]struct{}
	losses uint64 // number of losses of confirmed subscriptions
	calls  int    // calls that wait for the server
	closed bool

	notified  map[*interest]*Subscription // interests in keyspace notifications
	primaries []Source                    // the sources of their topics
}

// New returns a Hub. It opens no connection before the first subscription.
func New(source Source, cfg Config) *Hub {
	cfg.Buffer = max(cfg.Buffer, 1)
	if cfg.Ping == nil {
		cfg.Ping = []any{"PING"}
	}
	if cfg.ReconnectBase <= 0 {
		cfg.ReconnectBase = 10 * time.Millisecond
	}
	if cfg.ReconnectCap <= 0 {
		cfg.ReconnectCap = time.Second
	}
	h := &Hub{
		source: source, cfg: cfg, links: map[Source]*link{}, subs: map[*Subscription]struct{}{},
		notified: map[*interest]*Subscription{},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	for k := range h.topics {
		h.topics[k] = map[string]*topic{}
	}
	return h
}

// Subscribe returns a subscription to names. It blocks until the server has confirmed each. ctx and
// Config.ReplyTimeout limit the wait. After an error nothing stays subscribed. While the node is down it returns the
// error of the dial. Without names it returns ErrNoNames. The caller must close the subscription.
func (h *Hub) Subscribe(ctx context.Context, kind Kind, names []string) (*Subscription, error) {
	s := newSubscription(h, kind)
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, pool.ErrClosed
	}
	h.subs[s] = struct{}{}
	h.mu.Unlock()
	if err := s.Add(ctx, names...); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends all subscriptions with pool.ErrClosed and destroys the connections. It blocks until the hub's goroutines
// have ended. The end of ctx breaks a connection that does not accept a write.
func (h *Hub) Close(ctx context.Context) {
	h.mu.Lock()
	h.shutLocked()
	h.mu.Unlock()
	stop := context.AfterFunc(ctx, h.cut)
	defer stop()
	h.wg.Wait()
}

func (h *Hub) shutLocked() {
	if h.closed {
		return
	}
	h.closed = true
	for s := range h.subs {
		h.endLocked(s, pool.ErrClosed, true)
	}
	h.cancel()
}

// cut closes the connections at once.
func (h *Hub) cut() {
	for _, s := range h.sessions() {
		s.lane.Fail(pool.ErrClosed)
	}
}

// call is an Add that waits for the server.
type call struct {
	interests []*interest // the interests that it added
	pending   int         // number of unconfirmed interests
	waits     bool        // counted in Hub.calls
	over      bool
	began     time.Time
	refusal   error // the last reply of a cluster's node that does not serve a channel now
	err       error
	done      chan struct{}
}

// membersLocked yields the members of the call's interests.
func (c *call) membersLocked() iter.Seq[*member] {
	return func(yield func(*member) bool) {
		for _, i := range c.interests {
			for _, m := range i.members {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// add adds names to s and waits for their confirmation.
func (h *Hub) add(ctx context.Context, s *Subscription, names []string) error {
	if err := ctx.Err(); err != nil {
		return &wire.Error{Op: "subscribe at", Addr: h.cfg.Addr, Err: err}
	}
	h.mu.Lock()
	if s.ended {
		h.mu.Unlock()
		return s.end()
	}
	c := &call{began: time.Now(), done: make(chan struct{})}
	for _, name := range names {
		h.joinLocked(s, name, c)
	}
	waits := c.pending > 0
	if waits {
		c.waits = true
		h.calls++
		for m := range c.membersLocked() {
			m.topic.link.startLocked()
			m.topic.link.wakeUp()
		}
	}
	h.mu.Unlock()
	if !waits {
		return nil
	}
	return h.await(ctx, c)
}

func (h *Hub) await(ctx context.Context, c *call) error {
	var timeout <-chan time.Time
	if h.cfg.ReplyTimeout > 0 {
		timer := time.NewTimer(h.cfg.ReplyTimeout)
		defer timer.Stop()
		timeout = timer.C
	}
	var cause error
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		cause = ctx.Err()
	case <-timeout:
		cause = &wire.TimeoutError{Text: fmt.Sprintf("no confirmation within the socket timeout of %v", h.cfg.ReplyTimeout)}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finishLocked(c, h.waitErrorLocked(c, cause))
	return c.err
}

func (h *Hub) waitErrorLocked(c *call, cause error) error {
	op, sent := "wait for the connection of the subscriptions to", false
	for m := range c.membersLocked() {
		if !m.live && m.topic.link.session != nil {
			op, sent = "wait for the confirmation of a subscription by", true
		}
	}
	if c.refusal != nil {
		cause = fmt.Errorf("%w; the last refusal was: %w", cause, c.refusal)
	}
	return &wire.Error{Op: op, Addr: h.cfg.Addr, Sent: sent, Err: cause}
}

// finishLocked ends a call. After an error it removes the names of the call, except those that another call of the
// subscription added as well.
func (h *Hub) finishLocked(c *call, err error) {
	if c.over {
		return
	}
	c.over, c.err = true, err
	if c.waits {
		h.calls--
	}
	if err != nil {
		for _, i := range c.interests {
			i.forget(c)
			if i.refs--; i.refs == 0 {
				h.dropLocked(i)
			}
		}
	}
	close(c.done)
}
