package respool

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Conn is a connection lent to one caller, for what needs state on it: WATCH,
// MULTI, SELECT, CLIENT settings, WAIT. It is not safe for concurrent use, and
// has to be given back with Release.
//
// Release keeps the connection if its state is as it was, and closes it if
// not. After a command of which nothing is known it is reset and logged in anew, if the server knows RESET. A connection that broke stays broken: its holder gets the errors.
type Conn struct {
	c        *Client
	node     *node
	held     *pool.Conn
	released bool

	watching bool
	multi    bool
	db       int
	tainted  string // why it can't be used by another any more
	unsure   bool   // it ran commands of which nothing is known: it has to be restored

	forbidden bool // no AUTH of a renewal may come between now
}

// Acquire lends a connection. It waits in line behind those who came first,
// bounded by ctx and Options.WaitTimeout. At most MaxConnections-1 are lent at
// a time, since one is kept for shared use, but with MaxConnections 1 the only
// one is lent in turn.
func (c *Client) Acquire(ctx context.Context) (*Conn, error) {
	held, n, err := c.acquire(ctx, &tries{}, false, (*pool.Pool).Acquire)
	if err != nil {
		return nil, c.public(err)
	}
	held.NoteHolder(1)
	return &Conn{c: c, node: n, held: held, db: c.opt.DB}, nil
}

// Release gives the connection back. Calling it again does nothing.
func (conn *Conn) Release() {
	if conn.released {
		return
	}
	conn.released = true
	reason := conn.dirt()
	switch {
	case conn.unsure && conn.tainted == "":
		conn.held.ReleaseDirty(unsureReason)
	case reason != "":
		conn.held.Destroy(reason)
	default:
		conn.held.Release()
	}
}

// Destroy closes the connection instead of giving it back.
func (conn *Conn) Destroy() {
	if !conn.released {
		conn.released = true
		conn.held.Destroy("destroyed by its holder")
	}
}

// dirt says what keeps the connection from being used by another.
func (conn *Conn) dirt() string {
	switch {
	case conn.tainted != "":
		return conn.tainted
	case conn.multi:
		return "returned inside MULTI"
	case conn.watching:
		return "returned with WATCH"
	case conn.db != conn.c.opt.DB:
		return "returned with another db"
	}
	return ""
}

// Do sends one command on this connection and waits for its reply, as
// Client.Do does. Stateful commands are allowed; those of subscriptions, MONITOR
// and others that a server does not answer with one reply are not, and AUTH and
// HELLO not inside MULTI, nor while replies are due. Nothing is ever sent again.
func (conn *Conn) Do(ctx context.Context, args ...any) Reply {
	if conn.released {
		return Reply{err: ErrReleased}
	}
	if len(args) == 0 {
		return Reply{err: errNoArguments}
	}
	info, class := command.Classify(args)
	switch class {
	case command.Refused:
		return Reply{err: refusal(info)}
	case command.Unknown:
		var err error
		if info, err = conn.learned(ctx, args); err != nil {
			return Reply{err: err}
		}
		if info != nil {
			class = info.Class
		}
	}
	if info != nil && info.Answers() == command.OnceAlone && conn.held.Lane().Depth() > 0 {
		return Reply{err: fmt.Errorf("%w: %s while replies are due to commands whose callers have left: a server may leave it unanswered: "+
			"use another connection", ErrStateful, info.Name)}
	}
	if conn.multi && info != nil && info.Answers() != command.Once {
		return Reply{err: fmt.Errorf("%w: %s inside MULTI: EXEC may be answered with too few replies", ErrStateful, info.Name)}
	}
	opt := lane.Options{}
	if (class == command.Blocking || class == command.Stateful) && !conn.multi {
		d, forever, ok := command.BlockFor(info, args)
		switch {
		case ok && forever, !ok && class == command.Blocking && command.Lookup(info.Name) == nil: // a learned one does not tell
			opt.Block = -1
		case ok:
			opt.Block = d
		}
	}
	conn.catchUp(ctx)
	conn.forbid(info)
	defer conn.permit()
	frame, err := conn.held.Lane().Do(ctx, args, opt)
	err = conn.failure(err)
	conn.c.notice(conn.node, frame)
	r := Reply{frame: frame, err: conn.c.public(err)}
	if err != nil && sent(err) && opt.Block != 0 {
		conn.tainted = "its caller left a " + info.Name
	}
	if info == nil || info.Effect != command.EffectNone {
		if err == nil || sent(err) {
			conn.apply(info, selected(info, args), r)
		}
	}
	return r
}

