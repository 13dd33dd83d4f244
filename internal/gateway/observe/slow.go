package observe

import (
	"sync"
	"sync/atomic"
	"time"
)

// SlowEntries is how many entries a SlowLog keeps.
const SlowEntries = 256

// SlowEntry is a command that took longer than the threshold.
type SlowEntry struct {
	ID         uint64 // from 1 on
	At         time.Time
	Client     int64
	Addr, User string
	Command    string        // with its keys
	Queue      time.Duration // from its arrival to the sending
	Server     time.Duration // from the sending to its reply
	Write      time.Duration // from its reply until the client had taken it
	Request    int           // bytes
	Reply      int           // bytes
}

// Total returns the whole time of the command.
func (e *SlowEntry) Total() time.Duration { return e.Queue + e.Server + e.Write }

// SlowLog keeps the newest slow commands. The zero value is empty. All methods are safe for concurrent use.
type SlowLog struct {
	mu       sync.Mutex
	ring     []SlowEntry // by ID; nil before the first
	kept     int         // the newest ones in ring
	last     uint64      // ID of the newest
	second   int64       // begin of the present second, in Unix nanoseconds
	admitted int         // in that second

	full   atomic.Int64  // the second is full until then, in Unix nanoseconds; most refusals under overload read only this
	missed atomic.Uint64 // slow commands that Admit refused
}

// Admit reports whether another command may be described now, in Unix nanoseconds. It allows SlowEntries in a second, so
// that a gateway under overload does not spend its time on its slow log.
func (l *SlowLog) Admit(now int64) bool {
	if full := l.full.Load(); now < full && now > full-int64(time.Second) { // unless the clock was set back
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := now - l.second; d >= int64(time.Second) || d < 0 {
		l.second, l.admitted = now, 0
	}
	if l.admitted++; l.admitted >= SlowEntries {
		l.full.Store(l.second + int64(time.Second))
	}
	return l.admitted <= SlowEntries
}

// Miss counts a slow command that is not kept.
func (l *SlowLog) Miss() { l.missed.Add(1) }

// Add keeps an entry and numbers it.
func (l *SlowLog) Add(e SlowEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.ID = l.last
	if l.ring == nil {
		l.ring = make([]SlowEntry, SlowEntries)
	}
	l.ring[e.ID%SlowEntries] = e
	l.kept = min(l.kept+1, SlowEntries)
}

// Newest returns up to n entries, the newest first.
func (l *SlowLog) Newest(n int) (list []SlowEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range min(n, l.kept) {
		list = append(list, l.ring[(l.last-uint64(i))%SlowEntries])
	}
	return list
}

// Count returns the number of slow commands since the start, including those that are not kept.
func (l *SlowLog) Count() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last + l.missed.Load()
}

// Reset drops the entries. Their numbers continue.
func (l *SlowLog) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.kept = nil, 0
}
