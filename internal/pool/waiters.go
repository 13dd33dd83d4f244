package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// waiter is a caller that waits for a conn.
type waiter struct {
	want  class // shared, dedicated or subscribed
	seq   uint64
	began time.Time  // zero for one that was served at once
	ch    chan grant // capacity 1

	prev, next *waiter
	listed     bool
}

// grant is a conn, handed over, or why there is none. A shared one carries a
// reservation on its lane.
type grant struct {
	conn *Conn
	err  error
}

// waitQueue is first come, first served.
type waitQueue struct {
	first, last *waiter
	n           int
}

func (q *waitQueue) push(w *waiter) {
	w.prev, w.listed = q.last, true
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.n++
}

func (q *waitQueue) remove(w *waiter) bool {
	if !w.listed {
		return false
	}
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.listed = nil, nil, false
	q.n--
	return true
}

// grantLocked ends the wait of the first in q.
func (p *Pool) grantLocked(q *waitQueue, g grant) {
	w := q.first
	q.remove(w)
	p.answerLocked(w, g)
}

func (p *Pool) answerLocked(w *waiter, g grant) {
	if !w.began.IsZero() {
		p.waitEndedLocked(w, g.err)
	}
	w.ch <- g
}

func (p *Pool) waitEndedLocked(w *waiter, err error) {
	took := time.Since(w.began)
	p.statistic.waited += took
	p.statistic.longestWait = max(p.statistic.longestWait, took)
	if err != nil {
		p.statistic.waitsInVain++
	}
	p.emitLocked(Event{Kind: WaitEnded, Class: w.want.String(), Duration: took, Err: err})
}

func (p *Pool) failWaitersLocked(err error) {
	for _, q := range p.queuesLocked() {
		for q.n > 0 {
			p.grantLocked(q, grant{err: err})
		}
	}
}

// queuesLocked are those of all groups.
func (p *Pool) queuesLocked() []*waitQueue {
	all := make([]*waitQueue, 0, 2*len(p.groups))
	for _, g := range p.groups {
		all = append(all, &g.waitLane, &g.waitConn)
	}
	return all
}

// obtain waits for a conn of the class wanted, bounded by ctx and WaitTimeout.
func (g *Group) obtain(ctx context.Context, want class) (*Conn, error) {
	p := g.p
	if err := ctx.Err(); err != nil {
		return nil, &wire.Error{Op: "wait for a connection to", Addr: p.cfg.Addr, Err: err}
	}
	p.mu.Lock()
	if err := p.refusalLocked(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	p.started = true
	p.seq++
	w, ok := p.waiters.Get().(*waiter)
	if !ok {
		w = &waiter{ch: make(chan grant, 1)}
	}
	w.want, w.seq, w.began = want, p.seq, time.Time{}
	q := g.listedLocked().queueFor(want)
	q.push(w)
	p.serveLocked()
	if w.listed {
		w.began = time.Now()
		p.statistic.waits++
		p.emitLocked(Event{Kind: WaitBegan, Class: want.String()})
		if !p.expiring {
			p.expireLaterLocked(p.cfg.WaitTimeout)
		}
	}
	p.unlock()
	got := p.await(ctx, w, q)
	p.waiters.Put(w)
	return got.conn, got.err
}

// refusalLocked says why a caller may not even wait.
func (p *Pool) refusalLocked() error {
	if p.closed {
		return ErrClosed
	}
	if p.suspended {
		return ErrSuspended
	}
	if p.liveLocked() == 0 && p.backoff.waits() {
		return p.backoff.last
	}
	if p.cfg.MaxWaiters > 0 && p.waitingLocked() >= p.cfg.MaxWaiters {
		return fmt.Errorf("%w: %d callers wait already (%s)", ErrExhausted, p.cfg.MaxWaiters, p.stateLocked())
	}
	return nil
}

func (p *Pool) await(ctx context.Context, w *waiter, q *waitQueue) (g grant) {
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
	if q.remove(w) {
		g.err = p.ctxError(ctx)
		p.waitEndedLocked(w, g.err)
	} else if g = <-w.ch; g.err == nil { // granted in the same moment
		p.giveBackLocked(g.conn, w.want)
		g = grant{err: p.ctxError(ctx)}
		p.statistic.waitsInVain++
	}
	p.serveLocked() // it may have been what the others waited behind
	return g
}

// expireLaterLocked sees to those whose wait has lasted too long, after d. All may
// wait for the same time, so the first in each queue is the first to go.
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
	next := time.Duration(-1)
	for _, q := range p.queuesLocked() {
		for q.n > 0 {
			left := p.cfg.WaitTimeout - time.Since(q.first.began)
			if left > 0 {
				if next < 0 || left < next {
					next = left
				}
				break
			}
			w := q.first
			q.remove(w)
			err := fmt.Errorf("%w within the wait timeout of %v (%s)", ErrExhausted, p.cfg.WaitTimeout, p.stateLocked())
			p.answerLocked(w, grant{err: err})
		}
	}
	if next >= 0 {
		p.expireLaterLocked(next)
	}
	p.serveLocked() // they may have been what the others waited behind
}

func (p *Pool) ctxError(ctx context.Context) error {
	return &wire.Error{Op: "wait for a connection to", Addr: p.cfg.Addr,
		Err: fmt.Errorf("%w (%s)", ctx.Err(), p.stateLocked())}
}
