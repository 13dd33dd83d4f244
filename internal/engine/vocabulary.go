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

// Limits of what the server is asked about its commands.
const (
	// absentFor is for how long a name that the server lacks is not asked about again: a module may bring it.
	absentFor = time.Second
	// hiddenFor is for how long a server that refused to tell is not asked again.
	hiddenFor = 30 * time.Second
	// namesRate is how many single names the server is asked about in a second, at most.
	namesRate = 20
	// mostAbsent bounds the names that are remembered as absent.
	mostAbsent = 256
	// wholeReply is how large the reply to COMMAND may be, for the lane that carries it. Where ReplyLimit is
	// below the server is asked about one name at a time.
	wholeReply = 1 << 20
	// askLimit bounds a question beyond the wait for a connection.
	askLimit = 5 * time.Second
)

// vocabulary knows the commands that the table lacks: the server is asked by COMMAND when the first of them is used, once for
// each version, and by COMMAND INFO for names that it did not tell of then. It asks as the client's own user, and tells
// everybody: what commands are is no secret. It owns the goroutines of its questions.
type vocabulary struct {
	e      *Engine
	now    atomic.Pointer[command.Vocabulary] // nil: not asked yet, or not since the server changed
	ctx    context.Context                    // of all questions
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	generation int                  // counts changes of the server
	addr       string               // of the server that has told, and its version: empty if it did not say
	version    string               //
	named      bool                 // COMMAND is refused: only names can be asked about
	hidden     time.Time            // when the server refused to tell anything; zero: not
	absent     map[string]time.Time // names that the server lacks, and since when that is known
	asking     map[string]*question // by name; "" is COMMAND
	tokens     float64              // questions about names that are left
	filledAt   time.Time
}

// question is one that is under way.
type question struct {
	done chan struct{} // closed when err is there
	err  error
}

func (v *vocabulary) init(e *Engine) {
	v.e = e
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.absent, v.asking = map[string]time.Time{}, map[string]*question{}
	v.tokens, v.filledAt = namesRate, time.Now()
}

// close ends the questions.
func (v *vocabulary) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.cancel()
	v.wg.Wait()
}

// dialed takes note of a new connection. What another version told does not hold, nor, where servers do not tell
// their version, what another server did.
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

// find looks up a command that the table lacks, without waiting.
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

// standing is what is known of a name of which the vocabulary tells nothing.
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

// leftLocked is how many names may be asked about now.
func (v *vocabulary) leftLocked(now time.Time) float64 {
	v.tokens = min(namesRate, v.tokens+namesRate*now.Sub(v.filledAt).Seconds())
	v.filledAt = now
	return v.tokens
}

// learn asks the server about a command by the name that command.QueryName gives, if find says that this is to be done, and waits
// for the answer. Its error is that of the connection, or the server's if that answers nothing just now. A server that refuses
// to tell is no error.
func (v *vocabulary) learn(ctx context.Context, name string) error {
	for range 2 { // the first question may be about all commands
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

// learnOn is learn by way of a connection that the caller holds, which may be the only one.
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

// asks is whether there is something to ask about a name.
func (v *vocabulary) asks(name string) bool {
	return v.standing(name, true) == command.NotAsked && !v.now.Load().Has(name)
}

// aboutLocked is what a question because of a name is about: empty for all commands.
func (v *vocabulary) aboutLocked(name string) string {
	if v.now.Load() == nil && !v.named && v.e.cfg.Pool.Lane.ReplyLimit >= wholeReply {
		return ""
	}
	return name
}

// ask begins a question, or joins one. It is nil if there is nothing to ask.
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

// answered takes the answer to a question.
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

// telling is what the server said.
type telling struct {
	refusal *resp.ServerError
	all     *command.Vocabulary // nil if that could not be read, or was not asked
	info    *command.Info       // the same of one name; nil also if the server lacks it
}

// readTelling reads a reply to COMMAND, or to COMMAND INFO with a name.
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

// takeLocked takes in what the server said about a name, or about all commands.
func (v *vocabulary) takeLocked(name string, told telling) error {
	switch {
	case told.refusal != nil && told.refusal.Code != "NOPERM" && told.refusal.Code != "ERR":
		return told.refusal // of its state, which passes
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

// nameLocked has single names asked about where nothing is known of all.
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

// commandQuery asks about a name, or about all commands if it is empty. size is that of a reply that is large.
func commandQuery(name string) (args []any, size int) {
	if name == "" {
		return []any{"COMMAND"}, wholeReply / 4
	}
	return []any{"COMMAND", "INFO", name}, 0
}

// askAbout sends COMMAND, or COMMAND INFO with a name. It does not learn the size of the reply, which would cost every later
// command a look.
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

// Lookup tells what is known of a command that the table lacks, without waiting.
func (e *Engine) Lookup(args [][]byte) (*command.Info, command.Known) {
	return e.vocabulary.findBytes(args)
}

// Learn asks the server about a command if Lookup says that this is to be done, on a connection that is leased if
// there is one: it may be the only one. A server that does not tell is no error.
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
