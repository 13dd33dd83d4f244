package sentinel

import "slices"

// roster is the sentinels, in order of preference.
type roster []*peer

// at returns the sentinel with an address, or nil.
func (r roster) at(addr string) *peer {
	for _, p := range r {
		if p.addr == addr {
			return p
		}
	}
	return nil
}

// knows reports whether a sentinel with the address is in the roster, or the same sentinel under another address.
func (r roster) knows(addr, id string) bool {
	return slices.ContainsFunc(r, func(p *peer) bool { return p.addr == addr || id != "" && p.id == id })
}

// linkOf returns the sentinel of a connection, or nil.
func (r roster) linkOf(seq uint64) (*peer, Link) {
	for _, p := range r {
		for l := range p.links {
			if seq != 0 && p.links[l].seq == seq {
				return p, Link(l)
			}
		}
	}
	return nil, Command
}

// want reports whether a sentinel must be queried outside of the sweep.
func (r roster) want() bool {
	return slices.ContainsFunc(r, func(p *peer) bool { return p.want })
}

// unsettled reports whether the id of a configured sentinel is unknown yet. Learned addresses wait for it, because
// one of them may be another address of that sentinel.
func (r roster) unsettled() bool {
	return slices.ContainsFunc(r, func(p *peer) bool {
		return p.configured && !p.identified && p.alias == nil && (p.said.finding == Untried || p.up(Command))
	})
}

// evictable returns a learned sentinel that cannot be reached, or nil.
func (r roster) evictable() *peer {
	i := slices.IndexFunc(r, func(p *peer) bool { return !p.configured && p.said.finding == Unreachable })
	if i < 0 {
		return nil
	}
	return r[i]
}

// remove removes a sentinel. Its other addresses are used again.
func (r *roster) remove(p *peer) {
	*r = slices.DeleteFunc(*r, func(other *peer) bool { return other == p })
	for _, other := range *r {
		if other.alias == p {
			other.alias = nil
		}
	}
}

// checkSubscriptions pings all subscriptions, once per QueryTimeout. A path that drops one connection's bytes may
// drop those of all, and nothing else shows that before their next ping.
func (r roster) checkSubscriptions(s *step) {
	for _, p := range r {
		l := &p.links[Subscription]
		if l.up && (l.checked == 0 || s.now-l.checked >= s.cfg.QueryTimeout) {
			l.checked = s.now
			s.do(Check{Seq: l.seq, Sentinel: p.addr})
		}
	}
}
