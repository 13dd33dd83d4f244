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
	group *Subpool
	want  class // shared, dedicated or subscribed
	seq   uint64
	began time.Time  // zero for one that was served at once
	ch    chan grant // capacity 1

	fifo.Links[waiter]
}

// grant is a conn, handed over, or why there is none. A shared one carries a
// reservation on its lane.
type grant struct {
	conn *member
	err  error
}

// waitQueue is first come, first served.
type waitQueue = fifo.List[waiter, *waiter]

// joinLocked puts w, the latest of all, at the end of its line.
func (p *Pool) joinLocked(w *waiter) {
	g := w.group
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

// leaveLocked takes w out of its line and reports whether it was still there.
func (p *Pool) leaveLocked(w *waiter) bool {
	if !w.Listed() {
		return false
	}
	g := w.group
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

// moveBackLocked gives the i-th group of the lane line the place that its first
// lane waiter of now has.
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

// laneTurn is where a group whose first lane waiter has seq stands in the line.
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
	p.countVainLocked(err)
	p.emitLocked(Event{Kind: WaitEnded, Class: w.want.String(), Duration: took, Err: err})
}

// countVainLocked counts a wait that has ended with an error, unless its own caller has given it up.
func (p *Pool) countVainLocked(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		p.statistic.waitsInVain++
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

// failGroupLocked fails the waiters of one group.
func (p *Pool) failGroupLocked(g *Subpool, err error) {
	for g.waitLane.Len() > 0 {
		p.grantLocked(g.waitLane.First(), grant{err: err})
	}
	for w := p.waitConn.First(); w != nil && g.waiting > 0; {
		next := w.Next()
		if w.group == g {
			p.grantLocked(w, grant{err: err})
		}
		w = next
	}
}

// obtain waits for a conn of the class wanted, bounded by ctx and WaitTimeout.
func (p *Pool) obtain(ctx context.Context, g *Subpool, want class) (*member, error) {
	if err := ctx.Err(); err != nil {
		return nil, &wire.Error{Op: "wait for a connection to", Addr: p.cfg.Addr, Err: err}
	}
	p.mu.Lock()
	if err := p.notNowLocked(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	refused := p.deniedLocked(g.key)
	p.started = p.started || g == &p.zero
	p.seq++
	w, ok := p.waiters.Get().(*waiter)
	if !ok {
		w = &waiter{ch: make(chan grant, 1)}
	}
	w.group, w.want, w.seq, w.began = p.enlistLocked(g), want, p.seq, time.Time{}
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
	w.group = nil
	p.waiters.Put(w)
	return got.conn, got.err
}

// turnedAwayLocked says why a conn of g's key can't be made now.
func (p *Pool) turnedAwayLocked(g *Subpool) error {
	if err := p.notNowLocked(); err != nil {
		return err
	}
	return p.refusedLocked(g.key)
}

// notNowLocked says why a caller may not even wait.
func (p *Pool) notNowLocked() error {
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

// tooManyLocked says why a caller may not wait beside those that do.
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
	} else if g = <-w.ch; g.err == nil { // granted in the same moment
		p.giveBackLocked(g.conn, w.want)
		g = grant{err: p.ctxError(ctx)}
		p.countVainLocked(g.err)
	}
	p.serveLocked() // it may have been what the others waited behind
	return g
}

// expireLaterLocked sees to those whose wait has lasted too long, after d. All may
// wait for the same time, so the first in each line is the first to go.
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
	p.serveLocked() // they may have been what the others waited behind
}

// oldestLocked is who waits longest, or nil.
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
