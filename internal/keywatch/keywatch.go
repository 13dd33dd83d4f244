// Package keywatch notifies subscribers when a key of one node may have changed. It uses server-side invalidation:
// CLIENT TRACKING ON on a RESP3 connection, and EXISTS for the keys to track. The server then pushes the name of such a
// key at its next change, once, even if the key does not exist yet.
//
// After each push the package sends EXISTS again and notifies the subscribers when the reply is there, not before. A
// subscriber that then looks at the key finds a change made before the EXISTS, and the server pushes a later one. For
// the same reason it notifies when the key is tracked for the first time.
//
// The connection uses the default mode of CLIENT TRACKING. It sends no other command with keys, so the server tracks
// exactly the keys of its EXISTS. OPTIN would need CLIENT CACHING YES before each EXISTS for the same effect. BCAST would
// push every change of every key with a prefix, without end, also while nobody is interested. NOLOOP is not set: it
// concerns only changes by the connection itself, and this one makes none.
//
// The server tracks names without their database, so a change in any database notifies. It does not push at SWAPDB.
// As a last resort the package therefore notifies about each key every 10 s even without a push.
//
// The package does not read keys, does not wait, and does not choose nodes: it uses one Source of connections. It needs
// a connection besides the lanes, so a pool with a bound of 1 must not be its source.
//
// A Watcher owns one goroutine while keys are watched or a connection is held, and a second one while it acquires a
// connection. Close waits for both. Their connection's reader goroutine delivers most notifications.
package keywatch

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/fifo"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Source leases the connection, which must use RESP3. *pool.Pool and *pool.Subpool are Sources.
type Source interface {
	AcquireSubscriber(ctx context.Context) (*pool.Conn, error)
}

// Subscriber receives the notifications of its watches.
type Subscriber interface {
	// Notify reports that a key may have changed, or that it is tracked now. The subscriber looks at the key again; the
	// notification may be in vain. A non-nil err ends the watch instead: it is a *RefusedError, or pool.ErrClosed.
	//
	// Notify must not block. It may call all methods of Watcher and Watch except Close. A Watcher calls it on one
	// goroutine at a time and holds no lock.
	Notify(key string, err error)
}

// Config configures a Watcher. The zero value is valid.
type Config struct {
	Linger      time.Duration // time that an unused connection is kept for the next watch; 0: one second
	LastResort  time.Duration // mean time between notifications about a key without a push; 0: 10 s
	RetryAfter  time.Duration // time after a refusal before the server is asked again; 0: one minute
	HealthCheck time.Duration // interval of silence after which the connection is pinged; 0: no pings
	Ping        []any         // the command of a ping; nil: PING
	BackoffBase time.Duration // first pause after a failed attempt to connect; it doubles; 0: 10 ms
	BackoffCap  time.Duration // longest pause; 0: one second

	// Moves: keys move to other nodes, as in a cluster. If the server names another node for a key, the Watcher notifies
	// and asks it again after a while, until the watch ends. Otherwise the key cannot be watched.
	Moves bool

	// Contended reports whether others wait for a connection. The Watcher then returns an unused one at once. It must
	// not block. nil: never.
	Contended func() bool
	// OnRefusal receives the reason when tracking turns out to be impossible, and nil when it works again. It is called
	// like Subscriber.Notify. nil: none.
	OnRefusal func(err *RefusedError)
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Linger, time.Second}, {&c.LastResort, 10 * time.Second}, {&c.RetryAfter, time.Minute},
		{&c.BackoffBase, 10 * time.Millisecond}, {&c.BackoffCap, time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Ping == nil {
		c.Ping = []any{"PING"}
	}
}

// Watcher tracks the keys of one node. All methods are safe for concurrent use. The caller must close it.
type Watcher struct {
	source Source
	cfg    Config
	ping   []byte
	began  time.Time
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1: the goroutine must look again
	wg     sync.WaitGroup

	// mu is never held during calls of subscribers, of Config's functions, or of the pool. It may be held while a
	// request is posted to the lane, which calls nothing back.
	mu         sync.Mutex
	core       core
	session    *session      // nil without a connection
	wakesAt    time.Duration // time of the next call of look
	running    bool          // the goroutine
	closed     bool
	renew      bool // the connection must be replaced
	delivering bool
	idle       sync.Cond // nobody delivers
	reconnects uint64
	lastError  error // of the last attempt to connect, or the last loss
}

// Watch is a subscriber's interest in one key.
type Watch struct {
	fifo.Links[Watch] // of key.watches; guarded by Watcher.mu

	watcher *Watcher
	key     *key
	sub     Subscriber
	noted   bool // a notification is queued; guarded by Watcher.mu
	stopped bool // by Stop; guarded by Watcher.mu
}

// New returns a Watcher. It opens no connection before the first watch.
func New(source Source, cfg Config) *Watcher {
	cfg.setDefaults()
	w := &Watcher{source: source, cfg: cfg, began: time.Now(), wake: make(chan struct{}, 1)}
	w.ping, _ = resp.AppendCommand(nil, cfg.Ping)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.idle.L = &w.mu
	w.core.init(cfg.LastResort, cfg.RetryAfter, rand.N[time.Duration])
	w.core.moves = cfg.Moves
	return w
}

