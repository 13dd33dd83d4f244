package engine

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/blocking"
	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/keywatch"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// waits holds the blocking commands that wait in the engine, without a connection each. It joins internal/blocking,
// which decides what to send, and internal/keywatch, which reports changes of keys.
//
// It sends attempts on lanes, like other commands, and watches keys on one subscription connection of the node that
// takes commands. If the route has several nodes, the attempts go to the node whose keys are watched. In a cluster the
// attempts go to the node of the key's slot, and each node whose keys somebody waits for is watched.
type waits struct {
	e      *Engine
	parked *blocking.Waits
	keys   keyWatch
	follow func()               // of a cluster: watches the keys at the nodes that serve them now
	own    blocking.Request     // of the engine's own identity, without a form
	home   atomic.Pointer[node] // of several nodes, the one that is watched
	slow   sync.WaitGroup       // attempts and events that need a goroutine
	parser blocking.Parser
	cut    context.Context // its end ends their waits for a node or a lane
	cutNow context.CancelFunc
}

// keyWatch watches keys: at one node (keywatch.Node), or each key at the node that serves it (keywatch.Nodes).
type keyWatch interface {
	Add(key string)
	Drop(key string)
	Again()                        // the bound of connections has changed
	Watchers() []*keywatch.Watcher // of the nodes; the caller must not change the slice
	Stats() keywatch.Stats
	Close()
}

// BlockingConfig configures blocking commands.
type BlockingConfig struct {
	Dedicated bool // a dedicated connection for each, instead of waits in the engine
	Max       int  // waits at a time
}

// grace limits how long a wait continues after its timeout or the end of its ctx, for the reply of an attempt in
// flight. It is longer than a round trip, and short for a caller whose node does not answer.
const grace = 100 * time.Millisecond

// init prepares w. It opens no connection.
func (w *waits) init(e *Engine) {
	w.e = e
	w.own = w.request(Identity{})
	w.cut, w.cutNow = context.WithCancel(context.Background())
	cfg := blocking.Config{
		Sender: w, Watcher: w, MaxBlocked: e.cfg.Blocking.Max, Grace: grace, Lost: w.lost, Reexecutes: w.reexecutes,
	}
	w.follow = func() {}
	if e.cluster == nil {
		w.keys = w.watchAt(nil)
	} else {
		keys := keywatch.NewNodes(keywatch.NodesConfig[slot, *node]{
			Part:    func(key string) slot { return slot(command.Slot(key) + 1) },
			Owner:   func(s slot) *node { return e.nodes.now.Load().owner(s) },
			Gone:    func(n *node) bool { return !slices.Contains(e.nodes.now.Load().nodes(), n) },
			Open:    w.watchAt,
			Changed: w.changed,
		})
		w.keys, w.follow = keys, keys.Move
		cfg.MaxAttempts, cfg.MaxAttemptsOfIdentity = slotGroups*attemptsOfGroup, attemptsOfGroup
	}
	w.parked = blocking.New(cfg)
}

// watchAt returns the watch of keys at a node of a cluster, or without a cluster at the home of the waits.
func (w *waits) watchAt(n *node) *keywatch.Node {
	contended := func() bool { return w.contended(n) }
	return keywatch.NewNode(watchSource{w, n}, keywatch.Config{
		HealthCheck: w.e.cfg.Pool.HealthCheck, Ping: w.identity().Ping(),
		BackoffBase: w.e.cfg.Pool.BackoffBase, BackoffCap: w.e.cfg.Pool.BackoffCap, Moves: n != nil,
		Contended: contended, OnRefusal: func(err *keywatch.RefusedError) { w.report(n, err) },
	}, keywatch.SetConfig{
		Changed:   w.changed,
		Refused:   func(key string, _ error) { w.parked.Refuse(key) },
		Polling:   func() bool { _, now := w.e.nodes.bound(); return now < 2 },
		Contended: contended,
	})
}

func (w *waits) changed(key string) { w.parked.Changed(key) }

// identity is the identity of the connection that watches keys.
func (w *waits) identity() Identity {
	return w.e.identities.Own(Identity{DB: w.e.cfg.Dial.DB, Proto: 3})
}

// contended reports whether callers wait for a connection to a node; nil: to any.
func (w *waits) contended(n *node) bool {
	nodes := []*node{n}
	if n == nil {
		nodes = w.e.nodes.list()
	}
	return slices.ContainsFunc(nodes, func(n *node) bool {
		s := n.pool.Stats()
		return s.Waiting+s.Observers > 0
	})
}

