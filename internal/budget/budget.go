// Package budget limits the connections of several pools together, such as those to all nodes of a cluster. Each pool
// has a Share, which says how many places the pool may take. A pool that has to give up places keeps them until
// their connections are closed. The sum never exceeds the total.
//
//   - Each share in use has one place, even if its pool does not need it, except shares whose pools are optional. If more
//     shares are in use than there are places, they take turns: a share without a place gets that of another one whose lane
//     is idle, or has been unused longest.
//   - The other places go to the shares that want them, in the order in which they began to want. A share that has
//     places to spare gives them up as soon as another one wants them.
//
// A budget only counts and decides. It starts no goroutine and never calls a pool. Pools call it with their lock held,
// and afterwards wake the pools that it names.
package budget

import (
	"sync"
	"time"
)

// Budget is the places of all shares. Its methods are safe for concurrent use.
type Budget struct {
	mu     sync.Mutex
	total  int
	inUse  int // shares in use that are not optional
	shares []*Share

	reserve  *Share // the places of Reserve
	reserved int    // how many it should have
}

// New returns a budget of total places.
func New(total int) *Budget {
	b := &Budget{total: total}
	b.reserve = &Share{budget: b, wake: func() {}, state: State{InUse: true, Optional: true}}
	return b
}

// Reserve keeps n places from all shares, for sockets that the budget does not count. It takes them as they become free, before
// any other share, except the one place of each share in use. wake must be called without any lock.
func (b *Budget) Reserve(n int) (wake []func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.reserve
	b.reserved = min(max(n, 0), b.total)
	if len(b.shares) == 0 || b.shares[0] != r {
		b.shares = append([]*Share{r}, b.shares...)
	}
	r.limit = min(r.limit, b.reserved)
	r.wants = r.limit < b.reserved
	for _, x := range b.shares {
		x.waking = x != r && x.state.InUse
	}
	return b.decide(r).Wake
}

// Reserved returns how many places Reserve keeps now.
func (b *Budget) Reserved() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reserve.limit
}

// Lane is a connection that many callers share.
type Lane interface {
	Depth() int        // pending replies; negative: the lane has failed
	UsedAt() time.Time // last use
}

// Share is the part of a budget that one pool has. The pool calls its methods, one at a time.
type Share struct {
	budget *Budget
	wake   func()

	// Guarded by Budget.mu.
	state   State
	limit   int
	wants   bool
	since   time.Time // when its pool began to want a place
	evicted bool      // it must give its only place up
	waking  bool      // wake will be called
}

// State is what a pool reports.
type State struct {
	InUse bool // the pool serves callers
	// Optional: no place is guaranteed, and the share has only those that it wants and gets.
	Optional bool
	Taken    int  // sockets of the pool, until their server has closed them too
	Spare    int  // places of the share that no caller of the pool needs
	Lane     Lane // uses the only place of the share; nil: the share has none or several, or another use for it
}

// guaranteed reports whether the share has a place in any case.
func (s State) guaranteed() bool { return s.InUse && !s.Optional }

// Terms are what applies to a share now.
type Terms struct {
	Limit    int       // places that the pool may take
	Reach    int       // the largest possible limit while the other shares in use have one place each; at least 1
	Exceeded bool      // more shares are in use than there are places
	Room     bool      // a place is free, and no share wants it
	Needed   int       // places that other shares want, and that no closing connection frees
	Since    time.Time // when the first of them began to want one
	Evict    bool      // the share must give its only place up
	Wake     []func()  // to call without any lock
}

// Join returns a new share, which is not in use. wake makes its pool fetch its terms.
func (b *Budget) Join(wake func()) *Share { return &Share{budget: b, wake: wake} }

// Total returns the number of places.
func (b *Budget) Total() int { return b.total }

// Terms returns the terms.
func (s *Share) Terms() Terms {
	defer s.budget.lock(s)()
	return s.budget.terms(s)
}

// Update reports the pool's state, and returns unused places: drop of them.
func (s *Share) Update(state State, drop int) Terms {
	b := s.budget
	defer b.lock(s)()
	before := s.state
	s.state = state
	s.limit -= drop
	if state.Lane == nil {
		s.evicted = false
	}
	b.list(s)
	if state.guaranteed() != before.guaranteed() {
		b.inUse += map[bool]int{true: 1, false: -1}[state.guaranteed()]
		for _, x := range b.shares {
			x.waking = x.waking || x.state.InUse // their reach has changed
		}
	}
	return b.decide(s)
}

// Want requests one more place for a caller that waits since a time. Without wants it withdraws the request.
func (s *Share) Want(wants bool, since time.Time) Terms {
	b := s.budget
	defer b.lock(s)()
	news := wants && !s.wants
	s.wants, s.since = wants, since
	t := b.decide(s)
	if news && s.wants {
		for _, x := range b.shares {
			if x != s && x.state.Spare > 0 {
				x.waking = true
			}
		}
		t.Wake = append(t.Wake, b.calls(s)...)
	}
	return t
}

