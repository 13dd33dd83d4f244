package pool

import (
	"context"
	"fmt"
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
		return nil, &wire.Error{Op: "wait for a connection to", Addr: p.cfg.Addr, Err: err}
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
	w.subpool, w.want, w.began = p.enlistLocked(g), want, time.Time{}
	p.line.join(w)
	p.serveLocked()
	switch {
	case w.Listed() && refused != nil:
		p.grantLocked(w, grant{err: refused})
	case w.Listed():
		w.began = time.Now()
		p.statistic.waits++
		p.emitLocked(Event{Kind: WaitBegan, Class: want.String()})
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
		p.statistic.waitFailed(g.err)
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
	return &wire.Error{Op: "wait for a connection to", Addr: p.cfg.Addr,
		Err: fmt.Errorf("%w (%s)", ctx.Err(), p.stateLocked())}
}
