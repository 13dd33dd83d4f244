package engine

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

// Conn is a dedicated connection of the engine's own identity. It tracks the state that commands leave on the
// connection, so that Release knows whether another caller may use it. It is not safe for concurrent use. The caller
// must release it.
type Conn struct {
	e        *Engine
	own      Lease  // of Acquire
	lease    *Lease // own, or the lease of the attempt that uses the Conn
	released bool

	watching bool
	multi    bool
	db       int
	tainted  string // why no other caller may use it
	unsure   bool   // it ran commands with an unknown effect: it must be restored

	forbidden bool // renewals of credentials may not send AUTH now
}

// Acquire leases a connection for conn, which must be zero and must not be copied afterwards. Callers wait in order of
// arrival. ctx and the wait timeout limit the wait. In a cluster it is a connection of the node that serves keys, or of
// any node without keys. It returns a *command.CrossSlotError if they lie in several slots.
func (e *Engine) Acquire(ctx context.Context, conn *Conn, keys ...string) error {
	at, err := e.slotOfKeys(keys)
	if err == nil {
		req := request{slot: at}
		if len(keys) > 0 {
			req.key = []byte(keys[0])
		}
		err = e.lease(ctx, &conn.own, &req, acquire)
	}
	if err != nil {
		return WrapError(err)
	}
	conn.own.conn.NoteHolder(2)
	conn.begin(e, &conn.own)
	return nil
}

func acquire(ctx context.Context, p *pool.Pool) (*pool.Conn, error) { return p.Acquire(ctx) }

// Watch is Acquire with WATCH of keys, of which there must be one or more.
func (e *Engine) Watch(ctx context.Context, conn *Conn, keys []string) error {
	at, err := e.slotOfKeys(keys)
	if err != nil {
		return WrapError(err)
	}
	args := append(make([]any, 0, len(keys)+1), "WATCH")
	for _, k := range keys {
		args = append(args, k)
	}
	req, so := request{slot: at, key: []byte(keys[0]), stays: true}, attempts{}
	got := e.run(ctx, &req, &so, func(n target) attempt {
		*conn = Conn{}
		if err := e.leaseAt(ctx, &conn.own, n, acquire); err != nil {
			return attempt{waited: true, err: err}
		}
		conn.begin(e, &conn.own)
		got := attempt{lane: conn.lease.Lane()}
		if got.frame, got.err = conn.Do(ctx, args); got.err == nil {
			e.judgeOne(ctx, n, args, &got)
		}
		if got.err != nil || errorOf(got.frame) != nil {
			conn.Release()
		}
		return got
	})
	if got.err != nil {
		return WrapError(got.err)
	}
	if err := errorOf(got.frame); err != nil {
		return err
	}
	conn.own.conn.NoteHolder(2)
	return nil
}

// begin makes conn use a lease.
func (conn *Conn) begin(e *Engine, l *Lease) { conn.e, conn.lease, conn.db = e, l, e.cfg.Dial.DB }

// Release returns the connection to its pool. Further calls do nothing.
func (conn *Conn) Release() {
	if conn.released {
		return
	}
	conn.released = true
	reason := conn.dirt()
	switch {
	case conn.unsure && conn.tainted == "":
		conn.lease.ReleaseDirty(unsureReason)
	case reason != "":
		conn.lease.Destroy(reason)
	default:
		conn.lease.Release()
	}
}

// Destroy closes the connection instead of returning it to its pool.
func (conn *Conn) Destroy() {
	if !conn.released {
		conn.released = true
		conn.lease.Destroy("destroyed by its holder")
	}
}

// dirt returns the reason why no other caller may use the connection; empty if there is none.
func (conn *Conn) dirt() string {
	switch {
	case conn.tainted != "":
		return conn.tainted
	case conn.multi:
		return "returned inside MULTI"
	case conn.watching:
		return "returned with WATCH"
	case conn.db != conn.e.cfg.Dial.DB:
		return "returned with another db"
	}
	return ""
}

// Do sends one command on this connection and waits for its reply. It never resends a command.
func (conn *Conn) Do(ctx context.Context, args []any) ([]byte, error) {
	if conn.released {
		return nil, ErrReleased
	}
	if len(args) == 0 {
		return nil, errNoArguments
	}
	info, class := command.Classify(args)
	switch class {
	case command.Refused:
		return nil, statefulError(info)
	case command.Unknown:
		var err error
		if info, err = conn.learned(ctx, args); err != nil {
			return nil, err
		}
		if info != nil {
			class = info.Class
		}
	}
	if err := conn.mayAnswerOtherwise(info); err != nil {
		return nil, err
	}
	opt := lane.Options{}
	if (class == command.Blocking || class == command.Stateful) && !conn.multi {
		opt.Block = command.BlockFor(info, args)
	}
	conn.catchUp(ctx)
	conn.forbid(info)
	defer conn.permit()
	frame, err := conn.lease.Lane().Do(ctx, args, opt)
	err = conn.failure(err)
	conn.lease.Notice(frame)
	if err != nil && sent(err) && opt.Block != command.NoBlock {
		conn.tainted = "its caller left a " + info.Name
	}
	if info == nil || info.Effect != command.EffectNone {
		if err == nil || sent(err) {
			conn.apply(info, selected(info, args), frame, err)
		}
	}
	return frame, WrapError(err)
}

