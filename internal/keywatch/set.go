package keywatch

import (
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/fifo"
)

// SetConfig configures a Set. Changed and Refused are required. They must not block, and may call methods of the Set
// except Close.
type SetConfig struct {
	Changed func(key string)            // the key may have changed
	Refused func(key string, err error) // the key is not watched any more; err is a *RefusedError or pool.ErrClosed

	// Polling reports whether the Set must not use its Watcher, because there is no connection to spare for it. It
	// must not block or call the Set. nil: never.
	Polling func() bool
	// Contended reports whether others wait for a connection. The Set then forgets its dropped keys, so that the Watcher
	// may return an unused one. nil: never.
	Contended func() bool
}

// Set watches the keys of one owner, by name. It has two tasks beside its Watcher:
//
//   - A key that the owner drops stays watched for a while, because the consumers of a queue drop and add its key for
//     each element. Otherwise each element would cost another CLIENT TRACKING cycle.
//   - While the Watcher has no connection, the Set reports the keys from time to time, so that the owner still checks them.
//
// All methods are safe for concurrent use. The caller must close the Set before its Watcher.
type Set struct {
	watcher *Watcher
	cfg     SetConfig
	began   time.Time

	mu     sync.Mutex
	keys   map[string]*entry
	kept   fifo.List[entry, *entry] // dropped by the owner, oldest first
	ring   []*entry                 // entries in the order of polls; nil: begin again
	timer  *time.Timer
	armed  bool
	closed bool
	wg     sync.WaitGroup // runs of the timer
}

// entry is one key of a Set.
type entry struct {
	fifo.Links[entry]

	name    string
	watch   *Watch        // nil: not begun, or the Set polls
	dropped time.Duration // since Set.began
	gone    bool
}

// Periods of a Set.
const (
	keepFor    = 250 * time.Millisecond // a dropped key stays watched
	mostIdle   = 4096                   // dropped keys
	pollPeriod = 10 * time.Millisecond  // between two polls of the same key, at least
	pollBatch  = 32                     // keys of one poll: 3,200 keys a second
	idlePeriod = 100 * time.Millisecond // between two looks at the Watcher
)

// NewSet returns an empty Set.
func NewSet(w *Watcher, cfg SetConfig) *Set {
	return &Set{watcher: w, cfg: cfg, began: time.Now(), keys: map[string]*entry{}}
}

// Add watches a key. The owner calls Add for a key at most once before Drop. The Watcher reports the key when it is
// tracked, unless it was tracked all the time since Drop.
func (s *Set) Add(key string) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	e := s.keys[key]
	if e != nil && e.Listed() {
		s.kept.Remove(e)
	}
	fresh := e == nil
	if fresh {
		e = &entry{name: key}
		s.keys[key] = e
	}
	s.armLocked(pollPeriod)
	s.mu.Unlock()
	if fresh && !s.polls() {
		s.begin(e)
	}
}

// polls reports whether the Set must do without the Watcher.
func (s *Set) polls() bool { return s.cfg.Polling != nil && s.cfg.Polling() }

// begin starts the watch of an entry.
func (s *Set) begin(e *entry) {
	watch, err := s.watcher.Watch(e.name, s)
	if err != nil {
		s.Notify(e.name, err)
		return
	}
	s.mu.Lock()
	if e.watch == nil && !e.gone && !s.polls() { // it may have changed since
		e.watch, watch = watch, nil
	}
	s.mu.Unlock()
	if watch != nil {
		watch.Stop()
	}
}

// Drop ends the interest in a key. Keys that are not in the Set are ignored.
func (s *Set) Drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	if e == nil || e.Listed() {
		return
	}
	e.dropped = time.Since(s.began)
	s.kept.Push(e)
	if s.kept.Len() > mostIdle {
		s.endLocked(s.kept.First())
	}
	s.armLocked(s.pauseLocked())
}

// pauseLocked returns the time until the next look: a short one while all keys are dropped.
func (s *Set) pauseLocked() time.Duration {
	if s.kept.Len() == len(s.keys) && s.cfg.Contended != nil {
		return pollPeriod
	}
	return idlePeriod
}

// endLocked ends an entry.
func (s *Set) endLocked(e *entry) {
	if e.Listed() {
		s.kept.Remove(e)
	}
	delete(s.keys, e.name)
	e.gone = true
	if e.watch != nil {
		e.watch.Stop()
	}
}

// Notify implements Subscriber.
func (s *Set) Notify(key string, err error) {
	if err == nil {
		s.cfg.Changed(key)
		return
	}
	s.mu.Lock()
	e := s.keys[key]
	wanted := e != nil && !e.Listed()
	if e != nil {
		s.endLocked(e)
	}
	s.mu.Unlock()
	if wanted {
		s.cfg.Refused(key, err)
	}
}

// Again applies a change of SetConfig.Polling.
func (s *Set) Again() {
	var begin []*entry
	s.mu.Lock()
	polls := s.polls() // within the lock, so that calls that overlap apply the latest value
	for _, e := range s.keys {
		switch {
		case polls && e.watch != nil:
			e.watch.Stop()
			e.watch = nil
		case !polls && e.watch == nil:
			begin = append(begin, e)
		}
	}
	s.mu.Unlock()
	for _, e := range begin {
		s.begin(e)
	}
}

// Close ends all watches and waits for running calls of Changed.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	for _, e := range s.keys {
		s.endLocked(e)
	}
	if s.armed && s.timer.Stop() {
		s.armed = false
		s.wg.Done()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// armLocked sets the timer, unless it is set.
func (s *Set) armLocked(d time.Duration) {
	if s.armed || s.closed || len(s.keys) == 0 {
		return
	}
	s.armed = true
	s.wg.Add(1)
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.look)
	} else {
		s.timer.Reset(d)
	}
}

// look ends the entries that were dropped long ago, and polls.
func (s *Set) look() {
	defer s.wg.Done()
	blind := s.polls() || !s.watcher.Connected()
	s.mu.Lock()
	s.armed = false
	now := time.Since(s.began)
	limit := now - keepFor
	if s.kept.Len() == len(s.keys) && s.cfg.Contended != nil {
		s.mu.Unlock()
		if s.cfg.Contended() {
			limit = now
		}
		s.mu.Lock()
	}
	for e := s.kept.First(); e != nil && e.dropped <= limit; e = s.kept.First() {
		s.endLocked(e)
	}
	var due []*entry
	next := s.pauseLocked()
	if blind {
		due, next = s.dueLocked(), pollPeriod
	} else {
		s.ring = nil
	}
	s.mu.Unlock()
	for _, e := range due {
		s.cfg.Changed(e.name)
	}
	s.mu.Lock()
	s.armLocked(next)
	s.mu.Unlock()
}

// dueLocked returns the next keys to poll.
func (s *Set) dueLocked() (due []*entry) {
	if len(s.ring) == 0 {
		s.ring = make([]*entry, 0, len(s.keys)-s.kept.Len())
		for _, e := range s.keys {
			if !e.Listed() {
				s.ring = append(s.ring, e)
			}
		}
	}
	n := min(len(s.ring), pollBatch)
	due, s.ring = s.ring[:n:n], s.ring[n:]
	if len(s.ring) == 0 {
		s.ring = nil
	}
	return due
}
