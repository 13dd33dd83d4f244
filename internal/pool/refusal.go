package pool

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// refusalPause is the longest pause after the server has refused an identity,
// drawn from its upper half: one or two attempts a second find out soon enough
// that the identity is accepted again.
const refusalPause = time.Second

// maxRefusals bounds the refusals that a pool remembers: clients choose users.
const maxRefusals = 1024

// scope is what the server refuses: one key, or everything of a user.
type scope struct {
	key  Identity
	user bool
}

// refusal is a scope's last error. Until retryAt nobody is dialed or recast
// for it, and its callers get the error at once. Guarded by Pool.mu.
type refusal struct {
	err      error
	failures int // in a row
	retryAt  time.Time
}

// Refused reports whether err is the server's refusal of an identity: another
// connection of the same identity would be refused as well.
func Refused(err error) bool {
	we, ok := errors.AsType[*wire.Error](err) // allocates nothing, as errors.As would
	return ok && we.Op == wire.OpHandshake && concernsKey(err)
}

// concernsKey tells a server's refusal of one key from a refusal of all conns,
// such as that it is loading or has too many clients. A server that is BUSY
// refuses only the keys with a database to select.
func concernsKey(err error) bool {
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

// scopeOf is what a refusal of a key is about: where the password is refused,
// every database and protocol of the user.
func scopeOf(k Identity, err error) scope {
	var se *resp.ServerError
	if errors.As(err, &se) && (se.Code == "WRONGPASS" || se.Code == "NOAUTH") {
		return scope{Identity{User: k.User}, true}
	}
	return scope{key: k}
}

// scopesOf are those that cover a key.
func scopesOf(k Identity) [2]scope { return [...]scope{{key: k}, {Identity{User: k.User}, true}} }

// holds reports whether the scope covers a key.
func (s scope) holds(k Identity) bool {
	return s.key == k || s.user && s.key.User == k.User
}

// refuseLocked reports whether err is the server's refusal of g's identity. If
// so, the callers who wait for it fail, and it is left alone for a pause.
func (p *Pool) refuseLocked(g *Subpool, err error) bool {
	if !concernsKey(err) {
		return false
	}
	var we *wire.Error
	if !errors.As(err, &we) {
		err = &wire.Error{Op: wire.OpHandshake, Addr: p.cfg.Addr, Err: err}
	}
	s := scopeOf(g.key, err)
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
	lives := s.user && p.livesOnLocked(g.key)
	for _, other := range p.groups {
		if !s.holds(other.key) {
			continue
		}
		if other.laneWanted = 0; !lives {
			p.failGroupLocked(other, err)
		}
	}
	if s.user && !lives && g.key.User != "" && p.cfg.OnDisowned != nil {
		p.later = append(p.later, func() { p.cfg.OnDisowned(g.key.User) })
	}
	if g == &p.zero {
		p.troubleLocked(err)
	}
	return true
}

// pause sets the next attempt. A server that is BUSY may be ready again soon,
// so that its pauses grow; an account changes only by hand.
func (r *refusal) pause(base time.Duration, err error) {
	pause := refusalPause
	var se *resp.ServerError
	if errors.As(err, &se) && se.Code == "BUSY" && r.failures < 20 {
		pause = min(pause, base<<(r.failures-1))
	}
	r.retryAt = time.Now().Add(pause/2 + rand.N(pause/2+1))
}

// makeRoomLocked drops refusals if there are too many: first those whose pause
// is over.
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

// refusalLocked is why a key was refused, if it was not accepted since, and
// for how long nobody is to be dialed or recast for it.
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

// refusedLocked is why a key was refused, while its pause lasts.
func (p *Pool) refusedLocked(k Identity) error {
	if pause, err := p.refusalLocked(k); pause > 0 {
		return err
	}
	return nil
}

// deniedLocked is why callers for a key fail at once: it is refused, and its user has no conns left to serve them.
func (p *Pool) deniedLocked(k Identity) error {
	err := p.refusedLocked(k)
	if err != nil && p.livesOnLocked(k) {
		return nil
	}
	return err
}

// livesOnLocked reports whether the server lets a user in no more that has conns from before. As at a server
// they work as ever, and serve whatever callers of the user want.
func (p *Pool) livesOnLocked(k Identity) bool {
	return p.refusals[scope{Identity{User: k.User}, true}] != nil && p.hasConnsLocked(k.User)
}

// hasConnsLocked reports whether one of the users who are not the zero key's has conns.
func (p *Pool) hasConnsLocked(user string) bool {
	if user == "" {
		return false
	}
	for k, g := range p.groups {
		if k.User == user && g.connsLocked() > g.arriving {
			return true
		}
	}
	return false
}

// attemptLocked notes that a dial or a recast for a key begins. If the key was
// refused before, it is the only one for a pause.
func (p *Pool) attemptLocked(k Identity) {
	for _, s := range scopesOf(k) {
		if r := p.refusals[s]; r != nil {
			r.pause(p.backoff.base, r.err)
		}
	}
}

// acceptedLocked forgets the refusals of a key: a conn of it stands. If it was of the same user before, this tells
// nothing of the user.
func (p *Pool) acceptedLocked(k Identity, sameUser bool) {
	for _, s := range scopesOf(k) {
		if !s.user || !sameUser {
			delete(p.refusals, s)
		}
	}
}

// Forgive forgets that the server refused a user: somebody knows better, or
// has a reason to ask the server now.
func (p *Pool) Forgive(user string) {
	p.mu.Lock()
	defer p.unlock()
	for s := range p.refusals {
		if s.key.User == user {
			delete(p.refusals, s)
		}
	}
}

// lastRefusalLocked is the last refusal, unless its identity was accepted since.
func (p *Pool) lastRefusalLocked() error {
	if r := p.refusals[p.lastRefused]; r != nil {
		return r.err
	}
	return nil
}
