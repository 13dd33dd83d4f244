package engine

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/resp"
)

// users holds the server's users, other than the engine's own, that clients of the gateway log in as.
type users struct {
	wg     sync.WaitGroup  // for closing hubs and calls of watchers
	calls  atomic.Int32    // running calls of watchers
	cut    context.Context // its end cuts the close of hubs short
	cutNow context.CancelFunc

	mu       sync.Mutex
	list     map[string]*user
	watchers map[uint64]func(name string) // called with users that the server refuses
	serial   uint64
	closed   bool
}

func (u *users) init() {
	u.list, u.watchers = map[string]*user{}, map[uint64]func(string){}
	u.cut, u.cutNow = context.WithCancel(context.Background())
}

// nobody is the user of connections that verify logins. A successful login changes the connection's user, so nothing
// else is sent on these connections. No server has a user of this name.
const nobody = "\x00nobody"

// mostLogins limits the stored passwords of a user. A user with nopass accepts any password.
const mostLogins = 4

// longestLogin is the longest name or password that a server accepts before authentication: it closes the connection
// at a longer one.
const longestLogin = 16 << 10

// user is one user. It exists while it has clients. users.mu guards its fields.
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

var errWrongPassword = resp.NewServerError("WRONGPASS invalid username-password pair or user is disabled.")

// enter adds a client of a user and stores the password.
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

// UserStats count the users, passwords and hubs of the gateway's clients.
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

// known reports whether a user has clients.
func (u *users) known(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.list[name] != nil
}

// loginsOf returns the passwords to try for a user, newest first.
func (u *users) loginsOf(name string) []login {
	u.mu.Lock()
	defer u.mu.Unlock()
	if who := u.list[name]; who != nil {
		return slices.Clone(who.logins)
	}
	return nil
}

// spend drops a password that the server refused, unless the server accepted it again since. It is not tried again
// before a client logs in with it, because each attempt adds an entry to the server's ACL LOG.
func (u *users) spend(name string, refused login) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if who := u.list[name]; who != nil {
		who.logins = slices.DeleteFunc(who.logins, func(l login) bool {
			return l.password == refused.password && l.serial <= refused.serial
		})
	}
}

// now returns the serial of the last login.
func (u *users) now() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.serial
}

// disowned calls the watchers, each on a new goroutine, because the caller may hold locks. A client that has logged in
// since the refusal keeps the user.
func (u *users) disowned(name string) {
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
				u.callWatcher(fn, name)
			}
		})
	}
}

// callWatcher calls fn. InCallback searches the stack for the name of this function, so it must not be inlined.
//
//go:noinline
func (u *users) callWatcher(fn func(string), name string) {
	u.calls.Add(1)
	defer u.calls.Add(-1)
	fn(name)
}

// refusedLocked reports whether a user has clients, and the server accepts none of their passwords any more.
func (u *users) refusedLocked(name string) bool {
	who := u.list[name]
	return who != nil && len(who.logins) == 0
}

// leave removes a client of a user. The last client removes the user.
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
			ctx, cancel := context.WithTimeout(u.cut, hubLimit)
			defer cancel()
			who.hub.Close(ctx)
		})
	}
}

// hubLimit limits the time to close a user's subscriptions.
const hubLimit = 5 * time.Second

// watch registers fn for users that have no connection left and that the server refuses.
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

// hub returns the hub of a user. open creates it at the first use. For a user without clients it returns a closed
// hub.
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

// close closes the hubs of all users. It waits for the calls of watchers, and for hubs that close already; the end of
// ctx cuts the latter short.
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
	stop := context.AfterFunc(ctx, u.cutNow)
	defer stop()
	u.wg.Wait()
	u.cutNow()
}

// wrongPassword reports whether err is a server's refusal of a user or password.
func wrongPassword(err error) bool {
	se, ok := errors.AsType[*resp.ServerError](err)
	return ok && se.Code == "WRONGPASS"
}

// Verify verifies a password with the server and returns the user for an Identity: empty for the engine's own user,
// else the user's name. Without a user the password belongs to the default user. The engine keeps the user until
// Leave was called once for each successful Verify. If the server refuses, the error is a *resp.ServerError. It
// blocks for the server's reply.
//
// It sends AUTH on a connection that serves only logins.
func (e *Engine) Verify(ctx context.Context, user, password string) (string, error) {
	if len(user) > longestLogin || len(password) > longestLogin {
		return "", errWrongPassword
	}
	args := []any{"AUTH", user, password}
	if user == "" {
		args, user = []any{"AUTH", password}, command.DefaultUser
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
		n.pool.Forgive(user) // earlier refusals do not apply any more
		n.pool.Confirm(ctx, user)
	}
	return user, nil
}

// verifyLogin sends AUTH alone: a server may not reply to it behind other commands.
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

// Leave removes a client of the user. It does not block.
func (e *Engine) Leave(user string) { e.users.leave(user) }

// OnDisowned registers fn for users that have clients but no connections, because the server refuses them: they were
// deleted or disabled, or their password changed. cancel removes fn. Close waits for running calls of fn, except within
// fn itself.
func (e *Engine) OnDisowned(fn func(user string)) (cancel func()) { return e.users.watch(fn) }

// Hub returns the hub of the engine's own user, or of another user.
func (e *Engine) Hub(user string) *pubsub.Hub {
	if user == "" {
		return e.hub
	}
	return e.users.hub(user, func() *pubsub.Hub { return e.newHub(Identity{User: user, Proto: 3}) })
}

// IsOwn reports whether these are the engine's own user and password, if those are known. It compares in constant
// time.
func (e *Engine) IsOwn(user, password string) bool {
	own := &e.cfg.Dial
	return e.HasPassword() && user == cmp.Or(own.Username, command.DefaultUser) &&
		subtle.ConstantTimeCompare([]byte(password), []byte(own.Password)) == 1
}

// HasPassword reports whether the engine has a fixed password.
func (e *Engine) HasPassword() bool { return e.cfg.Dial.Password != "" && e.cfg.Credentials == nil }

// OwnUser returns the engine's own user; empty if a provider returns the credentials.
func (e *Engine) OwnUser() string {
	if e.cfg.Credentials != nil {
		return ""
	}
	return cmp.Or(e.cfg.Dial.Username, command.DefaultUser)
}

// Greeting returns the server's last reply to HELLO in a handshake; nil before the first. The pointer changes with
// each handshake. The caller must not modify the value.
func (e *Engine) Greeting() *resp.Value {
	for _, n := range e.nodes.now.Load().nodes() {
		if v := n.peer.Greeting(); v != nil {
			return v
		}
	}
	return nil
}
