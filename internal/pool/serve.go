package pool

// serveLocked is the pool's whole policy. It is called after every change and
// brings the pool to rest: conns go to those who wait, dials and recasts begin
// where they are needed and allowed, lanes drain where their slot is needed for
// others, and what is over the bound closes.
//
// The rules: with two slots or more, one is kept for a lane, so that lent
// conns never starve the shared ones. Whoever waits longest is seen to first,
// of whichever group. What there is goes to him by the way that costs others
// least: an open lane or an idle conn of his key, a free slot, an idle conn of
// another key, a lane of another key. So groups take turns where there are not
// enough slots for all, and a lane serves at least those who wait for it when
// it opens. With one slot the two kinds of callers of one group take turns as
// well, in the order they came.
func (p *Pool) serveLocked() {
	if p.closed || p.suspended {
		p.growNoneLocked()
		return
	}
	p.serveLanesLocked()
	left, spare := p.serveNeedsLocked(p.needsLocked())
	p.shrinkLocked()
	p.preemptLocked(left, spare)
	p.dialWishesLocked()
	p.allowGrowthLocked()
}

// growNoneLocked keeps callers without the lock from asking for lanes.
func (p *Pool) growNoneLocked() {
	for _, g := range p.groups {
		g.mayGrow.Store(false)
	}
}

// allowGrowthLocked tells callers without the lock whether to ask for lanes.
func (p *Pool) allowGrowthLocked() {
	room := p.usedLocked() < p.max && p.backoff.failures == 0
	for _, c := range p.lanes {
		g := c.group
		if may := room && g.count[shared]+g.laneWanted < p.cfg.Lanes && p.refusedLocked(g.key) == nil; may != g.mayGrow.Load() {
			g.mayGrow.Store(may)
		}
	}
}

// serveLanesLocked lets those in who wait for a lane that is open.
func (p *Pool) serveLanesLocked() {
	if len(p.laneLine) == 0 {
		return
	}
	for _, c := range p.lanes {
		if !c.draining && c.group.waitLane.Len() > 0 {
			p.serveLaneLocked(c.group)
		}
	}
}

// serveLaneLocked lets the lane waiters of a group in.
func (p *Pool) serveLaneLocked(g *Subpool) {
	c := p.openLaneLocked(g)
	if c == nil {
		return
	}
	for g.waitLane.Len() > 0 && p.turn(g.waitLane.First()) && c.lane.Reserve() {
		p.grantLocked(g.waitLane.First(), grant{conn: c})
	}
}

// turn reports whether nobody of the same group waits longer for a conn than w
// waits for a lane, where both kinds share one slot.
func (p *Pool) turn(w *waiter) bool {
	if p.max > 1 {
		return true
	}
	for x := p.waitConn.First(); x != nil && x.seq < w.seq; x = x.Next() {
		if x.group == w.group {
			return false
		}
	}
	return true
}

// needsLocked lists those for whom a conn has to be found, in order: of the
// groups without an open lane their first lane waiters, of those who want a
// conn for themselves as many as may have one.
func (p *Pool) needsLocked() []*waiter {
	p.needs = p.needs[:0]
	if p.waiting == 0 {
		return nil
	}
	line, conn, free := p.laneLine, p.waitConn.First(), p.maxLentLocked()-p.lentLocked()
	for len(p.needs) < 2*p.max { // one for each slot, and for each conn that is on its way
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

// before says which of two waiters, for a lane and for a conn, comes first. A
// group that waits alone opens its lane first, as that serves many.
func (p *Pool) before(forLane, forConn *waiter) bool {
	if p.max > 1 && forLane.group.waiting == p.waiting {
		return true
	}
	return forLane.seq < forConn.seq
}

// serveNeedsLocked gives what there is to those who need it. It returns those
// for whom there was nothing, in order, and how many conns are on their way to
// groups that do not need them.
func (p *Pool) serveNeedsLocked(needs []*waiter) (left []*waiter, spare int) {
	left, spare = needs[:0], p.dialing+p.count[preparing]
	p.pass++
	free, ending := p.max-p.usedLocked(), p.count[closing]
	for _, w := range needs {
		g := w.group
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
		if p.vetOwnLocked(g) {
			continue
		}
		pause, refused := p.refusalLocked(g.key)
		if pause > 0 {
			if p.serveAgainLocked(pause); p.livesOnLocked(g.key) {
				p.serveFromKinLocked(w)
			}
			continue
		}
		if free > 0 && p.dialLocked(g) {
			free--
			continue
		}
		if free > 0 && refused != nil && !p.livesOnLocked(g.key) { // others have the dials: it tries again another time
			p.grantLocked(w, grant{err: refused})
			continue
		}
		c := p.strangerLocked(g)
		switch {
		case free > 0 && p.dialing >= p.cfg.DialParallel:
			free-- // is dialed into when one of those under way is there
			left = append(left, w)
		case c == nil || free < 0:
			left = append(left, w)
		case p.cfg.SwitchIdentity != nil:
			p.recastLocked(c, g)
		default:
			if free == 0 && ending <= 0 {
				p.closeIdleLocked(c, "its slot is needed for another key")
			}
			ending--
			left = append(left, w)
		}
	}
	return left, spare
}

// takeOwnLocked gives an idle conn of its key to w, if one was heard lately.
func (p *Pool) takeOwnLocked(w *waiter) bool {
	if w.group.count[idle] == 0 {
		return false
	}
	c := p.popLocked(w.group)
	if c == nil {
		return false
	}
	if w.want == shared {
		p.shareLocked(c)
		p.serveLaneLocked(c.group)
		return true
	}
	p.lendLocked(c, w.want)
	p.grantLocked(w, grant{conn: c})
	return true
}

// serveGroupLocked gives a conn that was made for a group to the first of its
// own waiters, though others may wait longer. Those for whom it was made may
// have left: if it went from group to group after the longest wait each time,
// and all left early, nobody would ever be served.
func (p *Pool) serveGroupLocked(g *Subpool) {
	if p.closed || p.suspended || g.waiting == 0 {
		return
	}
	first := g.waitLane.First()
	if g.open > 0 {
		first = nil
	}
	if p.lentLocked() < p.maxLentLocked() {
		conn := p.waitConn.First()
		for conn != nil && conn.group != g {
			conn = conn.Next()
		}
		if first == nil || conn != nil && !p.before(first, conn) {
			first = conn
		}
	}
	if first != nil {
		p.takeOwnLocked(first)
	}
}

// lentLocked is how many conns callers hold for themselves.
func (p *Pool) lentLocked() int { return p.count[dedicated] + p.count[subscribed] }

// maxLentLocked is how many they may hold: one slot is kept for a lane.
func (p *Pool) maxLentLocked() int { return max(1, p.max-1) }

// minLanesLocked is how many lanes dedicated callers leave alone.
func (p *Pool) minLanesLocked() int {
	if p.max > 1 {
		return 1
	}
	return 0
}
