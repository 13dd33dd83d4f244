// Package vocabulary asks a server about the commands that the table of package command lacks. It limits these queries,
// and it does not run or classify commands.
package vocabulary

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
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
	// wholeReply is the maximum size of a reply to COMMAND, in bytes. If ReplyLimit is lower, single names are queried.
	wholeReply = 1 << 20
	// askLimit limits a query, in addition to the wait for a connection.
	askLimit = 5 * time.Second
)

// Config configures a Learner.
type Config struct {
	Place      string        // name of the server or service, for errors
	ReplyLimit int64         // maximum size of a reply, in bytes
	WaitLimit  time.Duration // of the wait for a connection
	// Ask sends one query as the client's own user. size is the expected size of its reply if that is large, else 0.
	Ask func(ctx context.Context, args []any, size int) (reply []byte, err error)
}

// Learner knows the commands that the table lacks. It sends COMMAND at the first such command, once for each version
// of the server, and COMMAND INFO for names that the reply lacked. All users share the answers. It owns the goroutines
// of its queries; Close waits for them. All methods are safe for concurrent use.
type Learner struct {
	cfg    Config
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

// New returns a Learner. It sends nothing before the first Learn.
func New(cfg Config) *Learner {
	l := &Learner{
		cfg: cfg, absent: map[string]time.Time{}, asking: map[string]*question{}, tokens: namesRate, filledAt: time.Now(),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Close cancels the queries and waits for them.
func (l *Learner) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
}

// Dialed records a new connection. It discards the answers of another version, and, if servers do not report their
// version, of another server.
func (l *Learner) Dialed(addr, version string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.addr != ""
	same := version != "" && version == l.version || addr == l.addr && (version == "" || l.version == "")
	if version != "" || !same {
		l.version = version
	}
	if l.addr = addr; same || !known {
		return
	}
	l.generation++
	l.now.Store(nil)
	l.named, l.hidden = false, time.Time{}
	clear(l.absent)
}

// Find looks up a command that the table lacks. It does not block.
func (l *Learner) Find(args []any) (*command.Info, command.Known) {
	if info := l.now.Load().Find(args); info != nil {
		return info, command.Learned
	}
	name, ok := command.QueryName(args)
	return nil, l.standing(name, ok)
}

// FindBytes is Find for arguments in bytes.
func (l *Learner) FindBytes(args [][]byte) (*command.Info, command.Known) {
	if info := l.now.Load().FindBytes(args); info != nil {
		return info, command.Learned
	}
	name, ok := command.QueryNameBytes(args)
	return nil, l.standing(name, ok)
}

// standing returns the state of a name that the vocabulary does not contain.
func (l *Learner) standing(name string, ok bool) command.Known {
	if !ok {
		return command.Absent
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	switch {
	case !l.hidden.IsZero() && now.Sub(l.hidden) < hiddenFor:
		return command.Hidden
	case l.asking[name] != nil || l.now.Load() == nil:
		return command.NotAsked
	case now.Sub(l.absent[name]) < absentFor:
		return command.Absent
	case l.leftLocked(now) >= 1:
		return command.NotAsked
	case l.named:
		return command.Hidden
	}
	return command.Absent
}

// leftLocked returns how many names may be queried now.
func (l *Learner) leftLocked(now time.Time) float64 {
	l.tokens = min(namesRate, l.tokens+namesRate*now.Sub(l.filledAt).Seconds())
	l.filledAt = now
	return l.tokens
}

// Learn queries the server about a command and waits for the answer, if Find returned NotAsked. name is the one of
// command.QueryName. It returns the error of the connection, or of the server's temporary state. If the server
// refuses to answer, there is no error.
func (l *Learner) Learn(ctx context.Context, name string) error {
	for range 2 { // the first query may be about all commands
		if err := ctx.Err(); err != nil {
			return &wire.Error{Op: "ask about commands", Addr: l.cfg.Place, Err: err}
		}
		q := l.ask(name)
		if q == nil {
			return nil
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			return &wire.Error{Op: "ask about commands", Addr: l.cfg.Place, Err: ctx.Err()}
		}
		if q.err != nil {
			return q.err
		}
	}
	return nil
}

// LearnOn is Learn on a connection that the caller holds, which may be the only one.
func (l *Learner) LearnOn(ctx context.Context, on *lane.Lane, name string) error {
	for range 2 {
		if !l.asks(name) {
			return nil
		}
		l.mu.Lock()
		about, generation := l.aboutLocked(name), l.generation
		l.mu.Unlock()
		args, size := commandQuery(about)
		reply, err := on.Do(ctx, args, lane.Options{ReplyBytes: size})
		if err != nil {
			return err
		}
		told := readTelling(about, reply)
		l.mu.Lock()
		if generation == l.generation {
			err = l.takeLocked(about, told)
		}
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// asks reports whether a query about the name is useful.
func (l *Learner) asks(name string) bool {
	return l.standing(name, true) == command.NotAsked && !l.now.Load().Has(name)
}

// aboutLocked returns the subject of a query for a name; empty for all commands.
func (l *Learner) aboutLocked(name string) string {
	if l.now.Load() == nil && !l.named && l.cfg.ReplyLimit >= wholeReply {
		return ""
	}
	return name
}

// ask starts a query, or joins one in flight. It returns nil if no query is needed.
func (l *Learner) ask(name string) *question {
	if !l.asks(name) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	name = l.aboutLocked(name)
	q := l.asking[name]
	if q != nil {
		return q
	}
	q = &question{done: make(chan struct{})}
	if l.closed {
		q.err = wire.ErrClosed
		close(q.done)
		return q
	}
	if name != "" {
		l.tokens--
	}
	l.asking[name] = q
	generation := l.generation
	l.wg.Go(func() {
		ctx, cancel := context.WithTimeout(l.ctx, l.cfg.WaitLimit+askLimit)
		defer cancel()
		args, size := commandQuery(name)
		reply, err := l.cfg.Ask(ctx, args, size)
		l.answered(q, name, generation, reply, err)
	})
	return q
}

// answered records the answer to a query.
func (l *Learner) answered(q *question, name string, generation int, reply []byte, err error) {
	var told telling
	if err == nil {
		told = readTelling(name, reply)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.asking, name)
	if err == nil && generation == l.generation {
		err = l.takeLocked(name, told)
	}
	q.err = err
	close(q.done)
}

// takeLocked records an answer about a name, or about all commands.
func (l *Learner) takeLocked(name string, told telling) error {
	switch {
	case told.refusal != nil && told.refusal.Code != "NOPERM" && told.refusal.Code != "ERR":
		return told.refusal // a temporary state of the server
	case told.refusal != nil && name != "":
		l.hidden = time.Now()
	case told.all != nil:
		l.now.Store(told.all)
	case name == "":
		l.nameLocked()
	default:
		l.nameLocked()
		l.takeInfoLocked(name, told.info)
	}
	return nil
}

// nameLocked switches to queries of single names if there is no answer to COMMAND.
func (l *Learner) nameLocked() {
	if l.now.Load() == nil {
		l.named = true
		l.now.Store(&command.Vocabulary{})
	}
}

func (l *Learner) takeInfoLocked(name string, info *command.Info) {
	if info != nil {
		l.now.Store(l.now.Load().With(info))
		return
	}
	if len(l.absent) >= mostAbsent {
		clear(l.absent)
	}
	l.absent[name] = time.Now()
}