// report emits the events of a node that refuses to watch keys.
func (w *waits) report(n *node, err *keywatch.RefusedError) {
	event := Event{Kind: BlockingShared, Addr: w.e.place()}
	if n != nil {
		event.Addr = n.addr
	}
	if err != nil {
		event.Kind, event.Reason, event.Err = BlockingDedicated, "the server does not report changes of keys", err
	}
	w.e.emit(event)
}

// lost emits the event of elements that nobody took and that could not be returned. It uses a goroutine, because its
// caller may be the reader of a lane, and OnEvent may wait for a reply on that lane.
func (w *waits) lost(key string, err error) {
	if w.e.cfg.OnEvent == nil {
		return
	}
	w.slow.Go(func() {
		w.e.emit(Event{Kind: ElementsLost, Addr: w.e.place(), Reason: "an element that no caller took could not return to its key " + key, Err: WrapError(err)})
	})
}

// Watch implements blocking.Watcher.
func (w *waits) Watch(keys []string, _ blocking.Subscriber) {
	for _, key := range keys {
		w.keys.Add(key)
	}
}

// Unwatch implements blocking.Watcher.
func (w *waits) Unwatch(keys []string, _ blocking.Subscriber) {
	for _, key := range keys {
		w.keys.Drop(key)
	}
}

// reexecutes implements blocking.Config.
func (w *waits) reexecutes() bool {
	n := w.e.nodes.now.Load().pick(anySlot, nil).node
	return n != nil && w.at(n).peer.Since(7, 2)
}

// renew makes the watchers use new connections, because the old ones may lead to servers that take no commands.
func (w *waits) renew() {
	for _, one := range w.keys.Watchers() {
		one.Renew()
	}
}

// at returns the node for attempts, instead of n, which the route named.
func (w *waits) at(n *node) *node {
	for w.e.cluster == nil {
		r, home := w.e.nodes.now.Load(), w.home.Load()
		switch {
		case r.only != nil:
			return n
		case home != nil && slices.Contains(r.several, home):
			return home
		case w.home.CompareAndSwap(home, n):
			return n
		}
	}
	return n
}

// close ends all waits. Those with an attempt in flight get what it finds, until ctx ends.
func (w *waits) close(ctx context.Context) {
	w.cutNow()
	_ = w.parked.Close(ctx) // the close of the nodes returns the same error
	w.keys.Close()
}

// dedicated reports whether each blocking command needs a dedicated connection.
func (w *waits) dedicated() bool {
	if w.e.cfg.Blocking.Dedicated {
		return true
	}
	for _, one := range w.keys.Watchers() {
		if one.Refusal() != nil {
			return true
		}
	}
	return false
}

// request returns a wait of an identity, without a form.
func (w *waits) request(id Identity) blocking.Request {
	id = w.e.identities.Own(id)
	r := blocking.Request{Identity: id, DB: id.DB, RESP3: id.Proto == 3}
	if id == (Identity{}) {
		r.DB, r.RESP3 = w.e.cfg.Dial.DB, w.e.cfg.Dial.Protocol == 3
	}
	return r
}

// waitOf returns r with a form. ok is false if the keys of the form lie in several slots of a cluster: the server refuses
// the command then.
func (w *waits) waitOf(r blocking.Request, form *blocking.Form) (_ blocking.Request, ok bool) {
	r.Form = form
	if w.e.cluster == nil {
		return r, true
	}
	keys := form.Keys()
	at := command.Slot(keys[0])
	for _, key := range keys[1:] {
		if command.Slot(key) != at {
			return r, false
		}
	}
	r.Identity = slotIdentity{r.Identity.(Identity), uint8(int(at) * slotGroups / command.Slots)}
	return r, true
}

// failure converts an error of a wait.
func (w *waits) failure(err error) error {
	switch {
	case err == nil, errors.Is(err, blocking.ErrDedicated):
		return err
	case errors.Is(err, blocking.ErrClosed):
		return ErrClosed
	case errors.Is(err, blocking.ErrTooManyBlocked):
		return ErrTooManyBlocked
	case err == context.Canceled, err == context.DeadlineExceeded:
		if w.e.nodes.now.Load().node() == nil {
			return WrapError(w.e.router.explain(err))
		}
		return &wire.Error{Op: "wait for a key at", Addr: w.e.place(), Err: err}
	}
	return WrapError(err)
}