// Give gives up at most n places for other shares, as many as they still want. It answers Terms.Evict too.
func (s *Share) Give(n int) Terms {
	b := s.budget
	defer b.lock(s)()
	s.evicted = false
	needed, _ := b.needed(s)
	s.limit -= min(n, max(needed, 0))
	return b.decide(s)
}

// Take takes a place that is free and that no share wants. ok is false if there is none.
func (s *Share) Take() (t Terms, ok bool) {
	b := s.budget
	defer b.lock(s)()
	if ok = b.room(); ok {
		s.limit++
		b.list(s)
	}
	return b.terms(s), ok
}

// lock locks the budget for a call of s and returns the function that unlocks it. The call fetches the terms.
func (b *Budget) lock(s *Share) (unlock func()) {
	b.mu.Lock()
	s.waking = false
	return b.mu.Unlock
}

// list lists a share while it has places or is in use.
func (b *Budget) list(s *Share) {
	i := 0
	for i < len(b.shares) && b.shares[i] != s {
		i++
	}
	switch listed, used := i < len(b.shares), s.state.InUse || s.limit+s.state.Taken > 0; {
	case used && !listed:
		b.shares = append(b.shares, s)
	case listed && !used:
		b.shares = append(b.shares[:i:i], b.shares[i+1:]...)
	}
}

// decide assigns the free places and returns the terms of s.
func (b *Budget) decide(s *Share) Terms {
	for b.free() > 0 {
		x := b.first(nil)
		if x == nil {
			break
		}
		x.limit++
		x.wants, x.waking = x == b.reserve && x.limit < b.reserved, x != b.reserve
	}
	b.evict()
	t := b.terms(s)
	t.Wake = b.calls(s)
	return t
}

// evict selects shares that give their only place up, if more shares are in use than there are places.
func (b *Budget) evict() {
	if !b.exceeded() {
		return
	}
	needed, _ := b.needed(nil)
	for _, x := range b.shares {
		needed -= x.state.Spare
	}
	for ; needed > 0; needed-- {
		var victim *Share
		for _, x := range b.shares {
			if x.evictable() && (victim == nil || x.betterVictim(victim)) {
				victim = x
			}
		}
		if victim == nil {
			return
		}
		victim.evicted, victim.waking = true, true
	}
}

func (s *Share) evictable() bool {
	return s.state.guaranteed() && s.limit == 1 && !s.evicted && s.state.Lane != nil && s.state.Lane.Depth() >= 0
}

// betterVictim reports whether s has an idle lane and other has not, or else whether its lane has been unused longer.
func (s *Share) betterVictim(other *Share) bool {
	if idle := s.state.Lane.Depth() == 0; idle != (other.state.Lane.Depth() == 0) {
		return idle
	}
	return s.state.Lane.UsedAt().Before(other.state.Lane.UsedAt())
}

func (b *Budget) terms(s *Share) Terms {
	t := Terms{Limit: s.limit, Exceeded: b.exceeded(), Room: b.room(), Evict: s.evicted}
	others := b.inUse
	if s.state.guaranteed() {
		others--
	}
	t.Reach = max(1, b.total-others)
	t.Needed, t.Since = b.needed(s)
	return t
}

// calls returns the wake functions that are due, except that of s.
func (b *Budget) calls(s *Share) (wake []func()) {
	s.waking = false
	for _, x := range b.shares {
		if x.waking {
			x.waking = false
			wake = append(wake, x.wake)
		}
	}
	return wake
}

func (b *Budget) exceeded() bool { return b.inUse > b.total }

// free returns the number of places that no share has.
func (b *Budget) free() int {
	free := b.total
	for _, x := range b.shares {
		free -= max(x.limit, x.state.Taken)
	}
	return free
}

func (b *Budget) room() bool { return b.free() > 0 && b.first(nil) == nil }

// wanting reports whether a share wants a place, and since when. A share without its guaranteed place comes first.
func (s *Share) wanting() (since time.Time, wants bool) {
	if s.state.guaranteed() && s.limit == 0 && !s.budget.exceeded() {
		return time.Time{}, true
	}
	return s.since, s.wants
}

// first returns the share, other than except, that has wanted a place longest; nil if none wants one.
func (b *Budget) first(except *Share) (first *Share) {
	var began time.Time
	for _, x := range b.shares {
		if since, wants := x.wanting(); wants && x != except && (first == nil || since.Before(began)) {
			first, began = x, since
		}
	}
	return first
}

// needed returns how many places other shares than except want, in addition to those that will be free soon, and when
// the first of them began to want one. Places of pools that are not in use do not count as free soon: they wait for
// pending replies.
func (b *Budget) needed(except *Share) (n int, since time.Time) {
	for _, x := range b.shares {
		if _, wants := x.wanting(); wants && x == b.reserve {
			n += b.reserved - x.limit
		} else if wants && x != except {
			n++
		}
		if x.state.InUse {
			n -= max(0, x.state.Taken-x.limit)
		}
		if x.evicted {
			n--
		}
	}
	if x := b.first(except); x != nil {
		since, _ = x.wanting()
	}
	return n, since
}