// mayAnswerOtherwise refuses a command to which a server may send no reply, or several, in the current state.
func (conn *Conn) mayAnswerOtherwise(info *command.Info) error {
	switch {
	case info == nil || info.Answers() == command.Once:
	case info.Answers() == command.OnceAlone && conn.lease.Lane().Depth() > 0:
		return fmt.Errorf("%w: %s while replies are due to commands whose callers have left: a server may leave it unanswered: "+
			"use another connection", ErrStateful, info.Name)
	case conn.multi:
		return fmt.Errorf("%w: %s inside MULTI: EXEC may be answered with too few replies", ErrStateful, info.Name)
	}
	return nil
}

// learned returns the server's description of a command that the table lacks. It does not query the server inside
// MULTI.
func (conn *Conn) learned(ctx context.Context, args []any) (*command.Info, error) {
	info, known := conn.e.vocabulary.Find(args)
	if known == command.Learned {
		return info, nil
	}
	if _, err := commandName(args); err != nil {
		return nil, WrapError(err)
	}
	if err := checkArgs(args); err != nil {
		return nil, WrapError(err)
	}
	name, _ := command.QueryName(args)
	if known != command.NotAsked || conn.multi {
		return info, nil
	}
	if err := conn.ask(ctx, name); err != nil {
		return nil, err
	}
	info, _ = conn.e.vocabulary.Find(args)
	return info, nil
}

// ask queries the server about a command on this connection, because it may be the only one.
func (conn *Conn) ask(ctx context.Context, name string) error {
	if conn.tainted != "" || conn.unsure { // it may have another user by now
		return nil
	}
	return WrapError(conn.e.vocabulary.LearnOn(ctx, conn.lease.Lane(), name))
}

// failure converts the error of a connection that takes no more commands and still has pending replies.
func (conn *Conn) failure(err error) error {
	if errors.Is(err, lane.ErrDraining) {
		return &wire.Error{Op: "write", Addr: conn.lease.node.addr, Err: pool.ErrSuspended}
	}
	return err
}

// forbid prevents renewals of credentials until permit. A command that begins a transaction or changes the user needs
// that: AUTH must not follow it.
func (conn *Conn) forbid(info *command.Info) {
	if info != nil && info.Effect != command.EffectMulti && info.Effect != command.EffectTaint || conn.forbidden {
		return
	}
	conn.forbidden = true
	conn.lease.Lane().Forbid()
}

// catchUp sends AUTH if the last renewal did not reach this connection.
func (conn *Conn) catchUp(ctx context.Context) {
	if !conn.forbidden {
		conn.e.renewer.CatchUp(ctx, conn.lease.Lane())
	}
}

// permit allows renewals again, after the state is restored.
func (conn *Conn) permit() {
	if conn.forbidden && !conn.multi && conn.tainted == "" && !conn.unsure {
		conn.forbidden = false
		conn.lease.Lane().Permit()
	}
}

// selected returns the database argument of a SELECT, else "".
func selected(info *command.Info, args []any) string {
	if info == nil || info.Effect != command.EffectSelect || len(args) < 2 {
		return ""
	}
	b, err := resp.AppendCommand(nil, args[1:2])
	if err != nil {
		return ""
	}
	text, _ := resp.StringOf(b[len("*1\r\n"):])
	return string(text)
}

// apply records the effect of a command on the connection's state. If the effect is uncertain, it assumes that it
// happened.
func (conn *Conn) apply(info *command.Info, db string, frame []byte, failed error) {
	se := resp.ErrorIn(frame)
	refused := se != nil
	fails := refused || failed != nil
	if info == nil || info.Class == command.Unknown {
		switch {
		case frame == nil:
			conn.tainted = "its caller left an unknown command"
		case !lacksCommand(frame):
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
		conn.watching = conn.watching && (fails || conn.multi)
	case command.EffectEndMulti:
		if !fails || refused && se.Code == "EXECABORT" {
			conn.multi, conn.watching = false, false
		}
	case command.EffectSelect:
		n, err := strconv.Atoi(db)
		switch {
		case refused:
		case err != nil || fails || conn.multi:
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

// exchange sends a batch on this connection.
func (conn *Conn) exchange(ctx context.Context, p *Batch) ([][]byte, error) {
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
	frames, err := conn.lease.Lane().DoRaw(ctx, p.raw, p.n, lane.Options{})
	err = conn.failure(err)
	if err != nil && !sent(err) {
		return frames, WrapError(err)
	}
	conn.lease.Notice(frames...)
	for _, e := range p.effects {
		if e.index < len(frames) {
			conn.apply(e.info, e.args, frames[e.index], nil)
		} else {
			conn.apply(e.info, e.args, nil, err)
		}
	}
	return frames, WrapError(err)
}

// Unwatch sends UNWATCH, so that the connection need not be closed.
func (conn *Conn) Unwatch(ctx context.Context) {
	if conn.watching && !conn.multi && conn.tainted == "" {
		_, _ = conn.Do(ctx, []any{"UNWATCH"})
	}
}
