// Package pubsub carries any number of subscriptions over one connection to a
// node. It counts who wants a channel, tells the server of the first and of
// the last one, subscribes again after a lost connection, and hands each
// message to every subscription that asked for it. Where messages were or may
// have been lost, the subscription finds a gap in their place.
//
// It never waits for a subscriber: a buffer that is full loses messages, and
// counts them. It is not for keyspace policy, sharding or topology: it knows
// one Source of connections.
//
// A Hub owns one goroutine while there is anything subscribed, and Close
// waits for it. Messages are handed out on the goroutine of the lane's reader.
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
	// ErrClosed ends a subscription that was closed. Where the client was
	// closed it is pool.ErrClosed instead.
	ErrClosed = errors.New("the subscription is closed")
	// ErrReceive is a Receive whose ctx ended; that is its cause.
	ErrReceive = errors.New("receive")
	// ErrNoNames refuses a request without any channel or pattern.
	ErrNoNames = errors.New("subscribe: no channel or pattern given")
)

// Kind says what a subscription's names stand for.
type Kind uint8

// The kinds of subscriptions.
const (
	Channel Kind = iota // SUBSCRIBE
	Pattern             // PSUBSCRIBE
	Shard               // SSUBSCRIBE
	kinds
)

// Source lends the connection; a *pool.Pool is one.
type Source interface {
	AcquireSubscriber(ctx context.Context) (*pool.Conn, error)
}

// Config of a Hub.
type Config struct {
	Addr          string        // of the node, for errors
	Buffer        int           // messages that a subscription holds for its receiver, at least 1
	ReconnectBase time.Duration // pause before the first attempt to connect again; it doubles; 0: 10 ms
	ReconnectCap  time.Duration // and is no longer than this; 0: one second
	HealthCheck   time.Duration // ping so often, and expect its answer within that; 0: never
	Ping          []any         // what asks for a sign of life: PING, or under RESP3 HELLO; nil: PING
	ReplyTimeout  time.Duration // bounds the wait for a confirmation beside ctx; 0: ctx alone
	StallLimit    time.Duration // nothing read for so long while an answer is due: reconnect; 0: never
}

// Hub shares one connection among all subscriptions. All methods are safe for
// concurrent use.
type Hub struct {
	source Source
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1: there is something to send, or nothing left to do
	wg     sync.WaitGroup

	// mu is never held while the lane or the pool is called: what they do may
	// come back here. Subscription.mu may be taken under it.
	mu      sync.Mutex
	topics  [kinds]map[string]*topic
	wanted  int      // topics that have members
	dirty   []*topic // whose state may not be the one wanted
	subs    map[*Subscription]struct{}
	session *session // nil while there is no connection
	losses  uint64   // times that confirmed subscriptions were lost
	calls   int      // that wait for the server
	running bool
	closed  bool
}

// New makes a Hub. It does nothing until the first subscription.
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

// Subscribe makes a subscription to names and waits until the server has
// confirmed each, bounded by ctx and Config.ReplyTimeout. On an error nothing
// stays subscribed. While the node is down it returns the error of the dial.
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

// Close ends all subscriptions with pool.ErrClosed and gives the connection
// back. No goroutine is left when it returns. The end of ctx only cuts short
// a write that the connection does not take.
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

// cut ends the connection at once.
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
	members []*member // what it asked for
	pending int       // those that are not confirmed
	waits   bool      // it is one of Hub.calls
	over    bool
	err     error
	done    chan struct{}
}

// add makes names part of s and waits for their confirmation.
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

// finishLocked ends a call. On an error it takes back what the call asked for,
// except for names that another call of the subscription asked for as well.
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

// wakeUp makes the hub's goroutine look again.
func (h *Hub) wakeUp() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// startLocked makes sure that the hub's goroutine runs.
func (h *Hub) startLocked() {
	if !h.running {
		h.running = true
		h.wg.Go(h.run)
	}
}
