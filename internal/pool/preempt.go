package pool

// preemptLocked makes room for those who wait and for whom there is nothing:
// lanes drain, as many as are needed beside the conns that come anyway, spare
// ones on their way among them. A slot that is free but can't be dialed into
// now is waited for, unless the node takes no more conns.
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
	free := max(0, p.max-p.usedLocked())
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
		if c := p.victimLocked(w.group, refused); c != nil {
			p.drainLocked(c, "")
			open--
		}
	}
}

// victimLocked is the open lane that a waiter of g costs the others
// least, or nil. With strangers, lanes of g are not looked at.
func (p *Pool) victimLocked(g *Subpool, strangers bool) *member {
	var best *member
	for _, c := range p.lanes {
		if c.draining || c.lane.Depth() < 0 || strangers && c.group == g {
			continue
		}
		if best == nil || g.parts(c, best) {
			best = c
		}
	}
	return best
}

// parts reports whether it is better to take a from its group than b from its
// own, for a waiter of g: first where there is another lane, of those lanes the
// one with the fewest replies due; then where nothing is due, then any, each
// time the one that was used longest ago. The only lane of g comes last.
func (g *Subpool) parts(a, b *member) bool {
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
	case c.group.open > 1:
		return 0
	case c.group == g:
		return 3
	case c.lane.Depth() == 0:
		return 1
	}
	return 2
}
