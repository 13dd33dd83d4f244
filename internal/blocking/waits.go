package blocking

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// Errors of waits.
var (
	// ErrClosed ends the waits of a closed Waits.
	ErrClosed = errClosed
	// ErrTooManyBlocked refuses a wait because Config.MaxBlocked commands wait already.
	ErrTooManyBlocked = errTooMany
	// ErrDedicated ends a wait whose user may not run the non-blocking form of the command, or whose key cannot be
	// watched. The caller has to send the command on a dedicated connection, with the rest of its timeout and the
	// arguments that Rest returns: the server either runs it or replies with its own error. Use errors.Is.
	ErrDedicated = errors.New("respool: wait for a key: the command needs a dedicated connection")
)

// dedicatedError is ErrDedicated, with the command as it was at the end of the wait.
type dedicatedError struct{ form *Form }

func (*dedicatedError) Error() string        { return ErrDedicated.Error() }
func (*dedicatedError) Is(target error) bool { return target == ErrDedicated }

// Rest returns the arguments that a command continues with after ErrDedicated, which is err: the same, except for the
// IDs $ of XREAD, which stand for the moment when the command arrived.
func Rest(args [][]byte, err error) [][]byte {
	if e, ok := errors.AsType[*dedicatedError](err); ok {
		return e.form.resolved(args)
	}
	return args
}

// Result is the end of a wait: a reply of the blocking command, or an error.
type Result struct {
	Reply []byte // one frame, which the receiver owns; it may be an error of the server
	Err   error
}

// Outcome is the end of an attempt.
type Outcome struct {
	Reply []byte // one frame; Waits keeps it
	Err   error  // there is no reply

	Sent  bool // with Err: the server may have received the command
	Final bool // with Err: another attempt cannot succeed, so the waits of the attempt end with Err
}

// Attempt is a command that a Sender sends. The Sender must not use it after Done.
type Attempt struct {
	Identity any      // of the waits that it serves
	DB       int      // likewise
	Args     [][]byte // the Sender must not change them
	Return   bool     // the command returns elements to a key, so a Sender may use another user with more rights

	waits *Waits
	try   *attempt
}

// Done ends the attempt. The Sender calls it exactly once, on any goroutine, even within Send.
func (a *Attempt) Done(o Outcome) {
	a.waits.do(func(c *core) { c.replied(a.try, o) })
}

// Sender sends attempts. Send must not block. A refusal that says that the node is the wrong one, such as MOVED, is an
// Outcome with Err, and without Sent: waits that have had a reply continue, and Resume moves them.
type Sender interface {
	Send(a *Attempt)
}

// Watcher reports changes of keys. Its methods must not block. They may call methods of the Subscriber.
type Watcher interface {
	// Watch starts to report changes of the keys to s, in every database. As soon as it notices changes it calls
	// Changed for the keys, because they may have changed before. A key is watched at most once, except that Resume
	// may watch it again.
	Watch(keys []string, s Subscriber)
	// Unwatch ends Watch. It has no effect on keys that are not watched.
	Unwatch(keys []string, s Subscriber)
}

// Subscriber receives changes of keys. *Waits implements it.
type Subscriber interface {
	// Changed reports that keys may have changed. It is cheap for keys that nobody waits for.
	Changed(keys ...string)
	// ChangedAll reports that any key may have changed.
	ChangedAll()
}

// Config configures a Waits. Sender and Watcher are required.
type Config struct {
	Sender  Sender
	Watcher Watcher

	// MaxBlocked limits the number of waits. Default 100,000.
	MaxBlocked int
	// MaxAttempts limits the number of commands in flight. Default 1,024.
	MaxAttempts int
	// MaxAttemptsOfIdentity limits the commands in flight of each identity. Default: only MaxAttempts limits them.
	MaxAttemptsOfIdentity int
	// Grace limits how long a wait continues after its timeout or the end of its ctx while an attempt is in flight.
	// Afterwards the wait ends, and what the attempt finds goes to the next in line or back to its key. Default 1 s.
	Grace time.Duration
	// Reexecutes, if not nil, reports whether the server executes a blocked command again when one of its keys has data:
	// Redis since 7.2, and Valkey. On these, a key that has another type by then ends the command with WRONGTYPE. Other
	// servers do not look at it. It must not block.
	Reexecutes func() bool
	// Lost, if not nil, receives the keys to which elements could not be returned, and the reason. It must not block.
	Lost func(key string, err error)
}

// Request is a blocking command that waits.
type Request struct {
	Form *Form
	// Identity decides which waits may share a command. It is comparable, and differs by user, database and protocol.
	Identity any
	DB       int
	RESP3    bool
}

