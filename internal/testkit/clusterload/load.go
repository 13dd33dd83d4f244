package clusterload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// Config configures a load.
type Config struct {
	Callers  int           // spread over all kinds; at least one of each
	Slots    []int         // of the keys
	Channels int           // shard channels of each subscriber; default 4
	Timeout  time.Duration // of each call; default 1 min
}

// Load is callers that run until Stop.
type Load struct {
	client Client
	cfg    Config
	kinds  []*kind
	stop   atomic.Bool
	at     atomic.Int64 // index of the slot that moves
	done   atomic.Int64 // calls
	wg     sync.WaitGroup
}

// kind is the callers of one kind.
type kind struct {
	name    string
	callers []*caller

	mu     sync.Mutex
	report KindReport
}

// caller is one caller. It uses the slots whose index is its own number, modulo the number of callers of
// its kind.
type caller struct {
	load   *Load
	kind   *kind
	number int
	random *rand.Rand
	job    job
}

// job is the work of a caller. i is the index of a slot.
type job interface {
	// prepare runs once, before all callers start.
	prepare(ctx context.Context, c *caller) error
	call(ctx context.Context, c *caller, i int)
	// finish runs once, after all callers have stopped, and checks what is left at the servers.
	finish(ctx context.Context, c *caller)
}

// jobs are the kinds of callers.
var jobs = []struct {
	name string
	open func(registers *registers) job
}{
	{"SET", func(r *registers) job { return &setter{registers: r} }},
	{"GET", func(r *registers) job { return &getter{registers: r} }},
	{"INCR", func(*registers) job { return &counter{name: "count", incr: incr} }},
	{"EVALSHA", func(*registers) job { return &counter{name: "script", incr: eval} }},
	{"MULTI", func(*registers) job { return &counter{name: "multi", incr: multi} }},
	{"WATCH", func(*registers) job { return &counter{name: "watch", incr: watch} }},
	{"pipeline", func(*registers) job { return &pipeliner{} }},
	{"BLPOP", func(*registers) job { return &consumer{queue: list{}} }},
	{"XREADGROUP", func(*registers) job { return &consumer{queue: stream{}} }},
	{"SSUBSCRIBE", func(*registers) job { return &subscriber{} }},
}

// Start prepares the callers, and starts them.
func Start(ctx context.Context, client Client, cfg Config) (*Load, error) {
	if cfg.Channels == 0 {
		cfg.Channels = 4
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	l := &Load{client: client, cfg: cfg}
	if err := client.Load(ctx, script); err != nil {
		return nil, fmt.Errorf("load the script: %w", err)
	}
	shared := &registers{of: make([]register, len(cfg.Slots))}
	for i, j := range jobs {
		k := &kind{name: j.name}
		k.report.Name, k.report.Errors = j.name, map[string]int64{}
		l.kinds = append(l.kinds, k)
		for n := range max(1, cfg.Callers/len(jobs)) {
			c := &caller{load: l, kind: k, number: n, random: rand.New(rand.NewPCG(uint64(i), uint64(n))), job: j.open(shared)}
			k.callers = append(k.callers, c)
		}
	}
	if err := l.each(func(c *caller) error { return c.job.prepare(ctx, c) }); err != nil {
		return nil, err
	}
	for _, k := range l.kinds {
		for _, c := range k.callers {
			l.wg.Go(func() { c.run(ctx) })
		}
	}
	return l, nil
}

// each runs a function for all callers at once, and returns the first error.
func (l *Load) each(f func(*caller) error) error {
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	for _, k := range l.kinds {
		for _, c := range k.callers {
			wg.Go(func() {
				if err := f(c); err != nil {
					select {
					case failed <- fmt.Errorf("%s: %w", k.name, err):
					default:
					}
				}
			})
		}
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// At makes half of the calls use the slots next to the one with an index, which is about to move.
func (l *Load) At(i int) { l.at.Store(int64(i)) }

// Done is the number of calls that have ended.
func (l *Load) Done() int64 { return l.done.Load() }

// Stop ends the callers, checks what is left at the servers, and returns what the callers saw. The cluster must be
// healthy.
func (l *Load) Stop(ctx context.Context) *Report {
	l.stop.Store(true)
	l.wg.Wait()
	_ = l.each(func(c *caller) error { c.job.finish(ctx, c); return nil })
	r := &Report{}
	for _, k := range l.kinds {
		r.Kinds = append(r.Kinds, k.report)
	}
	return r
}

// mostThought is the most time between two calls of a caller.
const mostThought = 4 * time.Millisecond

func (c *caller) run(ctx context.Context) {
	for !c.load.stop.Load() && ctx.Err() == nil {
		<-time.After(time.Duration(c.random.Int64N(int64(mostThought)))) // so that the nodes have time to move slots
		callCtx, cancel := context.WithTimeout(ctx, c.load.cfg.Timeout)
		c.job.call(callCtx, c, c.pick())
		cancel()
		c.kind.mu.Lock()
		c.kind.report.Calls++
		c.kind.mu.Unlock()
		c.load.done.Add(1)
	}
}

// pick returns the index of one of the caller's slots. Half of the time it is next to the slot that moves.
func (c *caller) pick() int {
	step, all := len(c.kind.callers), len(c.load.cfg.Slots)
	own := (all - c.number + step - 1) / step // slots of the caller
	if own <= 0 {
		return c.number % all
	}
	n := c.random.IntN(own)
	if c.random.IntN(2) == 0 {
		n = min(int(c.load.at.Load())/step, own-1)
	}
	return c.number + n*step
}

// own yields the indices of the caller's slots.
func (c *caller) own(yield func(int) bool) {
	for i := c.number % len(c.load.cfg.Slots); i < len(c.load.cfg.Slots); i += len(c.kind.callers) {
		if !yield(i) {
			return
		}
	}
}

// key returns the caller's key of the slot with an index.
func (c *caller) key(i int, name string) string {
	return testkit.SlotKey(c.load.cfg.Slots[i], fmt.Sprintf("%s:%d", name, c.number))
}

// found adds what a call found to the report.
func (c *caller) found(f faults) {
	if f == (faults{}) {
		return
	}
	c.kind.mu.Lock()
	defer c.kind.mu.Unlock()
	c.kind.report.faults.add(f)
}

// failed adds an error to the report.
func (c *caller) failed(err error) {
	c.kind.mu.Lock()
	defer c.kind.mu.Unlock()
	c.kind.report.fail(err)
}
