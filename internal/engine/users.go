package engine

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/resp"
)

// users are the server's users, other than the engine's own, as whom clients of the gateway work.
type users struct {
	wg sync.WaitGroup // of closing hubs, and of calls of watchers

	mu       sync.Mutex
	list     map[string]*user
	watchers map[uint64]func(name string) // called with users whom the server lets in no more
	serial   uint64
	closed   bool
}

func (u *users) init() {
	u.list, u.watchers = map[string]*user{}, map[uint64]func(string){}
}

// nobody is the user of connections that verify logins. Each login that is right changes the
// connection's user, so nothing else is ever sent there. No server has a user of this name.
const nobody = "\x00nobody"

// mostLogins bounds the passwords of a user that are kept: a user without a password is let in with any.
const mostLogins = 4

// longestLogin is the longest name or password that a server takes from somebody whom it does not know
// yet: it closes the connection at a longer one.
const longestLogin = 16 << 10

// user is one of them. It is kept while it has clients. Its fields are guarded by users.mu.
type user struct {
	clients int
	logins  []login     // the newest first
	hub     *pubsub.Hub // nil before the first use
}

// login is a password that the server took.
type login struct {
	password string
	serial   uint64 // tells two logins with one password apart
}

// errForgotten refuses a connection to a user of whom no password is known that the server takes.
var errForgotten = resp.NewServerError("WRONGPASS the server does not take the user's password any more")

var errWrongPassword = resp.NewServerError("WRONGPASS invalid username-password pair or user is disabled.")

// enter counts another client as a user, and keeps the password.
func (u *users) enter(name, password string) {
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

// UserStats say how much is kept of the users of a gateway's clients.
type UserStats struct{ Users, Passwords, Hubs int }

func (u *users) stats() (st UserStats) {
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

// known reports whether there are clients of a user.
func (u *users) known(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.list[name] != nil
}

// loginsOf are the passwords to try for a user, the newest first.
func (u *users) loginsOf(name string) []login {
	u.mu.Lock()
	defer u.mu.Unlock()
	if who := u.list[name]; who != nil {
		return slices.Clone(who.logins)
	}
	return nil
}

// spend drops a password that the server has refused, unless it took it since. It is not tried again before
// somebody logs in with it: each attempt is an entry in the server's ACL LOG.
func (u *users) spend(name string, refused login) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if who := u.list[name]; who != nil {
		who.logins = slices.DeleteFunc(who.logins, func(l login) bool {
			return l.password == refused.password && l.serial <= refused.serial
		})
	}
}

// now is the serial of the last login.
func (u *users) now() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.serial
}

// disowned tells those who want to know, on a goroutine of its own: whoever found out may hold locks.
func (u *users) disowned(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || u.list[name] == nil {
		return
	}
	for _, fn := range u.watchers {
		u.wg.Go(func() { fn(name) })
	}
}

// leave takes a client off a user, and forgets the user with the last one.
func (u *users) leave(name string) {
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
			ctx, cancel := context.WithTimeout(context.Background(), hubLimit)
			defer cancel()
			who.hub.Close(ctx)
		})
	}
}

// hubLimit bounds the end of a user's subscriptions.
const hubLimit = 5 * time.Second

// watch has fn called with each user whom the server has taken its connections and lets in no more.
func (u *users) watch(fn func(name string)) (cancel func()) {
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

// hub is the one of a user, made by open at its first use. Of a user who has left it is one that is closed.
func (u *users) hub(name string, open func() *pubsub.Hub) *pubsub.Hub {
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

// close ends the hubs of users.
func (u *users) close(ctx context.Context) {
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
}

// wrongPassword reports whether err is a server's refusal of a user or a password.
func wrongPassword(err error) bool {
	se, ok := errors.AsType[*resp.ServerError](err)
	return ok && se.Code == "WRONGPASS"
}

// defaultUser is the user of a client that names none.
const defaultUser = "default"

// Verify has the server verify a password, and returns the user of the Identity of those who know it: the empty
// one if these are the engine's own, else the user's name. Without a user the password is the
// default user's. The user is kept until Leave was called as often. An error is a
// *resp.ServerError if the server refuses.
//
// It sends AUTH on a connection that serves nothing but logins.
func (e *Engine) Verify(ctx context.Context, user, password string) (string, error) {
	if len(user) > longestLogin || len(password) > longestLogin {
		return "", errWrongPassword
	}
	args := []any{"AUTH", user, password}
	if user == "" {
		args, user = []any{"AUTH", password}, defaultUser
	}
	before := e.users.now()
	if err := e.verifyLogin(ctx, args); err != nil {
		if wrongPassword(err) {
			e.users.spend(user, login{password, before})
		}
		return "", err
	}
	if e.IsOwn(user, password) {
		return "", nil
	}
	e.users.enter(user, password)
	for _, n := range e.nodes.list() {
		n.pool.Forgive(user) // what was refused before holds no more
		n.pool.Confirm(ctx, user)
	}
	return user, nil
}

// verifyLogin sends AUTH alone: a server may leave it unanswered behind other replies.
func (e *Engine) verifyLogin(ctx context.Context, auth []any) error {
	got := e.exchange(ctx, Identity{User: nobody}, request{reads: true}, nil, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		opt.NoTimeout = e.cfg.NoReplyTimeout
		frame, err := l.DoAlone(ctx, auth, opt)
		return [][]byte{frame}, err
	})
	if got.err == nil {
		return errorOf(got.frames[0])
	}
	if se, ok := errors.AsType[*resp.ServerError](got.err); ok {
		return se
	}
	return WrapError(got.err)
}

// Leave takes note that a client does not work as the user any more. It does not block.
func (e *Engine) Leave(user string) { e.users.leave(user) }

// OnDisowned has fn called with users who have clients, but no connections and get none, since the server
// does not let them in: they were deleted or switched off, or their password has changed. cancel ends that.
func (e *Engine) OnDisowned(fn func(user string)) (cancel func()) { return e.users.watch(fn) }

// Hub is the one of the engine's own user, or of another.
func (e *Engine) Hub(user string) *pubsub.Hub {
	if user == "" {
		return e.hub
	}
	return e.users.hub(user, func() *pubsub.Hub { return e.newHub(Identity{User: user, Proto: 3}) })
}

// IsOwn reports whether these are the engine's own user and password, as far as those are known. It compares in
// a time that tells nothing of the password.
func (e *Engine) IsOwn(user, password string) bool {
	own := &e.cfg.Dial
	return e.HasPassword() && user == cmp.Or(own.Username, defaultUser) &&
		subtle.ConstantTimeCompare([]byte(password), []byte(own.Password)) == 1
}

// HasPassword reports whether the engine has a password of its own that does not change.
func (e *Engine) HasPassword() bool { return e.cfg.Dial.Password != "" && e.cfg.Credentials == nil }

// OwnUser is the engine's own user, and empty where each dial asks for the credentials.
func (e *Engine) OwnUser() string {
	if e.cfg.Credentials != nil {
		return ""
	}
	return cmp.Or(e.cfg.Dial.Username, defaultUser)
}

// Greeting is what the server that commands go to last answered to HELLO, in a handshake: nil while there was none. It
// is another pointer after each handshake, and what it points to is not to be changed.
func (e *Engine) Greeting() *resp.Value {
	for _, n := range e.nodes.now.Load().nodes() {
		if v := n.peer.Greeting(); v != nil {
			return v
		}
	}
	return nil
}
