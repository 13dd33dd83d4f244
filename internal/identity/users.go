package identity

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Users holds the server's users, other than the engine's own, that clients of the gateway log in as. All methods are
// safe for concurrent use.
type Users struct {
	wg     sync.WaitGroup  // for closing hubs and calls of watchers
	cut    context.Context // its end cuts the close of hubs short
	cutNow context.CancelFunc

	mu       sync.Mutex
	list     map[string]*user
	watchers map[uint64]func(name string) // called with users that the server refuses
	serial   uint64
	closed   bool
}

// NewUsers returns an empty Users. The caller must close it.
func NewUsers() *Users {
	u := &Users{list: map[string]*user{}, watchers: map[uint64]func(string){}}
	u.cut, u.cutNow = context.WithCancel(context.Background())
	return u
}

// Nobody is the user of connections that verify logins. A successful login changes the connection's user, so nothing
// else is sent on these connections. No server has a user of this name.
const Nobody = "\x00nobody"

// mostLogins limits the stored passwords of a user. A user with nopass accepts any password.
const mostLogins = 4

// user is one user. It exists while it has clients. Users.mu guards its fields.
type user struct {
	clients int
	logins  []login     // newest first
	hub     *pubsub.Hub // nil before the first use
}

// login is a password that the server accepted.
type login struct {
	password string
	serial   uint64 // distinguishes logins with the same password
}

// errForgotten is the error for a user without a stored password that the server accepts.
var errForgotten = resp.NewServerError("WRONGPASS the server does not take the user's password any more")

// Enter adds a client of a user and stores the password.
func (u *Users) Enter(name, password string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	who := u.list[name]
	if who == nil {
		who = &user{}
		u.list[name] = who
	}
	who.clients++
	u.serial++
	who.logins = slices.DeleteFunc(who.logins, func(l login) bool { return l.password == password })
	who.logins = slices.Insert(who.logins, 0, login{password, u.serial})
	who.logins = who.logins[:min(len(who.logins), mostLogins)]
}

// Stats count the users, passwords and hubs of the gateway's clients.
type Stats struct{ Users, Passwords, Hubs int }

// Stats returns the current numbers.
func (u *Users) Stats() (st Stats) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, who := range u.list {
		st.Users++
		st.Passwords += len(who.logins)
		if who.hub != nil {
			st.Hubs++
		}
	}
	return st
}

// Known reports whether a user has clients.
func (u *Users) Known(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.list[name] != nil
}

// loginsOf returns the passwords to try for a user, newest first.
func (u *Users) loginsOf(name string) []login {
	u.mu.Lock()
	defer u.mu.Unlock()
	if who := u.list[name]; who != nil {
		return slices.Clone(who.logins)
	}
	return nil
}

// Spend drops a password that the server refused, unless the server accepted it after the login with the number serial.
// It is not tried again before a client logs in with it, because each attempt adds an entry to the server's ACL LOG.
func (u *Users) Spend(name, password string, serial uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if who := u.list[name]; who != nil {
		who.logins = slices.DeleteFunc(who.logins, func(l login) bool {
			return l.password == password && l.serial <= serial
		})
	}
}

// Serial returns the number of the last login.
func (u *Users) Serial() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.serial
}

// Disowned calls the watchers of a user that has no connection left, because the server refuses it. It calls them, each on a
// new goroutine, because the caller may hold locks. A client that has logged in since the refusal keeps the user.
func (u *Users) Disowned(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || !u.refusedLocked(name) {
		return
	}
	for _, fn := range u.watchers {
		u.wg.Go(func() {
			u.mu.Lock()
			refused := u.refusedLocked(name)
			u.mu.Unlock()
			if refused {
				fn(name)
			}
		})
	}
}

// refusedLocked reports whether a user has clients, and the server accepts none of their passwords any more.
func (u *Users) refusedLocked(name string) bool {
	who := u.list[name]
	return who != nil && len(who.logins) == 0
}

// Leave removes a client of a user. The last client removes the user.
func (u *Users) Leave(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	who := u.list[name]
	if who == nil {
		return
	}
	if who.clients--; who.clients > 0 {
		return
	}
	delete(u.list, name)
	if who.hub != nil && !u.closed {
		u.wg.Go(func() {
			ctx, cancel := context.WithTimeout(u.cut, hubLimit)
			defer cancel()
			who.hub.Close(ctx)
		})
	}
}

// hubLimit limits the time to close a user's subscriptions.
const hubLimit = 5 * time.Second

// Watch registers fn for Disowned.
func (u *Users) Watch(fn func(name string)) (cancel func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.serial++
	id := u.serial
	u.watchers[id] = fn
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.watchers, id)
	}
}

// Hub returns the hub of a user. open creates it at the first use. For a user without clients it returns a closed
// hub.
func (u *Users) Hub(name string, open func() *pubsub.Hub) *pubsub.Hub {
	u.mu.Lock()
	defer u.mu.Unlock()
	who := u.list[name]
	if who == nil {
		h := open()
		h.Close(context.Background())
		return h
	}
	if who.hub == nil {
		who.hub = open()
	}
	return who.hub
}

// Hubs returns the hubs of all users.
func (u *Users) Hubs() (hubs []*pubsub.Hub) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, who := range u.list {
		if who.hub != nil {
			hubs = append(hubs, who.hub)
		}
	}
	return hubs
}

// Close closes the hubs of all users. It waits for the calls of watchers, and for hubs that close already; the end of
// ctx cuts the latter short.
func (u *Users) Close(ctx context.Context) {
	u.mu.Lock()
	u.closed = true
	var hubs []*pubsub.Hub
	for _, who := range u.list {
		if who.hub != nil {
			hubs = append(hubs, who.hub)
		}
	}
	clear(u.list)
	u.mu.Unlock()
	for _, h := range hubs {
		h.Close(ctx)
	}
	stop := context.AfterFunc(ctx, u.cutNow)
	defer stop()
	u.wg.Wait()
	u.cutNow()
}

// WrongPassword reports whether err is a server's refusal of a user or password.
func WrongPassword(err error) bool {
	se, ok := errors.AsType[*resp.ServerError](err)
	return ok && se.Code == "WRONGPASS"
}