// Waits holds the waits of one node. Its methods are safe for concurrent use. They call the Sender, the Watcher and the
// receivers of results without a lock, one after the other, and possibly those of other goroutines.
type Waits struct {
	cfg   Config
	began time.Time

	mu      sync.Mutex
	core    *core
	sender  Sender
	watcher Watcher
	spare   []action // a buffer for core.out
	timer   *time.Timer
	futures sync.Pool     // of *future; of this Waits alone, so that tests with fake time may use several
	armed   int64         // when timer fires; 0: not
	busy    bool          // a goroutine performs actions
	gathers bool          // a goroutine yields before it starts attempts
	idle    chan struct{} // closed when the core is closed and nothing is in flight
	cut     bool          // a Close waits for attempts no longer
	ended   chan struct{} // closed afterwards, when nobody performs actions
}

// New returns a Waits without waits. It starts no goroutines.
func New(cfg Config) *Waits {
	if cfg.MaxBlocked <= 0 {
		cfg.MaxBlocked = 100_000
	}
	if cfg.MaxAttempts <= 0 {
		cfg.MaxAttempts = 1024
	}
	if cfg.Grace <= 0 {
		cfg.Grace = defaultGrace
	}
	c := newCore(cfg.MaxBlocked, cfg.MaxAttempts, int64(cfg.Grace))
	c.ofIdentity = cfg.MaxAttemptsOfIdentity
	if cfg.Reexecutes != nil {
		c.reexecutes = cfg.Reexecutes
	}
	return &Waits{
		cfg: cfg, futures: sync.Pool{New: newFuture}, began: time.Now(), sender: cfg.Sender, watcher: cfg.Watcher,
		idle: make(chan struct{}), ended: make(chan struct{}),
		core: c,
	}
}

// Start starts a wait and does not block. done receives the result exactly once, on any goroutine, possibly before
// Start returns. It must not block. If Start returns an error, it does not call done.
func (s *Waits) Start(r Request, done func(Result)) (*Wait, error) { return s.start(r, done, false) }

// start is Start. With yields it first lets other callers start their waits, if there are any: one attempt serves them
// all.
func (s *Waits) start(r Request, done func(Result), yields bool) (*Wait, error) {
	w := &Wait{waits: s, done: done, form: r.Form, identity: r.Identity, db: int32(r.DB), resp3: r.RESP3}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.core
	c.now = s.now()
	if err := c.add(w); err != nil {
		return nil, err
	}
	if yields && c.company(w) {
		if s.gathers {
			s.arm()
			return w, nil // the caller that gathers goes on
		}
		s.gathers = true
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
		s.gathers = false
		c.now = s.now()
	}
	s.goOn()
	return w, nil
}

// Do waits until the command has a reply, or until the end of ctx. If an attempt is in flight at that time, Do returns
// what it finds, for up to Config.Grace.
func (s *Waits) Do(ctx context.Context, r Request) (reply []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f := s.futures.Get().(*future)
	w, err := s.start(r, f.set, true)
	if err != nil {
		s.futures.Put(f)
		return nil, err
	}
	var end Result
	select {
	case end = <-f.done:
	case <-ctx.Done():
		w.Cancel(ctx.Err())
		end = <-f.done
	}
	s.futures.Put(f) // done is called once
	return end.Reply, end.Err
}

// future receives the result of one wait after the other.
type future struct {
	done chan Result
	set  func(Result)
}

func newFuture() any {
	f := &future{done: make(chan Result, 1)}
	f.set = func(r Result) { f.done <- r }
	return f
}

// Cancel ends the wait with err. If an attempt in flight finds data for the wait, the result is that data instead.
func (w *Wait) Cancel(err error) {
	w.waits.do(func(c *core) { c.depart(w, Result{Err: err}, cancelReason, false) })
}

// Abandon ends the wait with err at once. What an attempt in flight finds goes to the next in line or back to its key.
// Use it if nobody can receive data any longer. It reports whether the wait ends with err: otherwise it has ended, and
// its receiver has got another result or is about to get it.
func (w *Wait) Abandon(err error) (ok bool) {
	w.waits.do(func(c *core) { ok = c.depart(w, Result{Err: err}, cancelReason, true) })
	return ok
}

// Unblock ends the wait like CLIENT UNBLOCK: as if its timeout had passed, or with the error UNBLOCKED. It reports
// whether the wait was waiting. If an attempt in flight finds data for the wait, the result is that data instead.
func (w *Wait) Unblock(withError bool) (ok bool) {
	reply := timedOut(w.resp3)
	if withError {
		reply = []byte(unblocked)
	}
	w.waits.do(func(c *core) { ok = c.depart(w, Result{Reply: reply}, cancelReason, false) })
	return ok
}

// Changed reports that keys may have changed.
func (s *Waits) Changed(keys ...string) {
	s.do(func(c *core) {
		for _, key := range keys {
			c.changed(key)
		}
	})
}

