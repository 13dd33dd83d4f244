package respool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Conn is a connection lent to one caller, for what needs state on it: WATCH,
// MULTI, SELECT, CLIENT settings, WAIT. It is not safe for concurrent use, and
// has to be given back with Release.
//
// Release keeps the connection if its state is as it was, and closes it if
// not. A connection that broke stays broken: its holder gets the errors.
type Conn struct {
	c        *Client
	held     *pool.Conn
	released bool

	watching bool
	multi    bool
	db       int
	tainted  string // why it can't be used by another any more
}

// Acquire lends a connection. It waits in line behind those who came first,
// bounded by ctx and Options.WaitTimeout. At most MaxConnections-1 are lent at
// a time, since one is kept for shared use, but with MaxConnections 1 the only
// one is lent in turn.
func (c *Client) Acquire(ctx context.Context) (*Conn, error) {
	held, err := c.pool.Acquire(ctx)
	if err != nil {
		return nil, c.public(err)
	}
	held.NoteHolder(1)
	return &Conn{c: c, held: held, db: c.opt.DB}, nil
}

// Release gives the connection back. Calling it again does nothing.
func (conn *Conn) Release() {
	if conn.released {
		return
	}
	conn.released = true
	if reason := conn.dirt(); reason != "" {
		conn.held.Destroy(reason)
		return
	}
	conn.held.Release()
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
// Client.Do does. Stateful commands are allowed; those of subscriptions and
// MONITOR are not. Nothing is ever sent again.
func (conn *Conn) Do(ctx context.Context, args ...any) Reply {
	if conn.released {
		return Reply{err: ErrReleased}
	}
	if len(args) == 0 {
		return Reply{err: errNoArguments}
	}
	info, class := command.Classify(args)
	if class == command.Refused {
		return Reply{err: refusal(info)}
	}
	opt := lane.Options{}
	if class == command.Blocking || class == command.Stateful {
		if d, forever, ok := command.BlockFor(info, args); ok && !conn.multi {
			if opt.Block = d; forever {
				opt.Block = -1
			}
		}
	}
	frame, err := conn.held.Lane().Do(ctx, args, opt)
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
	if info == nil {
		conn.tainted = "it ran an unknown command"
		return
	}
	var se *ServerError
	refused := errors.As(r.Err(), &se)
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
// Stateful commands are allowed in it.
func (conn *Conn) Pipeline() *Pipeline { return &Pipeline{c: conn.c, conn: conn} }

// exchange sends a pipeline on the held connection.
func (conn *Conn) exchange(ctx context.Context, p *Pipeline) ([][]byte, error) {
	if conn.released {
		return nil, ErrReleased
	}
	frames, err := conn.held.Lane().DoRaw(ctx, p.raw, p.n, lane.Options{})
	if err != nil && !sent(err) {
		return frames, conn.c.public(err)
	}
	for _, e := range p.effects {
		r := Reply{err: err}
		if e.index < len(frames) {
			r = Reply{frame: frames[e.index]}
		}
		conn.apply(e.info, e.args, r)
	}
	return frames, conn.c.public(err)
}

// Watched is what the function given to Client.Watch works with: Do reads at
// once, Queue gathers what runs as one transaction if no watched key changed.
type Watched struct {
	conn  *Conn
	queue Pipeline
}

// Do runs a command at once, on the connection that watches.
func (w *Watched) Do(ctx context.Context, args ...any) Reply { return w.conn.Do(ctx, args...) }

// Queue adds a command to the transaction that runs when the function returns
// nil. Errors of arguments are returned by Watch.
func (w *Watched) Queue(args ...any) *Watched {
	w.queue.addQueued(args)
	return w
}

// Watch runs fn while keys are watched and then, if fn returned nil, executes
// what it queued, as one transaction. If a key was changed meanwhile nothing
// is executed and the error is ErrConflict. An error of fn is returned as it
// is, and nothing is executed. The replies are those of the queued commands.
//
// It holds a connection of its own meanwhile, so fn should be quick, and must
// not call Watch or Acquire itself. See WatchRetry.
func (c *Client) Watch(ctx context.Context, keys []string, fn func(*Watched) error) ([]Reply, error) {
	if len(keys) == 0 {
		return nil, errors.New("respool: watch: want one key or more")
	}
	conn, err := c.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	args := make([]any, 1, len(keys)+1)
	args[0] = "WATCH"
	for _, k := range keys {
		args = append(args, k)
	}
	if err := conn.Do(ctx, args...).Err(); err != nil {
		return nil, err
	}
	w := &Watched{conn: conn, queue: Pipeline{c: c}}
	if err := fn(w); err != nil {
		conn.unwatch(ctx)
		return nil, err
	}
	return w.exec(ctx)
}

// unwatch makes the connection clean again, so that it need not be closed.
func (conn *Conn) unwatch(ctx context.Context) {
	if conn.watching && !conn.multi && conn.tainted == "" {
		conn.Do(ctx, "UNWATCH")
	}
}

func (w *Watched) exec(ctx context.Context) ([]Reply, error) {
	if w.queue.err != nil || w.queue.n == 0 {
		w.conn.unwatch(ctx)
		return nil, w.queue.err
	}
	raw, _ := resp.AppendCommand(w.queue.raw, []any{"EXEC"})
	frames, err := w.conn.held.Lane().DoRaw(ctx, raw, w.queue.n+1, lane.Options{})
	if err != nil {
		if sent(err) {
			w.conn.tainted = "its transaction was cut off"
		}
		return nil, w.conn.c.public(err)
	}
	w.conn.watching = false
	return execReplies(frames)
}

// Pauses between the attempts of WatchRetry, in time: the first is at most
// this long and each next one at most twice as long, up to the limit.
const (
	firstConflictPause = time.Millisecond
	lastConflictPause  = 100 * time.Millisecond
)

// WatchRetry is Watch, repeated on ErrConflict after a short random pause, up
// to attempts times in all. fn has to start afresh each time.
func (c *Client) WatchRetry(ctx context.Context, attempts int, keys []string, fn func(*Watched) error) ([]Reply, error) {
	if attempts < 1 {
		return nil, fmt.Errorf("respool: watch: %d attempts: want 1 or more", attempts)
	}
	pause := firstConflictPause
	for n := 1; ; n++ {
		replies, err := c.Watch(ctx, keys, fn)
		if !errors.Is(err, ErrConflict) {
			return replies, err
		}
		if n == attempts {
			return nil, fmt.Errorf("%w in each of %d attempts", ErrConflict, attempts)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, lastConflictPause)
	}
}
