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

// refusals remembers what the server refused, and when to try it again. Until then the pool neither dials nor switches
// a conn for the scope, and callers get the error at once. Pool.mu guards it.
type refusals struct {
	base time.Duration // first pause while the server is BUSY
	all  map[scope]*refusal
	last scope // of the last refusal
}

// refusal is the last error of a scope.
type refusal struct {
	err      error
	failures int // consecutive
	retryAt  time.Time
	reported bool // to OnDisowned, since the last refusal
}

func (r *refusals) init(base time.Duration) { r.base, r.all = base, map[scope]*refusal{} }

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

// add records a refusal of an identity. It returns its scope, and the pause before the next attempt.
func (r *refusals) add(k Identity, err error) (scope, time.Duration) {
	s := scopeOf(k, err)
	one := r.all[s]
	if one == nil {
		r.makeRoom()
		one = &refusal{}
		r.all[s] = one
	}
	one.err, one.reported = err, false
	one.failures++
	r.last = s
	return s, one.pause(r.base)
}

// makeRoom drops refusals if there are too many: first those whose pause is over.
func (r *refusals) makeRoom() {
	if len(r.all) < maxRefusals {
		return
	}
	now := time.Now()
	for s, one := range r.all {
		if !now.Before(one.retryAt) {
			delete(r.all, s)
		}
	}
	for s := range r.all {
		if len(r.all) < maxRefusals {
			return
		}
		delete(r.all, s)
	}
}

// of returns the refusal of an identity, unless the server accepted it since, and the remaining pause.
func (r *refusals) of(k Identity) (pause time.Duration, err error) {
	if len(r.all) == 0 {
		return 0, nil
	}
	for _, s := range scopesOf(k) {
		if one := r.all[s]; one != nil {
			err, pause = one.err, max(pause, time.Until(one.retryAt))
		}
	}
	return pause, err
}

// inPause returns the refusal of an identity during its pause.
func (r *refusals) inPause(k Identity) error {
	if pause, err := r.of(k); pause > 0 {
		return err
	}
	return nil
}

// ofUser reports whether the server refuses a user, with each database and protocol.
func (r *refusals) ofUser(user string) bool { return r.all[scope{Identity{User: user}, true}] != nil }

// reported records that OnDisowned receives a user.
func (r *refusals) reported(user string) {
	if one := r.all[scope{Identity{User: user}, true}]; one != nil {
		one.reported = true
	}
}

// unreported reports whether OnDisowned has not received the last refusal of a scope.
func (r *refusals) unreported(s scope) bool {
	one := r.all[s]
	return one != nil && !one.reported
}

// attempted records the start of a dial or switch for an identity. After a refusal it delays further attempts for a
// pause.
func (r *refusals) attempted(k Identity) {
	for _, s := range scopesOf(k) {
		if one := r.all[s]; one != nil {
			one.pause(r.base)
		}
	}
}

// accepted removes the refusals of an identity that the server accepted. sameUser: no AUTH was sent, so refusals of
// the user stay.
func (r *refusals) accepted(k Identity, sameUser bool) {
	for _, s := range scopesOf(k) {
		if !s.user || !sameUser {
			delete(r.all, s)
		}
	}
}

// forgive removes the refusals of a user.
func (r *refusals) forgive(user string) {
	for s := range r.all {
		if s.identity.User == user {
			delete(r.all, s)
		}
	}
}

func (r *refusals) clear() { clear(r.all) }

// lastError returns the last refusal, unless the server accepted the identity since.
func (r *refusals) lastError() error {
	if one := r.all[r.last]; one != nil {
		return one.err
	}
	return nil
}

// pause sets the time of the next attempt and returns the time until then. A BUSY server may be ready again soon, so
// those pauses start short and grow. Accounts change only by administration.
func (r *refusal) pause(base time.Duration) time.Duration {
	pause := refusalPause
	var se *resp.ServerError
	if errors.As(r.err, &se) && se.Code == "BUSY" && r.failures < 20 {
		pause = min(pause, base<<(r.failures-1))
	}
	pause = pause/2 + rand.N(pause/2+1)
	r.retryAt = time.Now().Add(pause)
	return pause
}
