// Package identity dials connections of an identity (user, database and protocol), and switches connections from one
// identity to another. It keeps the users that clients of the gateway log in as, with their passwords.
//
// It does not choose connections or nodes. Its goroutines belong to Users, which waits for them in Close.
package identity

import (
	"cmp"
	"context"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Switcher dials and switches connections. All methods are safe for concurrent use.
type Switcher struct {
	dial     *wire.Config     // of the engine's own identity
	renewer  *renewal.Renewer // provides the credentials of the own user; nil: those in login
	login    atomic.Pointer[Login]
	users    *Users
	ownLogin ownLogin
}

// Login is the user name and the password of the engine's own user. Both are empty without a login.
type Login struct{ Username, Password string }

// New returns a Switcher. dial configures connections of the engine's own identity; its login applies until SetLogin.
// renewer, if not nil, provides the credentials of the own user instead.
func New(dial *wire.Config, renewer *renewal.Renewer, users *Users) *Switcher {
	s := &Switcher{dial: dial, renewer: renewer, users: users}
	s.login.Store(&Login{dial.Username, dial.Password})
	return s
}

// Login returns the fixed login of the engine's own user.
func (s *Switcher) Login() Login { return *s.login.Load() }

// SetLogin changes the fixed login of the engine's own user.
func (s *Switcher) SetLogin(l Login) {
	s.login.Store(&l)
	s.ownLogin.note(nil) // refusals of the old one do not count any more
}

// Own returns the zero Identity, apart from Replica, for the engine's own identity, and other identities unchanged.
func (s *Switcher) Own(id pool.Identity) pool.Identity {
	if id.User == "" && id.DB == s.dial.DB && id.Proto == s.dial.Protocol {
		return pool.Identity{Replica: id.Replica}
	}
	return id
}

// isOwn reports whether an identity is the engine's own, apart from Replica.
func isOwn(id pool.Identity) bool { return id == pool.Identity{Replica: id.Replica} }

// protocol returns the protocol of an identity; 3 if neither the identity nor the configuration sets one.
func (s *Switcher) protocol(id pool.Identity) int { return cmp.Or(id.Proto, s.dial.Protocol, 3) }

// db returns the database of an identity.
func (s *Switcher) db(id pool.Identity) int {
	if isOwn(id) {
		return s.dial.DB
	}
	return id.DB
}

// anyDB is the database of a connection if it is unknown.
const anyDB = -1

// spelt returns an identity with the actual database and protocol of its connection.
func (s *Switcher) spelt(id pool.Identity, conn *wire.Conn) pool.Identity {
	db := s.db(id)
	if id.User == Nobody {
		db = anyDB
	}
	return pool.Identity{User: id.User, DB: db, Proto: conn.Protocol(), Replica: id.Replica}
}

// hasLogin reports whether a dial of the engine's own user sends AUTH.
func (s *Switcher) hasLogin() bool {
	return s.renewer != nil || s.Login() != Login{}
}

// refusalWithoutLogin returns the refusal because of which an engine without a login must not send AUTH for its own
// user. The server would refuse AUTH too, and would log that. It does not log the refusal of a dial: only dials try
// again.
func (s *Switcher) refusalWithoutLogin() error {
	if s.hasLogin() {
		return nil
	}
	return s.ownLogin.refusal()
}

// ownCredentials returns the credentials of the engine's own user.
func (s *Switcher) ownCredentials(ctx context.Context) (renewal.Credentials, error) {
	login := s.Login()
	own := renewal.Credentials{Username: login.Username, Password: login.Password}
	var err error
	if s.renewer != nil {
		own, err = s.renewer.Ask(ctx)
	}
	own.Username = cmp.Or(own.Username, command.DefaultUser) // AUTH without a user name may refer to another user
	return own, err
}