// Watch notifies sub about key until Stop or the end of the watch. It does not block. The first notification follows
// when the server tracks the key; Watch itself makes none. It writes to the connection, so a broken one may be reported
// to the pool's functions on this goroutine. The error is a *RefusedError, or pool.ErrClosed.
func (w *Watcher) Watch(key string, sub Subscriber) (*Watch, error) {
	x := &Watch{watcher: w, sub: sub}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil, pool.ErrClosed
	}
	if err := w.core.watch(w.now(), x, key); err != nil {
		w.mu.Unlock()
		return nil, err
	}
	switch {
	case !w.running:
		w.running = true
		w.wg.Go(w.run)
	case x.noted || w.session == nil && len(w.core.keys) == 1:
		w.wakeUp()
	default:
		w.wakeBy(w.core.wheel.dueAt(x.key))
	}
	w.unlockAndFlush()
	return x, nil
}

// Stop ends the watch. It does not block. A notification that has begun may still run. Further calls do nothing.
func (x *Watch) Stop() {
	w := x.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.stopped {
		return
	}
	x.stopped = true
	if !x.Listed() {
		return
	}
	w.core.stop(x)
	if now := w.now(); len(w.core.keys) == 0 {
		w.core.idleSince = now
		w.wakeBy(now + w.cfg.Linger)
		if w.session == nil || w.cfg.Contended != nil {
			w.wakeUp()
		}
	}
}

// Renew replaces the connection, for example because another node has taken over, and tracks all keys again. It ends
// the time after a refusal.
func (w *Watcher) Renew() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.core.forgive()
	w.renew = true
	w.wakeUp()
}

// Refusal returns why keys cannot be watched now; nil: they can, or it is unknown.
func (w *Watcher) Refusal() *RefusedError {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now() >= w.core.retryAt {
		return nil
	}
	return w.core.refusal
}

// Connected reports whether the Watcher has a connection.
func (w *Watcher) Connected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session != nil
}

// Close ends all watches with pool.ErrClosed and destroys the connection. It waits for the goroutines and for the
// notifications. It must not be called by a Subscriber.
func (w *Watcher) Close() {
	w.mu.Lock()
	w.shutLocked()
	w.mu.Unlock()
	w.wg.Wait()
	w.deliver()
	w.mu.Lock()
	for w.delivering {
		w.idle.Wait()
	}
	w.mu.Unlock()
}

func (w *Watcher) shutLocked() {
	if !w.closed {
		w.closed = true
		w.core.endAll(pool.ErrClosed)
		w.cancel()
	}
}

// Stats is a snapshot of a Watcher and its counters, which never decrease.
type Stats struct {
	Keys          int    // watched keys
	Watches       int    // of all keys
	Connected     bool   // a connection is held
	Exists        uint64 // EXISTS commands sent
	Invalidations uint64 // pushes about watched keys; one about all keys counts as one
	Notifications uint64 // to watches
	LastResort    uint64 // notifications about keys without a push
	Reconnects    uint64 // connections after the loss of one
	Refusal       error  // why tracking is impossible now; nil: it is possible, or unknown
	LastError     error  // of the last lost connection, or the last failed attempt to get one
}

// Stats returns a snapshot.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Stats{
		Keys: len(w.core.keys), Watches: w.core.watches, Connected: w.session != nil, Exists: w.core.exists,
		Invalidations: w.core.invalidations, Notifications: w.core.notifications, LastResort: w.core.lastResort,
		Reconnects: w.reconnects, LastError: w.lastError,
	}
	if r := w.core.refusal; r != nil {
		s.Refusal = r
	}
	return s
}

// now is the time of the core.
func (w *Watcher) now() time.Duration { return time.Since(w.began) }

// wakeUp wakes the goroutine.
func (w *Watcher) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// wakeBy wakes the goroutine unless it looks again by then.
func (w *Watcher) wakeBy(at time.Duration) {
	if at < w.wakesAt {
		w.wakeUp()
	}
}

// deliver calls the subscribers. One goroutine at a time delivers, so that the notifications of a watch keep their
// order; it also delivers what others add meanwhile.
func (w *Watcher) deliver() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.delivering {
		return
	}
	w.delivering = true
	for len(w.core.notes) > 0 {
		notes := w.core.takeNotes()
		for i := range notes {
			w.deliverLocked(&notes[i])
		}
		w.core.returnNotes(notes)
	}
	w.delivering = false
	w.idle.Broadcast()
}

// deliverLocked unlocks mu during the call.
func (w *Watcher) deliverLocked(n *note) {
	x := n.watch
	if x == nil {
		if report := w.cfg.OnRefusal; report != nil {
			w.mu.Unlock()
			report(n.refusal)
			w.mu.Lock()
		}
		return
	}
	if n.err == nil {
		x.noted = false
	}
	if x.stopped || n.err == nil && !x.Listed() {
		return
	}
	w.core.notifications++
	w.mu.Unlock()
	x.sub.Notify(x.key.name, n.err)
	w.mu.Lock()
}
