package respool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
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

// lexicon knows the commands that the table lacks: the server is asked by COMMAND when the first of them is used, once for
// each version, and by COMMAND INFO for names that it did not tell of then. It asks as the client's own user, and tells
// everybody: what commands are is no secret. It owns the goroutines of its questions.
type lexicon struct {
	c      *Client
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

func (x *lexicon) init(c *Client) {
	x.c = c
	x.ctx, x.cancel = context.WithCancel(context.Background())
	x.absent, x.asking = map[string]time.Time{}, map[string]*question{}
	x.tokens, x.filledAt = namesRate, time.Now()
}

// close ends the questions.
func (x *lexicon) close() {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.cancel()
	x.wg.Wait()
}

// dialed takes note of a new connection. What another version told does not hold, nor, where servers do not tell
// their version, what another server did.
func (x *lexicon) dialed(addr, version string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	known := x.addr != ""
	same := version != "" && version == x.version || addr == x.addr && (version == "" || x.version == "")
	if version != "" || !same {
		x.version = version
	}
	if x.addr = addr; same || !known {
		return
	}
	x.generation++
	x.now.Store(nil)
	x.named, x.hidden = false, time.Time{}
	clear(x.absent)
}

// find looks up a command that the table lacks, without waiting.
func (x *lexicon) find(args []any) (*command.Info, command.Known) {
	if info := x.now.Load().Find(args); info != nil {
		return info, command.Learned
	}
	name, ok := command.QueryName(args)
	return nil, x.standing(name, ok)
}

// findBytes is find for arguments in bytes.
func (x *lexicon) findBytes(args [][]byte) (*command.Info, command.Known) {
	if info := x.now.Load().FindBytes(args); info != nil {
		return info, command.Learned
	}
	name, ok := command.QueryNameBytes(args)
	return nil, x.standing(name, ok)
}

// standing is what is known of a name of which the vocabulary tells nothing.
func (x *lexicon) standing(name string, ok bool) command.Known {
	if !ok {
		return command.Absent
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	switch {
	case !x.hidden.IsZero() && now.Sub(x.hidden) < hiddenFor:
		return command.Hidden
	case x.asking[name] != nil || x.now.Load() == nil:
		return command.NotAsked
	case now.Sub(x.absent[name]) < absentFor:
		return command.Absent
	case x.leftLocked(now) >= 1:
		return command.NotAsked
	case x.named:
		return command.Hidden
	}
	return command.Absent
}

// leftLocked is how many names may be asked about now.
func (x *lexicon) leftLocked(now time.Time) float64 {
	x.tokens = min(namesRate, x.tokens+namesRate*now.Sub(x.filledAt).Seconds())
	x.filledAt = now
	return x.tokens
}

// learn asks the server about a command by the name that command.QueryName gives, if find says that this is to be done, and waits
// for the answer. Its error is that of the connection, or the server's if that answers nothing just now. A server that refuses
// to tell is no error.
func (x *lexicon) learn(ctx context.Context, name string) error {
	for range 2 { // the first question may be about all commands
		if err := ctx.Err(); err != nil {
			return x.c.public(&wire.Error{Op: "ask about commands", Addr: x.c.opt.place(), Err: err})
		}
		q := x.ask(name)
		if q == nil {
			return nil
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			return x.c.public(&wire.Error{Op: "ask about commands", Addr: x.c.opt.place(), Err: ctx.Err()})
		}
		if q.err != nil {
			return q.err
		}
	}
	return nil
}

// learnOn is learn by way of a connection that the caller holds, which may be the only one.
func (x *lexicon) learnOn(ctx context.Context, l *lane.Lane, name string) error {
	for range 2 {
		if !x.asks(name) {
			return nil
		}
		x.mu.Lock()
		about, generation := x.aboutLocked(name), x.generation
		x.mu.Unlock()
		args, size := commandQuery(about)
		reply, err := l.Do(ctx, args, lane.Options{ReplyBytes: size})
		if err != nil {
			return x.c.public(err)
		}
		told := readTelling(about, reply)
		x.mu.Lock()
		if generation == x.generation {
			err = x.takeLocked(about, told)
		}
		x.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// asks is whether there is something to ask about a name.
func (x *lexicon) asks(name string) bool {
	return x.standing(name, true) == command.NotAsked && !x.now.Load().Has(name)
}

// aboutLocked is what a question because of a name is about: empty for all commands.
func (x *lexicon) aboutLocked(name string) string {
	if x.now.Load() == nil && !x.named && x.c.opt.ReplyLimit >= wholeReply {
		return ""
	}
	return name
}

// ask begins a question, or joins one. It is nil if there is nothing to ask.
func (x *lexicon) ask(name string) *question {
	if !x.asks(name) {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	name = x.aboutLocked(name)
	q := x.asking[name]
	if q != nil {
		return q
	}
	q = &question{done: make(chan struct{})}
	if x.closed {
		q.err = ErrClosed
		close(q.done)
		return q
	}
	if name != "" {
		x.tokens--
	}
	x.asking[name] = q
	generation := x.generation
	x.wg.Go(func() {
		ctx, cancel := context.WithTimeout(x.ctx, x.c.opt.WaitTimeout+askLimit)
		defer cancel()
		reply, err := x.c.askAbout(ctx, name)
		x.answered(q, name, generation, reply, err)
	})
	return q
}

// answered takes the answer to a question.
func (x *lexicon) answered(q *question, name string, generation int, reply []byte, err error) {
	var told telling
	if err == nil {
		told = readTelling(name, reply)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.asking, name)
	if err == nil && generation == x.generation {
		err = x.takeLocked(name, told)
	}
	q.err = err
	close(q.done)
}

// telling is what the server said.
type telling struct {
	refusal *ServerError
	all     *command.Vocabulary // nil if that could not be read, or was not asked
	info    *command.Info       // the same of one name; nil also if the server lacks it
}

// readTelling reads a reply to COMMAND, or to COMMAND INFO with a name.
func readTelling(name string, reply []byte) (told telling) {
	refusal, refused := errors.AsType[*ServerError](Reply{frame: reply}.Err())
	switch {
	case refused:
		told.refusal = refusal
	case name == "":
		told.all, _ = command.ReadVocabulary(reply)
	default:
		told.info, _ = command.ReadInfo(name, reply)
	}
	return told
}

// takeLocked takes in what the server said about a name, or about all commands.
func (x *lexicon) takeLocked(name string, told telling) error {
	switch {
	case told.refusal != nil && told.refusal.Code != "NOPERM" && told.refusal.Code != "ERR":
		return told.refusal // of its state, which passes
	case told.refusal != nil && name != "":
		x.hidden = time.Now()
	case told.all != nil:
		x.now.Store(told.all)
	case name == "":
		x.nameLocked()
	default:
		x.nameLocked()
		x.takeInfoLocked(name, told.info)
	}
	return nil
}

// nameLocked has single names asked about where nothing is known of all.
func (x *lexicon) nameLocked() {
	if x.now.Load() == nil {
		x.named = true
		x.now.Store(&command.Vocabulary{})
	}
}

func (x *lexicon) takeInfoLocked(name string, info *command.Info) {
	if info != nil {
		x.now.Store(x.now.Load().With(info))
		return
	}
	if len(x.absent) >= mostAbsent {
		clear(x.absent)
	}
	x.absent[name] = time.Now()
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
func (c *Client) askAbout(ctx context.Context, name string) ([]byte, error) {
	args, size := commandQuery(name)
	raw, err := resp.AppendCommand(nil, args)
	if err != nil {
		return nil, err
	}
	frames, _, err := c.onLane(ctx, pool.Key{}, raw, true, nil, func(l *lane.Lane, opt lane.Options) ([][]byte, error) {
		opt.ReplyBytes = size
		frame, err := l.Do(ctx, args, opt)
		return [][]byte{frame}, err
	})
	if err != nil {
		return nil, err
	}
	return frames[0], nil
}
