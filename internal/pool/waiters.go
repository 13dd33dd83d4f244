package pool

import (
	"cmp"
	"context"
	"errors"
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
	began   time.Time  // zero if the caller was served at once
	ch      chan grant // capacity 1

	fifo.Links[waiter]
}

// grant is the end of a wait: a conn or an error. A lane has a reservation for the waiter.
type grant struct {
	conn *member
	err  error
}

// waitQueue serves in order of arrival.
type waitQueue = fifo.List[waiter, *waiter]

// joinLocked adds w, the newest waiter, to its queue.
func (p *Pool) joinLocked(w *waiter) {
	g := w.subpool
	p.waiting++
	g.waiting++
	if w.want != shared {
		p.waitConn.Push(w)
		return
	}
	if g.waitLane.Len() == 0 {
		p.laneLine = append(p.laneLine, g)
	}
	g.waitLane.Push(w)
}

// leaveLocked removes w from its queue and reports whether it was still there.
func (p *Pool) leaveLocked(w *waiter) bool {
	if !w.Listed() {
		return false
	}
	g := w.subpool
	p.waiting--
	g.waiting--
	switch {
	case w.want != shared:
		p.waitConn.Remove(w)
	case w != g.waitLane.First():
		g.waitLane.Remove(w)
	default:
		i := p.laneTurn(w.seq)
		g.waitLane.Remove(w)
		p.moveBackLocked(i)
	}
	p.forgetLocked(g)
	return true
}

// moveBackLocked moves the i-th subpool of laneLine to the place of its new first lane waiter.
func (p *Pool) moveBackLocked(i int) {
	g := p.laneLine[i]
	if g.waitLane.Len() > 0 && (i+1 == len(p.laneLine) || g.waitLane.First().seq < p.laneLine[i+1].waitLane.First().seq) {
		return
	}
	p.laneLine = slices.Delete(p.laneLine, i, i+1)
	if g.waitLane.Len() > 0 {
		p.laneLine = slices.Insert(p.laneLine, p.laneTurn(g.waitLane.First().seq), g)
	}
}

// laneTurn returns the index in laneLine for a first lane waiter with seq.
func (p *Pool) laneTurn(seq uint64) int {
	i, _ := slices.BinarySearchFunc(p.laneLine, seq, func(g *Subpool, seq uint64) int {
		return cmp.Compare(g.waitLane.First().seq, seq)
	})
	return i
}

// grantLocked ends the wait of w.
func (p *Pool) grantLocked(w *waiter, g grant) {
	p.leaveLocked(w)
	p.answerLocked(w, g)
}

func (p *Pool) answerLocked(w *waiter, g grant) {
	if Refused(g.err) {
		p.statistic.refused++
	}
	if !w.began.IsZero() {
		p.waitEndedLocked(w, g.err)
	}
	w.ch <- g
}

func (p *Pool) waitEndedLocked(w *waiter, err error) {
	took := time.Since(w.began)
	p.statistic.waited += took
	p.statistic.longestWait = max(p.statistic.longestWait, took)
	p.countFailedWaitLocked(err)
	p.emitLocked(Event{Kind: WaitEnded, Class: w.want.String(), Duration: took, Err: err})
}

// countFailedWaitLocked counts a failed wait, unless its caller canceled it.
func (p *Pool) countFailedWaitLocked(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		p.statistic.failedWaits++
	}
}

func (p *Pool) failWaitersLocked(err error) {
	for len(p.laneLine) > 0 {
		p.grantLocked(p.laneLine[0].waitLane.First(), grant{err: err})
	}
	for p.waitConn.Len() > 0 {
		p.grantLocked(p.waitConn.First(), grant{err: err})
	}
}

// failSubpoolLocked fails the waiters of one subpool.
func (p *Pool) failSubpoolLocked(g *Subpool, err error) {
	for g.waitLane.Len() > 0 {
		p.grantLocked(g.waitLane.First(), grant{err: err})
	}
	for w := p.waitConn.First(); w != nil && g.waiting > 0; {
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
		return nil, &wire.Error{Op: "wait for a connection to", Addr: p.cfg.Addr, Err: err}
	}
	p.mu.Lock()
	if err := p.refuseWaitLocked(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	refused := p.deniedLocked(g.identity)
	p.started = p.started || g == &p.zero
	p.seq++
	w, ok := p.waiters.Get().(*waiter)
	if !ok {
		w = &waiter{ch: make(chan grant, 1)}
	}
	w.subpool, w.want, w.seq, w.began = p.enlistLocked(g), want, p.seq, time.Time{}
	p.joinLocked(w)
	p.serveLocked()
	switch {
	case w.Listed() && refused != nil:
		p.grantLocked(w, grant{err: refused})
	case w.Listed():
		w.began = time.Now()
		p.statistic.waits++
		p.emitLocked(Event{Kind: WaitBegan, Class: want.String()})
		if !p.expiring {
			p.expireLaterLocked(p.cfg.WaitTimeout)
		}
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
	return p.refusedLocked(g.identity)
}

// refuseWaitLocked returns the reason why a caller may not wait.
func (p *Pool) refuseWaitLocked() error {
	if p.closed {
		return ErrClosed
	}
	if p.suspended {
		return ErrSuspended
	}
	if p.liveLocked() == 0 && p.backoff.waits() {
		return p.backoff.last
	}
	return p.tooManyLocked()
}

// tooManyLocked returns an error if MaxWaiters callers wait.
func (p *Pool) tooManyLocked() error {
	if p.cfg.MaxWaiters > 0 && p.waiting+p.awaiting >= p.cfg.MaxWaiters {
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
		p.countFailedWaitLocked(g.err)
	}
	p.serveLocked() // others may have waited behind it
	return g
}

// expireLaterLocked schedules expire after d. All waits have the same limit, so the first waiter of each queue
// expires first.
func (p *Pool) expireLaterLocked(d time.Duration) {
	p.expiring = true
	if p.expiry == nil {
		p.expiry = time.AfterFunc(d, p.expire)
		return
	}
	p.expiry.Reset(d)
}

func (p *Pool) expire() {
	p.mu.Lock()
	defer p.unlock()
	p.expiring = false
	if p.closed {
		return
	}
	for w := p.oldestLocked(); w != nil; w = p.oldestLocked() {
		if left := p.cfg.WaitTimeout - time.Since(w.began); left > 0 {
			p.expireLaterLocked(left)
			break
		}
		p.leaveLocked(w)
		err := fmt.Errorf("%w within the wait timeout of %v (%s)", ErrExhausted, p.cfg.WaitTimeout, p.stateLocked())
		p.answerLocked(w, grant{err: err})
	}
	p.serveLocked() // others may have waited behind them
}

// oldestLocked returns the longest waiter, or nil.
func (p *Pool) oldestLocked() *waiter {
	w := p.waitConn.First()
	if len(p.laneLine) > 0 {
		if first := p.laneLine[0].waitLane.First(); w == nil || first.seq < w.seq {
			w = first
		}
	}
	return w
}

func (p *Pool) ctxError(ctx context.Context) error {
	return &wire.Error{Op: "wait for a connection to", Addr: p.cfg.Addr,
		Err: fmt.Errorf("%w (%s)", ctx.Err(), p.stateLocked())}
}