// wait runs a blocking command without a dedicated connection. It returns rest, the encoded command with the rest of
// its timeout, if the command needs such a connection. args do not escape.
func (w *waits) wait(ctx context.Context, info *command.Info, args []any) (frame, rest []byte, err error) {
	form, err := w.parser.Parse(args)
	if err != nil {
		return nil, nil, WrapError(err)
	}
	if form == nil || w.dedicated() {
		return nil, encodeChecked(args), nil
	}
	r, ok := w.waitOf(w.own, form)
	if !ok {
		return nil, encodeChecked(args), nil
	}
	began := time.Now()
	frame, err = w.parked.Do(ctx, r)
	if !errors.Is(err, blocking.ErrDedicated) {
		return frame, nil, w.failure(err)
	}
	raw := encodeChecked(args)
	all, _ := appendArguments(nil, raw)
	return nil, RestOf(info, all, raw, form.Timeout(), time.Since(began), err), nil
}

// encodeChecked encodes arguments that can be encoded.
func encodeChecked(args []any) []byte {
	raw, _ := encode(args)
	return raw
}

// RestOf returns the encoded blocking command that continues on a dedicated connection after a wait that ended with err,
// which is blocking.ErrDedicated: with the rest of its timeout. A timeout of 0 is forever.
func RestOf(info *command.Info, args [][]byte, raw []byte, timeout, waited time.Duration, err error) []byte {
	rest := blocking.Rest(args, err)
	if timeout > 0 && waited >= time.Millisecond {
		rest = command.WithBlock(info, rest, timeout-waited)
	}
	if len(args) > 0 && &rest[0] == &args[0] {
		return raw
	}
	return encodeBytes(rest)
}

// appendArguments appends the arguments of an encoded command to dst. They refer to raw.
func appendArguments(dst [][]byte, raw []byte) ([][]byte, error) {
	h, err := resp.ReadHead(raw)
	if err != nil {
		return nil, err
	}
	raw = raw[h.Size:]
	for range h.Int {
		if h, err = resp.ReadHead(raw); err != nil {
			return nil, err
		}
		dst, raw = append(dst, h.Str), raw[h.Size:]
	}
	return dst, nil
}

// encodeBytes encodes a command.
func encodeBytes(args [][]byte) []byte {
	size := 0
	for _, a := range args {
		size += len(a) + len("$100\r\n\r\n")
	}
	raw := resp.AppendArrayHeader(make([]byte, 0, size+len("*10\r\n")), len(args))
	for _, a := range args {
		raw = resp.AppendBulk(raw, a)
	}
	return raw
}

// StartWait starts the wait of a blocking command of an identity, and does not block. done receives the end of the
// wait exactly once, on any goroutine, possibly before StartWait returns. It must not block. ok is false if the command
// needs a dedicated connection; done is not called then. If the wait ends with blocking.ErrDedicated, the command needs
// a dedicated connection for the rest of its timeout; see RestOf.
func (e *Engine) StartWait(id Identity, form *blocking.Form, done func(blocking.Result)) (wait *blocking.Wait, ok bool, err error) {
	w := &e.waits
	if w.dedicated() {
		return nil, false, nil
	}
	request, ok := w.waitOf(w.request(id), form)
	if !ok {
		return nil, false, nil
	}
	wait, err = w.parked.Start(request, func(r blocking.Result) {
		r.Err = w.failure(r.Err)
		done(r)
	})
	return wait, true, w.failure(err)
}

// watchSource leases the connection that watches the keys of a node.
type watchSource struct {
	w *waits
	n *node // nil: the home of the waits
}

// AcquireSubscriber blocks until a connection is free. ctx and the wait timeout limit the wait.
func (s watchSource) AcquireSubscriber(ctx context.Context) (*pool.Conn, error) {
	var l Lease
	e, id := s.w.e, s.w.identity()
	from := func(ctx context.Context, p *pool.Pool) (*pool.Conn, error) {
		return p.Subpool(id).AcquireSubscriber(ctx)
	}
	if s.n != nil {
		err := e.leaseAt(ctx, &l, target{node: s.n}, from)
		if errors.Is(err, pool.ErrClosed) && !e.closed.Load() {
			err = pool.ErrSuspended // the node has left: its slots move to others
		}
		if err == nil {
			e.router.subscribed() // watched keys cause no MOVED either
		} else {
			e.router.seek(s.n, anySlot, nil, nil)
		}
		return l.conn, err
	}
	req, so := request{reads: true, home: true}, attempts{}
	got := e.run(ctx, &req, &so, func(n target) attempt {
		return attempt{waited: true, err: e.leaseAt(ctx, &l, n, from)}
	})
	return l.conn, got.err
}

