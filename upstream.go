package respool

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/upstream"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

func init() {
	upstream.Of = func(client any) upstream.Upstream { return &client.(*Client).guests }
}

// guests is the client as the gateway uses it, for clients of its own. It
// knows the passwords of their users.
type guests struct {
	c *Client

	wg sync.WaitGroup // of messages under way

	ownRefused atomic.Int64 // when the server last refused the client's own user, in Unix nanoseconds; 0: never

	mu         sync.Mutex
	identities map[string]*identity
	watchers   map[uint64]func(user string)
	serial     uint64
	closed     bool
}

func (g *guests) init(c *Client) {
	g.c = c
	g.identities, g.watchers = map[string]*identity{}, map[uint64]func(string){}
}

// NoTimeout is part of upstream.Upstream, as are all exported methods.
func (g *guests) NoTimeout() bool { return g.c.opt.untimed }

// Lanes are those of a key.
func (g *guests) Lanes(key pool.Key) upstream.Lanes {
	return &lanes{c: g.c, key: g.c.keyOf(key)}
}

// lanes are those of one key. They remember where the last one was.
type lanes struct {
	c    *Client
	key  pool.Key
	last atomic.Pointer[place]
}

// place is a key's group at a node.
type place struct {
	n     *node
	group *pool.Group
}

// Lane picks one.
func (l *lanes) Lane(reads bool) (*lane.Lane, lane.Options) {
	r := l.c.nodes.now.Load()
	n := r.node()
	if n == nil || r.held != "" && !reads {
		return nil, lane.Options{}
	}
	p := l.last.Load()
	if p == nil || p.n != n {
		p = &place{n, n.pool.Group(l.key)}
		l.last.Store(p)
	}
	picked := p.group.Pick(pool.Any)
	switch {
	case picked == nil:
		l.last.Store(nil) // the key's lanes may come up in another group
	case l.c.opt.untimed && picked.Silent() && p.group.Growing():
		picked = nil // Exchange waits for the other one
	}
	return picked, lane.Options{Owner: p.group.Owner(), NoTimeout: l.c.opt.untimed}
}

// keyOf turns the key of the client's own connections into the pool's zero key.
func (c *Client) keyOf(key pool.Key) pool.Key {
	if key.User == "" && key.DB == c.opt.DB && key.Proto == c.opt.Protocol {
		return pool.Key{}
	}
	return key
}

// Exchange runs commands on a lane, as Client.Do does.
func (g *guests) Exchange(ctx context.Context, key pool.Key, raw []byte, n int, reads bool, before *upstream.Refusal) ([][]byte, error) {
	return g.exchange(ctx, key, raw, reads, before, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		return l.DoRaw(ctx, raw, n, opt)
	})
}

// exchange has send run the commands in raw on a lane of the key, again where that is safe.
func (g *guests) exchange(ctx context.Context, key pool.Key, raw []byte, reads bool, before *upstream.Refusal,
	send func(*lane.Lane, lane.Options) ([][]byte, error),
) ([][]byte, error) {
	frames, _, err := g.c.onLane(ctx, g.c.keyOf(key), raw, reads, before, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		opt.NoTimeout = g.c.opt.untimed
		return send(l, opt)
	})
	return frames, err
}

// Acquire lends a connection.
func (g *guests) Acquire(ctx context.Context, key pool.Key) (upstream.Held, error) {
	conn, n, err := g.c.acquire(ctx, &tries{}, false, acquireAs(g.c.keyOf(key)))
	if err != nil {
		return nil, g.c.public(err)
	}
	return &lent{conn: conn, n: n, c: g.c}, nil
}

// OnLent runs commands on a connection lent for them.
func (g *guests) OnLent(ctx context.Context, key pool.Key, raw []byte, reads bool, attempt upstream.Attempt) ([][]byte, error) {
	frames, err := g.c.onLent(ctx, g.c.keyOf(key), raw, reads, func(_ *node, conn *pool.Conn) outcome {
		frames, after, err := attempt(conn.Lane())
		if after.DB != nil && *after.DB != key.DB {
			moved := key
			moved.DB = *after.DB
			conn.Rekey(g.c.keyOf(moved))
		}
		return outcome{frames: frames, spoilt: after.Spoilt, unsure: after.Unsure, err: err}
	})
	if err != nil {
		return nil, g.c.public(err)
	}
	return frames, nil
}