// learned is what the server tells of a command that the table lacks. Inside MULTI it can't be asked.
func (conn *Conn) learned(ctx context.Context, args []any) (*command.Info, error) {
	info, known := conn.c.lexicon.find(args)
	if known == command.Learned {
		return info, nil
	}
	if _, err := commandName(args); err != nil {
		return nil, conn.c.public(err)
	}
	if err := checkArgs(args); err != nil {
		return nil, conn.c.public(err)
	}
	name, _ := command.QueryName(args)
	if known != command.NotAsked || conn.multi {
		return info, nil
	}
	if err := conn.ask(ctx, name); err != nil {
		return nil, err
	}
	info, _ = conn.c.lexicon.find(args)
	return info, nil
}

// ask asks the server about a command on this connection, since it may be the only one.
func (conn *Conn) ask(ctx context.Context, name string) error {
	if conn.tainted != "" || conn.unsure { // it may be another user's by now
		return nil
	}
	return conn.c.lexicon.learnOn(ctx, conn.held.Lane(), name)
}

// failure tells of a connection that takes no more commands although replies
// are still due on it.
func (conn *Conn) failure(err error) error {
	if errors.Is(err, lane.ErrDraining) {
		return &wire.Error{Op: "write", Addr: conn.node.addr, Err: pool.ErrSuspended}
	}
	return err
}

// forbid keeps a renewal of credentials off before a command of which it may not come behind: one that begins a
// transaction, or changes the user.
func (conn *Conn) forbid(info *command.Info) {
	if info != nil && info.Effect != command.EffectMulti && info.Effect != command.EffectTaint || conn.forbidden {
		return
	}
	conn.forbidden = true
	conn.held.Lane().Forbid()
}

// catchUp authenticates again where a renewal found the connection busy each time.
func (conn *Conn) catchUp(ctx context.Context) {
	if !conn.forbidden {
		conn.c.renewer.catchUp(ctx, conn.held.Lane())
	}
}

// permit ends that, once the state is as it was.
func (conn *Conn) permit() {
	if conn.forbidden && !conn.multi && conn.tainted == "" && !conn.unsure {
		conn.forbidden = false
		conn.held.Lane().Permit()
	}
}

// selected is the db that a SELECT names.
func selected(info *command.Info, args []any) string {
	if info == nil || info.Effect != command.EffectSelect || len(args) < 2 {
		return ""
	}
	b, err := resp.AppendCommand(nil, args[1:2])
	if err != nil {
		return ""
	}
	text, _ := Reply{frame: b[len("*1\r\n"):]}.Text()
	return text
}

// apply keeps account of what a command did to the connection's state. What
// is not known for sure counts as done.
func (conn *Conn) apply(info *command.Info, db string, r Reply) {
	var se *ServerError
	refused := errors.As(r.Err(), &se)
	if info == nil || info.Class == command.Unknown {
		switch {
		case r.frame == nil:
			conn.tainted = "its caller left a command of which nothing is known"
		case !lacksCommand(r.frame):
			conn.unsure = true
		}
		return
	}
	switch info.Effect {
	case command.EffectWatch:
		conn.watching = conn.watching || !refused
	case command.EffectMulti:
		conn.multi = conn.multi || !refused
	case command.EffectUnwatch:
		conn.watching = conn.watching && (r.Err() != nil || conn.multi)
	case command.EffectEndMulti:
		if r.Err() == nil || refused && se.Code == "EXECABORT" {
			conn.multi, conn.watching = false, false
		}
	case command.EffectSelect:
		n, err := strconv.Atoi(db)
		switch {
		case refused:
		case err != nil || r.Err() != nil || conn.multi:
			conn.tainted = "its db is not known"
		default:
			conn.db = n
		}
	case command.EffectTaint:
		if !refused {
			conn.tainted = "its state was changed by " + info.Name
		}
	}
}

// Pipeline makes an empty pipeline whose commands go out on this connection.
// Stateful commands are allowed in it, except for AUTH and HELLO: among others
// a server may leave them unanswered.
func (conn *Conn) Pipeline() *Pipeline { return &Pipeline{c: conn.c, conn: conn} }

// exchange sends a pipeline on the held connection.
func (conn *Conn) exchange(ctx context.Context, p *Pipeline) ([][]byte, error) {
	if conn.released {
		return nil, ErrReleased
	}
	if err := p.learn(ctx); err != nil {
		return nil, err
	}
	conn.catchUp(ctx)
	for _, e := range p.effects {
		conn.forbid(e.info)
	}
	defer conn.permit()
	frames, err := conn.held.Lane().DoRaw(ctx, p.raw, p.n, lane.Options{})
	err = conn.failure(err)
	if err != nil && !sent(err) {
		return frames, conn.c.public(err)
	}
	conn.c.notice(conn.node, frames...)
	for _, e := range p.effects {
		r := Reply{err: err}
		if e.index < len(frames) {
			r = Reply{frame: frames[e.index]}
		}
		conn.apply(e.info, e.args, r)
	}
	return frames, conn.c.public(err)
}
