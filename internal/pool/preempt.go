package pool

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
	free := max(0, p.max-p.placesTakenLocked())
	refused := free > 0 && p.backoff.failures > 0 && p.cfg.SwitchIdentity != nil
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

// victimLocked returns the open lane whose loss costs others least, for a waiter of g; nil if there is none. With
// strangers it skips the lanes of g.
func (p *Pool) victimLocked(g *Subpool, strangers bool) *member {
	var best *member
	for _, c := range p.lanes {
		if c.draining || c.lane.Depth() < 0 || strangers && c.subpool == g {
			continue
		}
		if best == nil || g.betterVictim(c, best) {
			best = c
		}
	}
	return best
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
