package pool

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/fifo"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// waiter is a caller that waits for a conn.
type waiter struct {
	subpool *Subpool
	want    class // shared, dedicated or subscribed
	seq     uint64
	since   time.Time  // when it began to wait, with a budget
	began   time.Time  // zero if the caller was served at once
	counted bool       // in the statistics: not of Observe
	ch      chan grant // capacity 1

	fifo.Links[waiter]
}

// grant is the end of a wait: a conn or an error. A lane has a reservation for the waiter.
type grant struct {
	conn *member
	err  error
}

// observing is the key of Observe.
type observing struct{}

// Observe returns a ctx for queries of this process about its own pool or server: health checks, monitoring, and lookups. Calls
// with it wait in the same queue, and within the same limits. They are not callers: no statistic counts their waits, and no event
// reports them.
func Observe(ctx context.Context) context.Context { return context.WithValue(ctx, observing{}, true) }

func isCaller(ctx context.Context) bool { return ctx.Value(observing{}) == nil }

// leaveLocked removes w from its queue and reports whether it was still there.
func (p *Pool) leaveLocked(w *waiter) bool {
	if !p.line.leave(w) {
		return false
	}
	p.forgetLocked(w.subpool)
	return true
}

// grantLocked ends the wait of w.
func (p *Pool) grantLocked(w *waiter, g grant) {
	p.leaveLocked(w)
	p.answerLocked(w, g)
}

func (p *Pool) answerLocked(w *waiter, g grant) {
	if Refused(g.err) && w.counted {
		p.statistic.refused++
	}
	if !w.began.IsZero() {
		p.waitEndedLocked(w, g.err)
	}
	w.ch <- g
}

func (p *Pool) waitBeganLocked(w *waiter) {
	w.began = time.Now()
	if !w.counted {
		return
	}
	p.statistic.waits++
	p.emitLocked(Event{Kind: WaitBegan, Class: w.want.String()})
}

func (p *Pool) waitEndedLocked(w *waiter, err error) {
	if !w.counted {
		return
	}
	took := time.Since(w.began)
	p.statistic.waitEnded(took, err)
	p.emitLocked(Event{Kind: WaitEnded, Class: w.want.String(), Duration: took, Err: err})
}

func (p *Pool) failWaitersLocked(err error) {
	for len(p.line.forLane) > 0 {
		p.grantLocked(p.line.forLane[0].waitLane.First(), grant{err: err})
	}
	for p.line.forConn.Len() > 0 {
		p.grantLocked(p.line.forConn.First(), grant{err: err})
	}
}

// failSubpoolLocked fails the waiters of one subpool.
func (p *Pool) failSubpoolLocked(g *Subpool, err error) {
	for g.waitLane.Len() > 0 {
		p.grantLocked(g.waitLane.First(), grant{err: err})
	}
	for w := p.line.forConn.First(); w != nil && g.waiting > 0; {
		next := w.Next()
		if w.subpool == g {
			p.grantLocked(w, grant{err: err})
		}
		w = next
	}
}

