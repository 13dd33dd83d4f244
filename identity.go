package respool

import (
	"context"
	"errors"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/resp"
)

// nobody is the user of connections that verify logins. Each login that is right changes the
// connection's user, so nothing else is ever sent there. No server has a user of this name.
const nobody = "\x00nobody"

// mostLogins bounds the passwords of a user that are kept: a user without a password is let in with any.
const mostLogins = 4

// longestLogin is the longest name or password that a server takes from somebody whom it does not know
// yet: it closes the connection at a longer one.
const longestLogin = 16 << 10

// identity is a user of the server, other than the client's own, as whom clients of the gateway work.
// It is kept while there are any. Its fields are guarded by guests.mu.
type identity struct {
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

// Verify sends AUTH on a connection that serves nothing but logins. The user is kept until Leave.
func (g *guests) Verify(ctx context.Context, user, password string) (string, error) {
	if len(user) > longestLogin || len(password) > longestLogin {
		return "", errWrongPassword
	}
	args := []any{"AUTH", user, password}
	if user == "" {
		args, user = []any{"AUTH", password}, defaultUser
	}
	before := g.now()
	if err := g.verify(ctx, args); err != nil {
		if wrongPassword(err) {
			g.spend(user, login{password, before})
		}
		return "", err
	}
	if g.Own(user, password) {
		return "", nil
	}
	g.enter(user, password)
	for _, n := range g.c.nodes.list() {
		n.pool.Forgive(user) // what was refused before holds no more
		n.pool.Confirm(ctx, user)
	}
	return user, nil
}

// enter counts another client as a user, and keeps the password.
func (g *guests) enter(user, password string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	who := g.identities[user]
	if who == nil {
		who = &identity{}
		g.identities[user] = who
	}
	who.clients++
	g.serial++
	who.logins = slices.DeleteFunc(who.logins, func(l login) bool { return l.password == password })
	who.logins = slices.Insert(who.logins, 0, login{password, g.serial})
	who.logins = who.logins[:min(len(who.logins), mostLogins)]
}

// Leave ends what Verify began. The last client's leaving forgets the user.
func (g *guests) Leave(user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	who := g.identities[user]
	if who == nil {
		return
	}
	if who.clients--; who.clients > 0 {
		return
	}
	delete(g.identities, user)
	if who.hub != nil && !g.closed {
		g.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), defaultTimeout)
			defer cancel()
			who.hub.Close(ctx)
		})
	}
}

// known reports whether there are clients of a user.
func (g *guests) known(user string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.identities[user] != nil
}

// loginsOf are the passwords to try for a user, the newest first.
func (g *guests) loginsOf(user string) []login {
	g.mu.Lock()
	defer g.mu.Unlock()
	if who := g.identities[user]; who != nil {
		return slices.Clone(who.logins)
	}
	return nil
}

// spend drops a password that the server has refused, unless it took it since. It is not tried again before
// somebody logs in with it: each attempt is an entry in the server's ACL LOG.
func (g *guests) spend(user string, refused login) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if who := g.identities[user]; who != nil {
		who.logins = slices.DeleteFunc(who.logins, func(l login) bool {
			return l.password == refused.password && l.serial <= refused.serial
		})
	}
}

// now is the serial of the last login.
func (g *guests) now() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.serial
}

// wrongPassword reports whether err is a server's refusal of a user or a password.
func wrongPassword(err error) bool {
	var se *ServerError
	return errors.As(err, &se) && se.Code == "WRONGPASS"
}

// Hub is the one of the client itself, or of a user.
func (g *guests) Hub(user string) *pubsub.Hub {
	if user == "" {
		return g.c.hub
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	who := g.identities[user]
	if who == nil { // it has left, and needs none
		h := g.c.newHub(pool.Key{User: user, Proto: 3})
		h.Close(context.Background())
		return h
	}
	if who.hub == nil {
		who.hub = g.c.newHub(pool.Key{User: user, Proto: 3})
	}
	return who.hub
}

// OnDisowned has fn called with each user whom the server has taken its connections and lets in no more.
func (g *guests) OnDisowned(fn func(user string)) (cancel func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serial++
	id := g.serial
	g.watchers[id] = fn
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.watchers, id)
	}
}

// disowned tells those who want to know, on a goroutine of its own: whoever found out may hold locks.
func (g *guests) disowned(user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.identities[user] == nil {
		return
	}
	for _, fn := range g.watchers {
		g.wg.Go(func() { fn(user) })
	}
}

// close ends the hubs of users.
func (g *guests) close(ctx context.Context) {
	g.mu.Lock()
	g.closed = true
	var hubs []*pubsub.Hub
	for _, who := range g.identities {
		if who.hub != nil {
			hubs = append(hubs, who.hub)
		}
	}
	clear(g.identities)
	g.mu.Unlock()
	for _, h := range hubs {
		h.Close(ctx)
	}
}
