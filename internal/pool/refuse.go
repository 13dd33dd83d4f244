package pool

import (
	"errors"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// refuseLocked reports whether err is the server's refusal of g's identity. If so, it fails the waiters of the scope
// and begins a pause.
func (p *Pool) refuseLocked(g *Subpool, err error) bool {
	if !concernsIdentity(err) {
		return false
	}
	var we *wire.Error
	if !errors.As(err, &we) {
		err = &wire.Error{Op: wire.OpHandshake, Addr: p.cfg.Addr, Err: err}
	}
	s, pause := p.refusals.add(g.identity, err)
	p.wake.within(pause)
	lives := s.user && p.servedByOldConnsLocked(g.identity)
	for _, other := range p.subpools {
		if !s.holds(other.identity) {
			continue
		}
		if other.laneWanted = 0; !lives {
			p.failSubpoolLocked(other, err)
		}
	}
	if s.user && !lives {
		p.disownLocked(g.identity.User)
	}
	if g == &p.zero {
		p.troubleLocked(err)
	}
	return true
}

// deniedLocked returns the error with which callers of an identity fail at once: the server refuses it, and its user
// has no remaining conns.
func (p *Pool) deniedLocked(k Identity) error {
	err := p.refusals.inPause(k)
	if err != nil && p.servedByOldConnsLocked(k) {
		return nil
	}
	return err
}

// servedByOldConnsLocked reports whether the server refuses a user that still has older conns. These keep working and
// serve the user's callers.
func (p *Pool) servedByOldConnsLocked(k Identity) bool {
	return p.refusals.ofUser(k.User) && p.hasConnsLocked(k.User)
}

// hasConnsLocked reports whether a user has conns. It is false for the user of the zero identity.
func (p *Pool) hasConnsLocked(user string) bool {
	if user == "" {
		return false
	}
	for k, g := range p.subpools {
		if k.User == user && g.connsLocked() > g.arriving {
			return true
		}
	}
	return false
}

// Forgive removes the refusals of a user, so that the next caller queries the server.
func (p *Pool) Forgive(user string) {
	p.mu.Lock()
	defer p.unlock()
	p.refusals.forgive(user)
}