// obtain blocks until a conn of the class is available. ctx and WaitTimeout limit the wait.
func (p *Pool) obtain(ctx context.Context, g *Subpool, want class) (*member, error) {
	if err := ctx.Err(); err != nil {
		return nil, &wire.Error{Op: "wait for a connection to", Addr: p.dialTo.Load().Addr, Err: err}
	}
	p.mu.Lock()
	if err := p.refuseWaitLocked(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	refused := p.deniedLocked(g.identity)
	p.started = p.started || g == &p.zero
	w, ok := p.waiters.Get().(*waiter)
	if !ok {
		w = &waiter{ch: make(chan grant, 1)}
	}
	w.subpool, w.want, w.began, w.counted = p.enlistLocked(g), want, time.Time{}, isCaller(ctx)
	if p.share != nil {
		w.since = time.Now()
	}
	p.line.join(w)
	p.serveLocked()
	switch {
	case w.Listed() && refused != nil:
		p.grantLocked(w, grant{err: refused})
	case w.Listed():
		p.waitBeganLocked(w)
		p.expiry.within(p.cfg.WaitTimeout)
	}
	p.unlock()
	got := p.await(ctx, w)
	w.subpool = nil
	p.waiters.Put(w)
	return got.conn, got.err
}

// refuseDialLocked returns the reason why no conn of g's identity can be dialed now.
func (p *Pool) refuseDialLocked(g *Subpool) error {
	if err := p.refuseWaitLocked(); err != nil {
		return err
	}
	return p.refusals.inPause(g.identity)
}

// refuseWaitLocked returns the reason why a caller may not wait.
func (p *Pool) refuseWaitLocked() error {
	if p.closed {
		return ErrClosed
	}
	if p.suspended {
		return ErrSuspended
	}
	if p.liveLocked() == 0 && p.gate.pausing() {
		return p.gate.lastError
	}
	return p.tooManyLocked()
}

// tooManyLocked returns an error if MaxWaiters callers wait.
func (p *Pool) tooManyLocked() error {
	if p.cfg.MaxWaiters > 0 && p.line.waiting+p.awaiting >= p.cfg.MaxWaiters {
		return fmt.Errorf("%w: %d callers wait already (%s)", ErrExhausted, p.cfg.MaxWaiters, p.stateLocked())
	}
	return nil
}

func (p *Pool) await(ctx context.Context, w *waiter) (g grant) {
	if ctx.Done() == nil {
		return <-w.ch
	}
	select {
	case g = <-w.ch:
		return g
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.unlock()
	if p.leaveLocked(w) {
		g.err = p.ctxError(ctx)
		p.waitEndedLocked(w, g.err)
	} else if g = <-w.ch; g.err == nil { // granted at the same time
		p.giveBackLocked(g.conn, w.want)
		g = grant{err: p.ctxError(ctx)}
		if w.counted {
			p.statistic.waitFailed(g.err)
		}
	}
	p.serveLocked() // others may have waited behind it
	return g
}

// expire fails the waiters whose time is over. All waits have the same limit, so the first waiter of each queue
// expires first.
func (p *Pool) expire() {
	p.mu.Lock()
	defer p.unlock()
	p.expiry.ring()
	if p.closed {
		return
	}
	for w := p.line.first(); w != nil; w = p.line.first() {
		if left := p.cfg.WaitTimeout - time.Since(w.began); left > 0 {
			p.expiry.within(left)
			break
		}
		p.leaveLocked(w)
		err := fmt.Errorf("%w within the wait timeout of %v (%s)", ErrExhausted, p.cfg.WaitTimeout, p.stateLocked())
		p.answerLocked(w, grant{err: err})
	}
	p.serveLocked() // others may have waited behind them
}

func (p *Pool) ctxError(ctx context.Context) error {
	return &wire.Error{Op: "wait for a connection to", Addr: p.dialTo.Load().Addr,
		Err: fmt.Errorf("%w (%s)", ctx.Err(), p.stateLocked())}
}

// waitQueue serves in order of arrival.
type waitQueue = fifo.List[waiter, *waiter]

// waitLine holds the waiters of all subpools. Waiters for dedicated conns are in one queue. Waiters for lanes are in
// the queue of their subpool, and the subpools are in the order of their first waiters. Pool.mu guards it.
type waitLine struct {
	waiting int // for lanes and conns
	callers int // of waiting, those that the statistics count
	forConn waitQueue
	forLane []*Subpool // subpools with lane waiters
	seq     uint64     // of the newest waiter
}

// join adds w, the newest waiter.
func (l *waitLine) join(w *waiter) {
	g := w.subpool
	l.seq++
	w.seq = l.seq
	l.waiting++
	g.waiting++
	if w.counted {
		l.callers++
	}
	if w.want != shared {
		l.forConn.Push(w)
		return
	}
	if g.waitLane.Len() == 0 {
		l.forLane = append(l.forLane, g)
	}
	g.waitLane.Push(w)
}

// leave removes w and reports whether it was still there.
func (l *waitLine) leave(w *waiter) bool {
	if !w.Listed() {
		return false
	}
	g := w.subpool
	l.waiting--
	g.waiting--
	if w.counted {
		l.callers--
	}
	switch {
	case w.want != shared:
		l.forConn.Remove(w)
	case w != g.waitLane.First():
		g.waitLane.Remove(w)
	default:
		i := l.turnOf(w.seq)
		g.waitLane.Remove(w)
		l.moveBack(i)
	}
	return true
}

// moveBack moves the i-th subpool of forLane to the place of its new first waiter.
func (l *waitLine) moveBack(i int) {
	g := l.forLane[i]
	if g.waitLane.Len() > 0 && (i+1 == len(l.forLane) || g.waitLane.First().seq < l.forLane[i+1].waitLane.First().seq) {
		return
	}
	l.forLane = slices.Delete(l.forLane, i, i+1)
	if g.waitLane.Len() > 0 {
		l.forLane = slices.Insert(l.forLane, l.turnOf(g.waitLane.First().seq), g)
	}
}

// turnOf returns the index in forLane for a first waiter with seq.
func (l *waitLine) turnOf(seq uint64) int {
	i, _ := slices.BinarySearchFunc(l.forLane, seq, func(g *Subpool, seq uint64) int {
		return cmp.Compare(g.waitLane.First().seq, seq)
	})
	return i
}

// first returns the longest waiter; nil if there is none.
func (l *waitLine) first() *waiter {
	w := l.forConn.First()
	if len(l.forLane) > 0 {
		if lane := l.forLane[0].waitLane.First(); w == nil || lane.seq < w.seq {
			w = lane
		}
	}
	return w
}

// firstOf returns the longest waiter of g for a conn; nil if there is none.
func (l *waitLine) firstOf(g *Subpool) *waiter {
	w := l.forConn.First()
	for w != nil && w.subpool != g {
		w = w.Next()
	}
	return w
}
