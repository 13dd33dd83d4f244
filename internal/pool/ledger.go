package pool

import (
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// ledger counts the places of a pool: each socket takes one from before its dial until the server has closed its side.
// It lists the conns by use and by subpool. It does not decide about them: Pool does. Pool.mu guards it.
type ledger struct {
	limit    int // sockets, as configured
	claims   int // places that Try waits for
	allowed  int // sockets now: limit without claims, or the places that the pool has of a budget
	reach    int // the most places that it can have of the budget, 1 or more; 0: no budget
	members  map[*lane.Lane]*member
	count    [classes]int          // members by class
	subpools map[Identity]*Subpool // subpools in use, and zero
	lanes    []*member             // class shared, of all subpools, including draining ones

	laneLimit int // lanes of each identity
	idle      idleConns
	gate      dialGate // its dials in flight take places
	probing   int      // sockets of Probe
}

func (l *ledger) init(cfg *Config) {
	l.laneLimit = cfg.Lanes
	l.limit, l.allowed, l.members, l.subpools = cfg.Max, cfg.Max, map[*lane.Lane]*member{}, map[Identity]*Subpool{}
	l.gate.init(cfg)
}

// placesTakenLocked returns the number of places taken: the sockets that the server may count.
func (l *ledger) placesTakenLocked() int { return len(l.members) + l.gate.inFlight + l.probing }

// addLocked adds a new conn.
func (l *ledger) addLocked(c *member) {
	l.members[c.lane] = c
	l.count[c.class]++
	c.subpool.count[c.class]++
}

// removeLocked removes a conn whose socket is closed. Its place is free.
func (l *ledger) removeLocked(c *member) {
	delete(l.members, c.lane)
	l.count[c.class]--
	c.subpool.count[c.class]--
}

// liveLocked returns the number of usable conns.
func (l *ledger) liveLocked() int { return len(l.members) - l.count[closing] }

// moveLocked changes a member's class.
func (l *ledger) moveLocked(c *member, to class) {
	l.count[c.class]--
	c.subpool.count[c.class]--
	c.subpool.count[to]++
	if to == closing {
		c.was = c.class
	}
	c.class = to
	l.count[to]++
	if to == closing {
		l.forgetLocked(c.subpool)
	}
}

// leasedLocked returns the number of leased conns.
func (l *ledger) leasedLocked() int { return l.count[dedicated] + l.count[subscribed] }

// maxLeasedLocked returns the maximum number of leased conns: one place is kept for a lane.
func (l *ledger) maxLeasedLocked() int {
	if l.sharesPlaceLocked() {
		return 1
	}
	return max(0, l.allowed-1)
}

// sharesPlaceLocked reports whether lanes and leased conns take turns on one place.
func (l *ledger) sharesPlaceLocked() bool {
	if l.reach > 0 {
		return l.reach == 1
	}
	return l.allowed <= 1
}

// minLanesLocked returns how many lanes are never drained for dedicated conns.
func (l *ledger) minLanesLocked() int {
	if l.sharesPlaceLocked() || l.allowed == 0 {
		return 0
	}
	return 1
}

// shareLocked makes a clean, unused conn a lane.
func (l *ledger) shareLocked(c *member) {
	c.lane.Undrain(c.subpool, c.subpool.identity.proof())
	l.moveLocked(c, shared)
	l.lanes = append(l.lanes, c)
	l.publishLocked(c.subpool)
}

// removeLaneLocked removes a conn from the lanes, if it is one.
func (l *ledger) removeLaneLocked(c *member) {
	if i := slices.Index(l.lanes, c); i >= 0 {
		l.lanes = append(l.lanes[:i:i], l.lanes[i+1:]...)
		l.publishLocked(c.subpool)
	}
}

// publishLocked publishes the open lanes of g to callers without the lock.
func (l *ledger) publishLocked(g *Subpool) {
	open := make([]*lane.Lane, 0, g.count[shared])
	for _, c := range l.lanes {
		if c.subpool == g && !c.draining {
			open = append(open, c.lane)
		}
	}
	g.open = len(open)
	g.view.Store(&open)
}

// openLaneLocked returns the open lane of g with the fewest pending replies.
func (l *ledger) openLaneLocked(g *Subpool) *member {
	if g.open == 0 {
		return nil
	}
	var best *member
	for _, c := range l.lanes {
		if d := c.lane.Load(); c.subpool == g && !c.draining && d >= 0 && (best == nil || d < best.lane.Load()) {
			best = c
		}
	}
	return best
}

// victimLocked returns the open lane whose loss costs others least, for a waiter of g; nil if there is none. With
// strangers it skips the lanes of g.
func (l *ledger) victimLocked(g *Subpool, strangers bool) *member {
	var best *member
	for _, c := range l.lanes {
		if c.draining || c.lane.Depth() < 0 || strangers && c.subpool == g {
			continue
		}
		if best == nil || g.betterVictim(c, best) {
			best = c
		}
	}
	return best
}

// otherIdleLocked returns the conn of another subpool than g that was idle longest.
func (l *ledger) otherIdleLocked(g *Subpool) *member {
	return l.idle.bottom(func(c *member) bool { return c.subpool != g && c.lane.Depth() >= 0 })
}

// enlistLocked returns the listed subpool of g's identity. It lists g if there is none.
func (l *ledger) enlistLocked(g *Subpool) *Subpool {
	if g.listed {
		return g
	}
	known := l.subpools[g.identity]
	g.successor.Store(known)
	if known != nil {
		return known
	}
	l.subpools[g.identity], g.listed = g, true
	return g
}

// forgetLocked removes an unused subpool, except those of the client's own identity.
func (l *ledger) forgetLocked(g *Subpool) {
	if !g.identity.own() && g.listed && !g.usedLocked() {
		g.listed, g.laneWanted = false, 0
		g.mayGrow.Store(false)
		delete(l.subpools, g.identity)
	}
}

// moveToSubpoolLocked moves a member to a listed subpool.
func (l *ledger) moveToSubpoolLocked(c *member, to *Subpool) {
	from := c.subpool
	from.count[c.class]--
	to.count[c.class]++
	c.subpool = to
	l.forgetLocked(from)
	l.forgetLocked(to) // a closing conn does not keep a subpool listed
}

// hasConnsLocked reports whether a user has conns. It is false for the user of the zero identity.
func (l *ledger) hasConnsLocked(user string) bool {
	if user == "" {
		return false
	}
	for k, g := range l.subpools {
		if k.User == user && g.connsLocked() > g.arriving {
			return true
		}
	}
	return false
}
