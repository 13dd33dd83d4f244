// Package pubsub carries any number of subscriptions over one connection to a node. It counts the subscriptions of
// each channel and sends SUBSCRIBE for the first and UNSUBSCRIBE for the last one. It subscribes again after a lost
// connection, and delivers each message to all its subscriptions. A gap replaces messages that were or may have been
// lost.
//
// It never waits for a subscriber: a full buffer drops messages and counts them. It does not watch the keyspace,
// distribute shards, or choose nodes: it uses one Source of connections.
//
// A Hub owns one goroutine while there are subscriptions; Close waits for it. The lane's reader goroutine delivers
// the messages.
package pubsub

import (
	"context"
	"errors"
	"fmt"
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

// Source leases the connection. *pool.Pool is a Source.
type Source interface {
	AcquireSubscriber(ctx context.Context) (*pool.Conn, error)
}

// Config configures a Hub.
type Config struct {
	Addr          string        // address of the node, for errors
	Buffer        int           // capacity of a subscription in messages, at least 1
	ReconnectBase time.Duration // first pause before a new connection; it doubles; 0: 10 ms
	ReconnectCap  time.Duration // longest pause; 0: one second
	HealthCheck   time.Duration // interval of pings; 0: no pings
	Ping          []any         // the command of a ping: PING, or under RESP3 HELLO; nil: PING
	ReplyTimeout  time.Duration // limit of the wait for a confirmation, in addition to ctx; 0: only ctx
	StallLimit    time.Duration // limit of silence while a reply is pending, or HealthCheck if that is shorter; 0: HealthCheck
}

// Hub shares one connection among all subscriptions. All methods are safe for concurrent use. The caller must close
// it.
type Hub struct {
	source Source
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1: something to send, or no subscription left
	wg     sync.WaitGroup

	// mu is never held during calls of the lane or the pool that may call the hub. Subscription.mu may be taken while
	// mu is held.
	mu      sync.Mutex
	topics  [kinds]map[string]*topic
	wanted  int      // topics with members
	dirty   []*topic // topics whose state at the server may differ
	subs    map[*Subscription]struct{}
	session *session // nil without a connection
	losses  uint64   // number of losses of confirmed subscriptions
	calls   int      // calls that wait for the server
	running bool
	closed  bool
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
	h := &Hub{source: source, cfg: cfg, wake: make(chan struct{}, 1), subs: map[*Subscription]struct{}{}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.clearTopicsLocked()
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

// Close ends all subscriptions with pool.ErrClosed and destroys the connection. It blocks until the hub's goroutine
// has ended. The end of ctx breaks a connection that does not accept a write.
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

// cut closes the connection at once.
func (h *Hub) cut() {
	h.mu.Lock()
	s := h.session
	h.mu.Unlock()
	if s != nil {
		s.lane.Fail(pool.ErrClosed)
	}
}

// call is an Add that waits for the server.
type call struct {
	members []*member // the members that it added
	pending int       // number of unconfirmed members
	waits   bool      // counted in Hub.calls
	over    bool
	err     error
	done    chan struct{}
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
	c := &call{done: make(chan struct{})}
	for _, name := range names {
		h.joinLocked(s, name, c)
	}
	waits := c.pending > 0
	if waits {
		c.waits = true
		h.calls++
		h.startLocked()
		h.wakeUp()
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
	h.finishLocked(c, h.waitErrorLocked(cause))
	return c.err
}

func (h *Hub) waitErrorLocked(cause error) error {
	op, sent := "wait for the confirmation of a subscription by", true
	if h.session == nil {
		op, sent = "wait for the connection of the subscriptions to", false
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
		for _, m := range c.members {
			m.forget(c)
			if m.refs--; m.refs == 0 {
				h.leaveLocked(m)
			}
		}
	}
	close(c.done)
}

// wakeUp wakes the hub's goroutine.
func (h *Hub) wakeUp() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// startLocked starts the hub's goroutine unless it runs.
func (h *Hub) startLocked() {
	if !h.running {
		h.running = true
		h.wg.Go(h.run)
	}
}