// lent is a connection lent to the gateway.
type lent struct {
	conn *pool.Conn
	n    *node
	c    *Client
	back atomic.Bool // it was given back
}

// Lane is the connection's.
func (h *lent) Lane() *lane.Lane { return h.conn.Lane() }

// Release gives it back, once.
func (h *lent) Release() {
	if !h.back.Swap(true) {
		h.conn.Release()
	}
}

// Destroy closes it, unless it was given back.
func (h *lent) Destroy(reason string) {
	if !h.back.Swap(true) {
		h.conn.Destroy(reason)
	}
}

// Notice takes a reply as evidence.
func (h *lent) Notice(frame []byte) { h.c.notice(h.n, frame) }

// Again is what again decides of the first try.
func (g *guests) Again(err error, reads bool) bool {
	if errors.Is(err, lane.ErrDraining) || errors.Is(err, pool.ErrSuspended) {
		return true
	}
	var we *wire.Error
	if !errors.As(err, &we) || g.c.closed.Load() || pool.Refused(err) {
		return false
	}
	if !we.Sent {
		return !we.Timeout() || stalled(err) || g.c.finds()
	}
	return reads && g.c.opt.Retries > 0 && !lane.BadReply(err) && (!we.Timeout() || stalled(err))
}

// Refused is what replies alone tell of a refusal.
func (g *guests) Refused(raw []byte, frames [][]byte) bool {
	_, how := g.c.refusal(raw, frames)
	return how != notRefused
}

// defaultUser is who a client is that names nobody.
const defaultUser = "default"

// Own compares in a time that tells nothing of the password.
func (g *guests) Own(user, password string) bool {
	opt := &g.c.opt
	return g.Password() && user == cmp.Or(opt.Username, defaultUser) &&
		subtle.ConstantTimeCompare([]byte(password), []byte(opt.Password)) == 1
}

// User is the default one where none is named.
func (g *guests) User() string {
	if g.c.opt.Credentials != nil {
		return ""
	}
	return cmp.Or(g.c.opt.Username, defaultUser)
}

// Password is not about Options.Credentials, which may give another one each time.
func (g *guests) Password() bool { return g.c.opt.Password != "" && g.c.opt.Credentials == nil }

// verify sends AUTH alone: a server may leave it unanswered behind other replies.
func (g *guests) verify(ctx context.Context, auth []any) error {
	frames, err := g.exchange(ctx, pool.Key{User: nobody}, nil, true, nil, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		frame, err := l.DoAlone(ctx, auth, opt)
		return [][]byte{frame}, err
	})
	if err == nil {
		return Reply{frame: frames[0]}.Err()
	}
	var se *ServerError
	if errors.As(err, &se) {
		return se
	}
	return err
}

// Lookup gives what the lexicon knows.
func (g *guests) Lookup(args [][]byte) (*command.Info, command.Known) {
	return g.c.lexicon.findBytes(args)
}

// Learn asks the server.
func (g *guests) Learn(ctx context.Context, args [][]byte, on upstream.Held) error {
	name, ok := command.QueryNameBytes(args)
	switch {
	case !ok:
		return nil
	case on != nil && on.(*lent).conn.Key().User == "": // it may be the only one
		return g.c.lexicon.learnOn(ctx, on.Lane(), name)
	}
	return g.c.lexicon.learn(ctx, name)
}

// Reconnect renews the connections to all nodes.
func (g *guests) Reconnect() {
	for _, n := range g.c.nodes.list() {
		n.pool.Renew("renewed")
	}
}

// Greeting is that of the first of the nodes in use that is known.
func (g *guests) Greeting() *resp.Value {
	for _, n := range g.c.nodes.now.Load().nodes() {
		if v := n.peer.Greeting(); v != nil {
			return v
		}
	}
	return nil
}