// ChangedAll reports that any key may have changed.
func (s *Waits) ChangedAll() { s.do((*core).changedAll) }

// Refuse reports that a key cannot be watched. Its waits end with ErrDedicated.
func (s *Waits) Refuse(key string) { s.do(func(c *core) { c.refuse(key) }) }

// Suspend stops attempts, because the node is not available. Waits continue and may time out.
func (s *Waits) Suspend() { s.do(func(c *core) { c.suspended = true }) }

// Resume tries every wait again, with the rest of its timeout. sender and watcher, if not nil, replace those of the
// node that was. A new watcher watches all keys; the old one is not asked to unwatch them.
func (s *Waits) Resume(sender Sender, watcher Watcher) {
	s.do(func(c *core) {
		if sender != nil {
			s.sender = sender
		}
		if watcher != nil {
			s.watcher = watcher
		}
		c.resume(watcher != nil)
	})
}

// Stats returns the figures.
func (s *Waits) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.core.snapshot()
	if s.gathers {
		st.InFlight++
	}
	return st
}

// Close ends every wait with ErrClosed, and those with an attempt in flight with what it finds. It returns when no
// attempt is in flight. At the end of ctx it ends the rest and returns the error of ctx. The Sender must work until
// Close returns.
func (s *Waits) Close(ctx context.Context) error {
	s.do((*core).close)
	var err error
	select {
	case <-s.idle:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.do(func(c *core) {
		c.cut()
		s.cut = true
	})
	<-s.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	return err
}

// do runs one step of the core and performs its actions. If another goroutine performs actions, it performs these too.
func (s *Waits) do(step func(c *core)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.now = s.now()
	step(s.core)
	s.goOn()
}

// now returns the time of the core; 0 stands for no deadline.
func (s *Waits) now() int64 { return int64(time.Since(s.began)) + 1 }

// goOn starts attempts and performs actions after a step of the core. The caller holds the lock.
func (s *Waits) goOn() {
	s.core.pump()
	s.arm()
	if !s.busy {
		s.busy = true
		s.performLocked(maxRounds)
	}
}

// performLocked performs the actions of the core until there are none. After some rounds it leaves the rest to a new
// goroutine, so that no caller performs the actions of others for long. The goroutine ends when there are none; Close
// waits for it.
func (s *Waits) performLocked(rounds int) {
	c := s.core
	for ; len(c.out) > 0; rounds-- {
		if rounds == 0 {
			go func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.performLocked(-1)
			}()
			return
		}
		actions := c.out
		c.out, s.spare = s.spare, nil
		sender, watcher := s.sender, s.watcher
		s.mu.Unlock()
		s.perform(actions, sender, watcher)
		s.mu.Lock()
		if cap(actions) <= mostSpare {
			clear(actions)
			s.spare = actions[:0]
		}
	}
	s.busy = false
	if c.closed && c.inFlight == 0 && len(c.returns) == 0 {
		closeOnce(s.idle)
	}
	if s.cut {
		closeOnce(s.ended)
	}
}

// mostSpare is the number of actions in the largest buffer that is kept.
const mostSpare = 1024

// maxRounds is how many times a caller performs actions, those of other callers included.
const maxRounds = 16

// closeOnce closes a channel unless it is closed. Its caller holds a lock.
func closeOnce(done chan struct{}) {
	select {
	case <-done:
	default:
		close(done)
	}
}

// perform performs actions in order, without the lock.
func (s *Waits) perform(actions []action, sender Sender, watcher Watcher) {
	for i := 0; i < len(actions); i++ {
		switch a := &actions[i]; a.kind {
		case doSend:
			t := a.try // send has set t.out: the rest belongs to the core
			t.out.waits = s
			sender.Send(&t.out)
		case doFinish:
			a.w.done(a.result)
		case doWatch, doUnwatch:
			keys := []string{a.key}
			for i+1 < len(actions) && actions[i+1].kind == a.kind {
				i++
				keys = append(keys, actions[i].key)
			}
			if a.kind == doWatch {
				watcher.Watch(keys, s)
			} else {
				watcher.Unwatch(keys, s)
			}
		case doLose:
			if s.cfg.Lost != nil {
				s.cfg.Lost(a.key, a.err)
			}
		}
	}
}

// arm sets the timer to the next deadline. The caller holds the lock.
func (s *Waits) arm() {
	at := s.core.next()
	if at == 0 || at == s.armed && s.timer != nil {
		return
	}
	if s.armed != 0 && s.armed < at {
		return // it fires too early and is set again then
	}
	s.armed = at
	d := time.Duration(at - s.core.now)
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.expire)
	} else {
		s.timer.Reset(d)
	}
}

func (s *Waits) expire() {
	s.do(func(c *core) {
		s.armed = 0
		c.expire()
	})
}
