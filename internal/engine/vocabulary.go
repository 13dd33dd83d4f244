package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Limits of queries about commands.
const (
	// absentFor is how long a name that the server lacks is not queried again. A module may add it.
	absentFor = time.Second
	// hiddenFor is how long a server that refused a query is not queried again.
	hiddenFor = 30 * time.Second
	// namesRate is the maximum number of single names per second.
	namesRate = 20
	// mostAbsent limits the names that are remembered as absent.
	mostAbsent = 256
	// wholeReply is the maximum size of a reply to COMMAND, in bytes. If ReplyLimit is lower, the engine queries
	// single names.
	wholeReply = 1 << 20
	// askLimit limits a query, in addition to the wait for a connection.
	askLimit = 5 * time.Second
)

// vocabulary knows the commands that the table lacks. It sends COMMAND at the first such command, once for each
// version of the server, and COMMAND INFO for names that the reply lacked. The engine's own user sends the queries,
// and all users share the answers. It owns the goroutines of its queries; close waits for them.
type vocabulary struct {
	e      *Engine
	now    atomic.Pointer[command.Vocabulary] // nil: no reply yet, or the server has changed
	ctx    context.Context                    // of all queries
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	generation int                  // counts changes of the server
	addr       string               // address of the server that answered, and its version; empty if unknown
	version    string               //
	named      bool                 // COMMAND is refused: only single names can be queried
	hidden     time.Time            // when the server refused COMMAND INFO; zero: never
	absent     map[string]time.Time // names that the server lacks, and the time of that answer
	asking     map[string]*question // by name; "" is COMMAND
	tokens     float64              // remaining queries of single names
	filledAt   time.Time
}

// question is a query in flight.
type question struct {
	done chan struct{} // closed when err is set
	err  error
}

func (v *vocabulary) init(e *Engine) {
	v.e = e
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.absent, v.asking = map[string]time.Time{}, map[string]*question{}
	v.tokens, v.filledAt = namesRate, time.Now()
}

// close cancels the queries and waits for them.
func (v *vocabulary) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.cancel()
	v.wg.Wait()
}

// dialed records a new connection. It discards the answers of another version, and, if servers do not report their
// version, of another server.
func (v *vocabulary) dialed(addr, version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.addr != ""
	same := version != "" && version == v.version || addr == v.addr && (version == "" || v.version == "")
	if version != "" || !same {
		v.version = version
	}
	if v.addr = addr; same || !known {
		return
	}
	v.generation++
	v.now.Store(nil)
	v.named, v.hidden = false, time.Time{}
	clear(v.absent)
}

// find looks up a command that the table lacks. It does not block.
func (v *vocabulary) find(args []any) (*command.Info, command.Known) {
	if info := v.now.Load().Find(args); info != nil {
		return info, command.Learned
	}
	name, ok := command.QueryName(args)
	return nil, v.standing(name, ok)
}

// findBytes is find for arguments in bytes.
func (v *vocabulary) findBytes(args [][]byte) (*command.Info, command.Known) {
	if info := v.now.Load().FindBytes(args); info != nil {
		return info, command.Learned
	}
	name, ok := command.QueryNameBytes(args)
	return nil, v.standing(name, ok)
}

