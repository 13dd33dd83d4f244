package pool

import (
	"context"
	"errors"
	"time"

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
		err = &wire.Error{Op: wire.OpHandshake, Addr: p.dialTo.Load().Addr, Err: err}
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
	if g.identity.own() {
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

// Forgive removes the refusals of a user, so that the next caller queries the server.
func (p *Pool) Forgive(user string) {
	p.mu.Lock()
	defer p.unlock()
	p.refusals.forgive(user)
}

// lastCheckPause is the longest pause between two attempts of a check.
const lastCheckPause = 4 * time.Second

// userChecks checks users that have clients and have lost their last conn, because a server closes the conns of a user
// that is deleted. Pool.mu guards it.
type userChecks struct {
	running map[string]bool // true: the user has lost a conn since the last attempt
}

func (u *userChecks) init() { u.running = map[string]bool{} }

// check starts a check of the user of an identity, unless one runs or the user has conns.
func (u *userChecks) check(p *Pool, k Identity) {
	if k.User == "" || p.cfg.Wanted == nil || !p.lacksConnsLocked(k.User) {
		return
	}
	if _, runs := u.running[k.User]; runs {
		u.running[k.User] = true
		return
	}
	p.calls.add(func() {
		if !p.cfg.Wanted(k.User) {
			return
		}
		p.mu.Lock()
		if _, runs := u.running[k.User]; !runs && p.lacksConnsLocked(k.User) {
			u.running[k.User] = false
			p.goroutines++
			go p.checkUser(p.dials, k)
		}
		p.unlock()
	})
}

// lacksConnsLocked reports whether the pool is in use and a user has no conns.
func (p *Pool) lacksConnsLocked(user string) bool {
	return !p.closed && !p.suspended && !p.hasConnsLocked(user)
}

// checkUser requests a conn until the user has one or no client, the server refuses the user, or the node is out of
// use. After other failures it tries again.
func (p *Pool) checkUser(ctx context.Context, k Identity) {
	for pause := refusalPause; p.needsCheck(ctx, k); pause = min(2*pause, lastCheckPause) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		if ctx.Err() != nil || !p.cfg.Wanted(k.User) {
			break
		}
	}
	p.mu.Lock()
	defer p.unlock()
	if p.users.running[k.User] && ctx.Err() == nil { // the conn that the server gave is lost again
		p.users.running[k.User] = false
		go p.checkUser(ctx, k)
		return
	}
	delete(p.users.running, k.User)
	p.goroutines--
}

// needsCheck requests a conn once, and reports whether the server's answer about the user is still unknown.
func (p *Pool) needsCheck(ctx context.Context, k Identity) bool {
	c, err := p.obtain(Observe(ctx), p.Subpool(k), shared)
	p.mu.Lock()
	defer p.unlock()
	switch {
	case err == nil:
		p.giveBackLocked(c, shared)
		return false
	case ctx.Err() != nil || !p.lacksConnsLocked(k.User):
		return false
	case Refused(err):
		if s := scopeOf(k, err); s.user && p.refusals.unreported(s) {
			p.disownLocked(k.User) // the user had other conns at the time of the refusal
		}
		return false
	}
	return true
}

// disownLocked reports a user that the server refuses and that has no conns.
func (p *Pool) disownLocked(user string) {
	p.refusals.reported(user)
	if user != "" && p.cfg.OnDisowned != nil {
		p.calls.add(func() { p.cfg.OnDisowned(user) })
	}
}
