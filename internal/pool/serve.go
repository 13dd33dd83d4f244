package pool

// serveLocked implements the policy of the pool. It runs after every change. It assigns conns to waiters, starts
// dials and switches of identity where they are needed and allowed, drains lanes whose place others need, and closes
// conns beyond the bound.
//
// With two or more places, one is kept for a lane, so that leased conns never starve shared commands. The longest
// waiter of all subpools is served first, in the way that costs others least: an open lane or an idle conn of its
// identity, a free place, an idle conn of another identity, a lane of another identity. So subpools take turns if
// there are not enough places for all, and a lane serves at least the waiters that it opened for. With one place, the
// two kinds of callers of a subpool take turns as well, in order of arrival.
func (p *Pool) serveLocked() {
	if p.closed || p.suspended {
		p.stopGrowthLocked()
		p.settleLocked()
		return
	}
	p.serveOnceLocked()
	for p.settleLocked() {
		p.serveOnceLocked()
	}
}

// serveOnceLocked serves with the places that the pool has. With a budget it first gives places up for older callers of
// other pools, and requests places for its own.
func (p *Pool) serveOnceLocked() {
	p.yieldLocked()
	p.serveLanesLocked()
	left, spare := p.serveNeedsLocked(p.needsLocked())
	for p.requestLocked(left) {
		left, spare = p.serveNeedsLocked(p.needsLocked())
	}
	p.shrinkLocked()
	p.preemptLocked(left, spare)
	p.dialWantedLocked()
	p.allowGrowthLocked()
}

// stopGrowthLocked prevents callers without the lock from requesting lanes.
func (p *Pool) stopGrowthLocked() {
	for _, g := range p.subpools {
		g.mayGrow.Store(false)
	}
}

// allowGrowthLocked publishes whether callers without the lock may request lanes.
func (p *Pool) allowGrowthLocked() {
	room := p.roomLikelyLocked() && p.gate.failures == 0
	if most := int32(p.laneLimit); most != p.mostLanes.Load() {
		p.mostLanes.Store(most)
	}
	for _, c := range p.lanes {
		g := c.subpool
		if may := room && g.count[shared]+g.laneWanted < p.laneLimit && p.refusals.inPause(g.identity) == nil; may != g.mayGrow.Load() {
			g.mayGrow.Store(may)
		}
		if growing := g.laneWanted > 0; growing != g.growing.Load() {
			g.growing.Store(growing)
		}
	}
}

// serveLanesLocked admits waiters to open lanes.
func (p *Pool) serveLanesLocked() {
	if len(p.line.forLane) == 0 {
		return
	}
	for _, c := range p.lanes {
		if !c.draining && c.subpool.waitLane.Len() > 0 {
			p.serveLaneLocked(c.subpool)
		}
	}
}

// serveLaneLocked admits the lane waiters of a subpool.
func (p *Pool) serveLaneLocked(g *Subpool) {
	c := p.openLaneLocked(g)
	if c == nil {
		return
	}
	for g.waitLane.Len() > 0 && p.turn(g.waitLane.First()) && c.lane.Reserve() {
		p.grantLocked(g.waitLane.First(), grant{conn: c})
	}
}

// turn reports whether no waiter of the same subpool waits longer for a dedicated conn than w waits for a lane, if
// both kinds share one place.
func (p *Pool) turn(w *waiter) bool {
	if !p.sharesPlaceLocked() {
		return true
	}
	for x := p.line.forConn.First(); x != nil && x.seq < w.seq; x = x.Next() {
		if x.subpool == w.subpool {
			return false
		}
	}
	return true
}

// needsLocked returns the waiters that need a conn, in order: the first lane waiter of each subpool without an open
// lane, and as many waiters for dedicated conns as may have one.
func (p *Pool) needsLocked() []*waiter {
	p.needs = p.needs[:0]
	if p.line.waiting == 0 {
		return nil
	}
	line, conn, free := p.line.forLane, p.line.forConn.First(), p.maxLeasedLocked()-p.leasedLocked()
	for len(p.needs) < 2*p.allowed { // one for each place, and for each conn in preparation
		for len(line) > 0 && line[0].open > 0 {
			line = line[1:]
		}
		if free <= 0 {
			conn = nil
		}
		switch {
		case len(line) > 0 && (conn == nil || p.before(line[0].waitLane.First(), conn)):
			p.needs = append(p.needs, line[0].waitLane.First())
			line = line[1:]
		case conn != nil:
			p.needs = append(p.needs, conn)
			conn = conn.Next()
			free--
		default:
			return p.needs
		}
	}
	return p.needs
}

// before reports whether a lane waiter precedes a waiter for a dedicated conn. A subpool that waits alone opens its
// lane first, because a lane serves many.
func (p *Pool) before(forLane, forConn *waiter) bool {
	if !p.sharesPlaceLocked() && forLane.subpool.waiting == p.line.waiting {
		return true
	}
	return forLane.seq < forConn.seq
}