// standing returns the state of a name that the vocabulary does not contain.
func (v *vocabulary) standing(name string, ok bool) command.Known {
	if !ok {
		return command.Absent
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	switch {
	case !v.hidden.IsZero() && now.Sub(v.hidden) < hiddenFor:
		return command.Hidden
	case v.asking[name] != nil || v.now.Load() == nil:
		return command.NotAsked
	case now.Sub(v.absent[name]) < absentFor:
		return command.Absent
	case v.leftLocked(now) >= 1:
		return command.NotAsked
	case v.named:
		return command.Hidden
	}
	return command.Absent
}

// leftLocked returns how many names may be queried now.
func (v *vocabulary) leftLocked(now time.Time) float64 {
	v.tokens = min(namesRate, v.tokens+namesRate*now.Sub(v.filledAt).Seconds())
	v.filledAt = now
	return v.tokens
}

// learn queries the server about a command and waits for the answer, if find returned NotAsked. name is the one of
// command.QueryName. It returns the error of the connection, or of the server's temporary state. If the server
// refuses to answer, there is no error.
func (v *vocabulary) learn(ctx context.Context, name string) error {
	for range 2 { // the first query may be about all commands
		if err := ctx.Err(); err != nil {
			return WrapError(&wire.Error{Op: "ask about commands", Addr: v.e.cfg.place(), Err: err})
		}
		q := v.ask(name)
		if q == nil {
			return nil
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			return WrapError(&wire.Error{Op: "ask about commands", Addr: v.e.cfg.place(), Err: ctx.Err()})
		}
		if q.err != nil {
			return q.err
		}
	}
	return nil
}

// learnOn is learn on a connection that the caller holds, which may be the only one.
func (v *vocabulary) learnOn(ctx context.Context, l *lane.Lane, name string) error {
	for range 2 {
		if !v.asks(name) {
			return nil
		}
		v.mu.Lock()
		about, generation := v.aboutLocked(name), v.generation
		v.mu.Unlock()
		args, size := commandQuery(about)
		reply, err := l.Do(ctx, args, lane.Options{ReplyBytes: size})
		if err != nil {
			return WrapError(err)
		}
		told := readTelling(about, reply)
		v.mu.Lock()
		if generation == v.generation {
			err = v.takeLocked(about, told)
		}
		v.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// asks reports whether a query about the name is useful.
func (v *vocabulary) asks(name string) bool {
	return v.standing(name, true) == command.NotAsked && !v.now.Load().Has(name)
}

// aboutLocked returns the subject of a query for a name; empty for all commands.
func (v *vocabulary) aboutLocked(name string) string {
	if v.now.Load() == nil && !v.named && v.e.cfg.Pool.Lane.ReplyLimit >= wholeReply {
		return ""
	}
	return name
}

// ask starts a query, or joins one in flight. It returns nil if no query is needed.
func (v *vocabulary) ask(name string) *question {
	if !v.asks(name) {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	name = v.aboutLocked(name)
	q := v.asking[name]
	if q != nil {
		return q
	}
	q = &question{done: make(chan struct{})}
	if v.closed {
		q.err = ErrClosed
		close(q.done)
		return q
	}
	if name != "" {
		v.tokens--
	}
	v.asking[name] = q
	generation := v.generation
	v.wg.Go(func() {
		ctx, cancel := context.WithTimeout(v.ctx, v.e.cfg.Pool.WaitTimeout+askLimit)
		defer cancel()
		reply, err := v.e.askAbout(ctx, name)
		v.answered(q, name, generation, reply, err)
	})
	return q
}

// answered records the answer to a query.
func (v *vocabulary) answered(q *question, name string, generation int, reply []byte, err error) {
	var told telling
	if err == nil {
		told = readTelling(name, reply)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.asking, name)
	if err == nil && generation == v.generation {
		err = v.takeLocked(name, told)
	}
	q.err = err
	close(q.done)
}

// telling is the server's answer.
type telling struct {
	refusal *resp.ServerError
	all     *command.Vocabulary // nil if it was unreadable or not queried
	info    *command.Info       // for one name; nil also if the server lacks it
}

// readTelling decodes a reply to COMMAND, or to COMMAND INFO with a name.
func readTelling(name string, reply []byte) (told telling) {
	refusal := resp.ErrorIn(reply)
	switch {
	case refusal != nil:
		told.refusal = refusal
	case name == "":
		told.all, _ = command.ReadVocabulary(reply)
	default:
		told.info, _ = command.ReadInfo(name, reply)
	}
	return told
}

// takeLocked records an answer about a name, or about all commands.
func (v *vocabulary) takeLocked(name string, told telling) error {
	switch {
	case told.refusal != nil && told.refusal.Code != "NOPERM" && told.refusal.Code != "ERR":
		return told.refusal // a temporary state of the server
	case told.refusal != nil && name != "":
		v.hidden = time.Now()
	case told.all != nil:
		v.now.Store(told.all)
	case name == "":
		v.nameLocked()
	default:
		v.nameLocked()
		v.takeInfoLocked(name, told.info)
	}
	return nil
}

// nameLocked switches to queries of single names if there is no answer to COMMAND.
func (v *vocabulary) nameLocked() {
	if v.now.Load() == nil {
		v.named = true
		v.now.Store(&command.Vocabulary{})
	}
}

func (v *vocabulary) takeInfoLocked(name string, info *command.Info) {
	if info != nil {
		v.now.Store(v.now.Load().With(info))
		return
	}
	if len(v.absent) >= mostAbsent {
		clear(v.absent)
	}
	v.absent[name] = time.Now()
}

// commandQuery returns the query for a name, or for all commands if name is empty. size is the expected size of a
// large reply.
func commandQuery(name string) (args []any, size int) {
	if name == "" {
		return []any{"COMMAND"}, wholeReply / 4
	}
	return []any{"COMMAND", "INFO", name}, 0
}

// askAbout sends COMMAND, or COMMAND INFO with a name. It does not record the size of the reply in largeReplies,
// because every later command would then look up its size.
func (e *Engine) askAbout(ctx context.Context, name string) ([]byte, error) {
	args, size := commandQuery(name)
	raw, err := resp.AppendCommand(nil, args)
	if err != nil {
		return nil, err
	}
	got := e.exchange(ctx, Identity{}, request{raw: raw, reads: true}, nil, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		opt.ReplyBytes = size
		frame, err := l.Do(ctx, args, opt)
		return [][]byte{frame}, err
	})
	if got.err != nil {
		return nil, WrapError(got.err)
	}
	return got.frames[0], nil
}

// Lookup returns the description of a command that the table lacks. It does not block.
func (e *Engine) Lookup(args [][]byte) (*command.Info, command.Known) {
	return e.vocabulary.findBytes(args)
}

// Learn queries the server about a command if Lookup returned NotAsked. It uses the leased connection on, if not nil,
// because that may be the only one. If the server refuses to answer, there is no error.
func (e *Engine) Learn(ctx context.Context, args [][]byte, on *Lease) error {
	name, ok := command.QueryNameBytes(args)
	switch {
	case !ok:
		return nil
	case on != nil && on.conn.Identity().User == "":
		return e.vocabulary.learnOn(ctx, on.Lane(), name)
	}
	return e.vocabulary.learn(ctx, name)
}
