package pool

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// refusalPause is the longest pause after the server has refused an identity. The pause is drawn from its upper half:
// one or two attempts per second.
const refusalPause = time.Second

// maxRefusals limits the refusals that a pool remembers, because clients choose users.
const maxRefusals = 1024

// scope is the extent of a refusal: one identity, or all identities of a user.
type scope struct {
	identity Identity
	user     bool
}

// refusal is the last error of a scope. Until retryAt the pool neither dials nor switches a conn for it, and its
// callers get the error at once. Pool.mu guards it.
type refusal struct {
	err      error
	failures int // consecutive
	retryAt  time.Time
}

// Refused reports whether err is the server's refusal of an identity: the server would refuse another connection of
// the same identity as well.
func Refused(err error) bool {
	we, ok := errors.AsType[*wire.Error](err) // errors.As would allocate
	return ok && we.Op == wire.OpHandshake && concernsIdentity(err)
}

// concernsIdentity distinguishes a refusal of one identity from a refusal of all conns, such as LOADING or too many
// clients. A server that is BUSY refuses only identities with a database to select.
func concernsIdentity(err error) bool {
	var se *resp.ServerError
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code {
	case "LOADING", "MASTERDOWN", "CLUSTERDOWN", "DENIED":
		return false
	}
	return !strings.HasPrefix(se.Message, "max number of clients")
}

// scopeOf returns the scope of a refusal. A refused password concerns every database and protocol of the user.
func scopeOf(k Identity, err error) scope {
	var se *resp.ServerError
	if errors.As(err, &se) && (se.Code == "WRONGPASS" || se.Code == "NOAUTH") {
		return scope{Identity{User: k.User}, true}
	}
	return scope{identity: k}
}

// scopesOf returns the scopes that contain an identity.
func scopesOf(k Identity) [2]scope { return [...]scope{{identity: k}, {Identity{User: k.User}, true}} }

// holds reports whether the scope contains an identity.
func (s scope) holds(k Identity) bool {
	return s.identity == k || s.user && s.identity.User == k.User
}

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
	s := scopeOf(g.identity, err)
	r := p.refusals[s]
	if r == nil {
		p.makeRoomLocked()
		r = &refusal{}
		p.refusals[s] = r
	}
	r.err = err
	r.failures++
	p.lastRefused = s
	r.pause(p.backoff.base, err)
	p.serveAgainLocked(time.Until(r.retryAt))
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

// pause sets the time of the next attempt. A BUSY server may be ready again soon, so those pauses start short and
// grow. Accounts change only by administration.
func (r *refusal) pause(base time.Duration, err error) {
	pause := refusalPause
	var se *resp.ServerError
	if errors.As(err, &se) && se.Code == "BUSY" && r.failures < 20 {
		pause = min(pause, base<<(r.failures-1))
	}
	r.retryAt = time.Now().Add(pause/2 + rand.N(pause/2+1))
}

// makeRoomLocked drops refusals if there are too many: first those whose pause is over.
func (p *Pool) makeRoomLocked() {
	if len(p.refusals) < maxRefusals {
		return
	}
	now := time.Now()
	for s, r := range p.refusals {
		if !now.Before(r.retryAt) {
			delete(p.refusals, s)
		}
	}
	for s := range p.refusals {
		if len(p.refusals) < maxRefusals {
			return
		}
		delete(p.refusals, s)
	}
}

// refusalLocked returns the refusal of an identity, unless the server accepted it since, and the remaining pause.
func (p *Pool) refusalLocked(k Identity) (pause time.Duration, err error) {
	if len(p.refusals) == 0 {
		return 0, nil
	}
	for _, s := range scopesOf(k) {
		if r := p.refusals[s]; r != nil {
			err, pause = r.err, max(pause, time.Until(r.retryAt))
		}
	}
	return pause, err
}

// refusedLocked returns the refusal of an identity during its pause.
func (p *Pool) refusedLocked(k Identity) error {
	if pause, err := p.refusalLocked(k); pause > 0 {
		return err
	}
	return nil
}

// deniedLocked returns the error with which callers of an identity fail at once: the server refuses it, and its user
// has no remaining conns.
func (p *Pool) deniedLocked(k Identity) error {
	err := p.refusedLocked(k)
	if err != nil && p.servedByOldConnsLocked(k) {
		return nil
	}
	return err
}

// servedByOldConnsLocked reports whether the server refuses a user that still has older conns. These keep working and
// serve the user's callers.
func (p *Pool) servedByOldConnsLocked(k Identity) bool {
	return p.refusals[scope{Identity{User: k.User}, true}] != nil && p.hasConnsLocked(k.User)
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

// attemptLocked records the start of a dial or switch for an identity. After a refusal it delays further attempts for
// a pause.
func (p *Pool) attemptLocked(k Identity) {
	for _, s := range scopesOf(k) {
		if r := p.refusals[s]; r != nil {
			r.pause(p.backoff.base, r.err)
		}
	}
}

// acceptedLocked removes the refusals of an identity that the server accepted. sameUser: no AUTH was sent, so
// refusals of the user stay.
func (p *Pool) acceptedLocked(k Identity, sameUser bool) {
	for _, s := range scopesOf(k) {
		if !s.user || !sameUser {
			delete(p.refusals, s)
		}
	}
}

// Forgive removes the refusals of a user, so that the next caller queries the server.
func (p *Pool) Forgive(user string) {
	p.mu.Lock()
	defer p.unlock()
	for s := range p.refusals {
		if s.identity.User == user {
			delete(p.refusals, s)
		}
	}
}

// lastRefusalLocked returns the last refusal, unless the server accepted the identity since.
func (p *Pool) lastRefusalLocked() error {
	if r := p.refusals[p.lastRefused]; r != nil {
		return r.err
	}
	return nil
}