// try is one attempt of a wait.
type try struct {
	w     *waits
	a     *blocking.Attempt
	id    Identity // of its connection
	raw   []byte
	reads bool
	slot  slot
	lane  *lane.Lane

	version uint64 // of the cluster's map that named the node of lane
}

// Send implements blocking.Sender. It posts the attempt to a lane. If no lane accepts it now, or its node refuses it, a
// goroutine runs it like any other command.
func (w *waits) Send(a *blocking.Attempt) {
	t := &try{w: w, a: a, id: identityOf(a.Identity), raw: encodeBytes(a.Args)}
	if info := command.LookupBytes(a.Args[0]); info != nil {
		t.reads = info.ReadOnly
		t.slot, _ = w.e.slotOfBytes(info, a.Args) // any node refuses keys in several slots
	}
	if a.Return {
		t.id = w.e.identities.Own(Identity{DB: a.DB, Proto: w.e.cfg.Dial.Protocol})
	}
	if !t.post() {
		w.slow.Go(func() { t.run(nil) })
	}
}

// post posts the attempt to a lane that accepts it now.
func (t *try) post() bool {
	e := t.w.e
	n := e.pick(&request{reads: t.reads, home: true, slot: t.slot}, &attempts{})
	if n.node == nil {
		return false
	}
	t.version = n.version
	g := t.w.at(n.node).subpool(t.id)
	t.lane = g.Pick(pool.Any)
	if t.lane == nil || t.lane.Post(t.raw, 1, t, 0, lane.Options{Owner: g.Owner(), NoTimeout: e.cfg.NoReplyTimeout}) != nil {
		return false
	}
	t.lane.Flush(false)
	return true
}

// Reply implements lane.Sink.
func (t *try) Reply(_ uint64, frame []byte, owned bool, _ *lane.Batch) {
	if !owned {
		frame = bytes.Clone(frame)
	}
	if frame[0] == '-' {
		_, refused := t.w.e.refusals.One(frame)
		if refused || t.asCaller(frame) {
			t.w.slow.Go(func() { t.run(&Refusal{Lane: t.lane, Frames: [][]byte{frame}, Version: t.version}) })
			return
		}
	}
	t.a.Done(blocking.Outcome{Reply: frame})
}

// asCaller reports whether the engine's own user may not return elements. The caller's user tries next.
func (t *try) asCaller(frame []byte) bool {
	return t.a.Return && t.id != identityOf(t.a.Identity) && bytes.HasPrefix(frame, replyNoPerm)
}

var replyNoPerm = []byte("-NOPERM")

// Part implements lane.Sink.
func (t *try) Part(uint64, []byte) bool { return false }

// Fail implements lane.Sink.
func (t *try) Fail(_ uint64, err error) {
	if t.w.e.MayRetry(err, t.reads, false) {
		t.w.slow.Go(func() { t.run(nil) })
		return
	}
	t.failed(err)
}

// failed ends the attempt without a reply. A command that may have taken an element ends its waits.
func (t *try) failed(err error) {
	t.a.Done(blocking.Outcome{Err: WrapError(err), Sent: sent(err), Final: sent(err) && !t.reads})
}

// run runs the attempt like any other command, with its retries. before is the refusal of a first attempt, or nil.
func (t *try) run(before *Refusal) {
	e := t.w.e
	if before != nil && t.asCaller(before.Frames[0]) {
		t.id, before = identityOf(t.a.Identity), nil
	}
	ctx := t.w.cut
	if t.a.Return {
		ctx = context.Background() // the wait timeout limits it
	}
	got := e.exchange(ctx, t.id, request{raw: t.raw, n: 1, reads: t.reads, home: true, slot: t.slot}, before,
		func(l *lane.Lane, raw []byte, n int, opt lane.Options) ([][]byte, error) {
			opt.NoTimeout = e.cfg.NoReplyTimeout
			return l.DoRaw(context.Background(), raw, n, opt)
		})
	switch {
	case got.err != nil:
		t.failed(got.err)
	case t.asCaller(got.frames[0]):
		t.run(&Refusal{Lane: got.lane, Frames: got.frames})
	case e.cluster != nil && isRedirect(got.frames[0]): // the nodes do not agree: the wait continues
		t.failed(errorOf(got.frames[0]))
	default:
		t.a.Done(blocking.Outcome{Reply: got.frames[0]})
	}
}