// serveNeedsLocked assigns conns to needs. It returns the waiters without one, in order, and the number of conns in
// preparation for subpools that do not need them.
func (p *Pool) serveNeedsLocked(needs []*waiter) (left []*waiter, spare int) {
	left, spare = needs[:0], p.gate.inFlight+p.count[preparing]
	p.pass++
	free, ending := p.allowed-p.placesTakenLocked(), p.count[closing]
	for _, w := range needs {
		g := w.subpool
		if g.pass != p.pass {
			g.pass, g.covered = p.pass, g.comingLocked()
		}
		if p.takeOwnLocked(w) {
			continue
		}
		if g.covered > 0 {
			g.covered--
			spare--
			continue
		}
		if p.checkOwnIdleLocked(g) {
			continue
		}
		pause, refused := p.refusals.of(g.identity)
		if pause > 0 {
			if p.wake.within(pause); p.servedByOldConnsLocked(g.identity) {
				p.serveFromOwnUserLocked(w)
			}
			continue
		}
		if free > 0 && p.dialLocked(g) {
			free--
			continue
		}
		if free > 0 && refused != nil && !p.servedByOldConnsLocked(g.identity) { // other identities use the dials: w fails and retries later
			p.grantLocked(w, grant{err: refused})
			continue
		}
		c := p.otherIdleLocked(g)
		switch {
		case free > 0 && p.gate.full():
			free-- // a dial follows when one in flight ends
			left = append(left, w)
		case c == nil || free < 0:
			left = append(left, w)
		case p.cfg.SwitchIdentity != nil:
			p.switchIdentityLocked(c, g)
		default:
			if free == 0 && ending <= 0 {
				p.closeIdleLocked(c, "its place is needed for another identity")
			}
			ending--
			left = append(left, w)
		}
	}
	return left, spare
}

// takeOwnLocked gives w an idle conn of its identity, if one is not stale.
func (p *Pool) takeOwnLocked(w *waiter) bool {
	if w.subpool.count[idle] == 0 {
		return false
	}
	c := p.popIdleLocked(w.subpool)
	if c == nil {
		return false
	}
	if w.want == shared {
		p.shareLocked(c)
		p.serveLaneLocked(c.subpool)
		return true
	}
	p.leaseLocked(c, w.want)
	p.grantLocked(w, grant{conn: c})
	return true
}

// serveSubpoolLocked gives a conn that was prepared for a subpool to the first waiter of that subpool, although
// others may wait longer. If the conn moved to the longest waiter each time, and these left early, nobody would ever
// be served.
func (p *Pool) serveSubpoolLocked(g *Subpool) {
	if p.closed || p.suspended || g.waiting == 0 {
		return
	}
	first := g.waitLane.First()
	if g.open > 0 {
		first = nil
	}
	if p.leasedLocked() < p.maxLeasedLocked() {
		conn := p.line.firstOf(g)
		if first == nil || conn != nil && !p.before(first, conn) {
			first = conn
		}
	}
	if first != nil {
		p.takeOwnLocked(first)
	}
}

// shrinkLocked closes unused conns beyond the bound.
func (p *Pool) shrinkLocked() {
	over := p.placesTakenLocked() - p.count[closing] - p.allowed
	for _, c := range p.lanes {
		if c.draining && c.retire != "" {
			over--
		}
	}
	for ; over > 0 && p.idle.len() > 0; over-- {
		p.closeLocked(p.idle.popBottom(), p.overLimitLocked())
	}
	for ; over > 0 && len(p.lanes) > p.minLanesLocked(); over-- {
		c := p.victimLocked(nil, false)
		if c == nil {
			return
		}
		p.drainLocked(c, p.overLimitLocked())
	}
}

// overLimitLocked returns the reason for closing a conn beyond the bound.
func (p *Pool) overLimitLocked() string {
	switch {
	case p.claims > 0:
		return "a new configuration needs its place"
	case p.placesTakenLocked() <= p.limit:
		return "another node needs its place"
	}
	return "over the limit after a resize"
}

// preemptLocked drains lanes for the waiters in left, for which there is no conn. It drains as many as needed in
// addition to the conns that will become free; spare is the number of those in preparation. If a place is free but no
// dial is allowed now, the waiter waits for the dial, unless the last dials to the node failed.
func (p *Pool) preemptLocked(left []*waiter, spare int) {
	if len(left) == 0 {
		return
	}
	coming, open := spare+p.count[closing], 0
	for _, c := range p.lanes {
		if c.draining {
			coming++
		} else {
			open++
		}
	}
	free := max(0, p.allowed-p.placesTakenLocked())
	refused := free > 0 && p.gate.failures > 0 && p.cfg.SwitchIdentity != nil
	if !refused {
		coming += free
	}
	for _, w := range left {
		if coming > 0 {
			coming--
			continue
		}
		if w.want != shared && open <= p.minLanesLocked() {
			continue
		}
		if c := p.victimLocked(w.subpool, refused); c != nil {
			p.drainLocked(c, "")
			open--
		}
	}
}

// betterVictim reports whether a is a better victim than b for a waiter of g. The order of preference: a lane of a
// subpool with several lanes; a lane without pending replies; any other lane; the only lane of g. Within the first
// class it prefers fewer pending replies, otherwise the longest time without use.
func (g *Subpool) betterVictim(a, b *member) bool {
	x, y := g.cost(a), g.cost(b)
	switch {
	case x != y:
		return x < y
	case x == 0:
		return a.lane.Depth() < b.lane.Depth()
	}
	return a.usedAt().Before(b.usedAt())
}

func (g *Subpool) cost(c *member) int {
	switch {
	case c.subpool.open > 1:
		return 0
	case c.subpool == g:
		return 3
	case c.lane.Depth() == 0:
		return 1
	}
	return 2
}
