package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// waiter is a caller that waits for a conn.
type waiter struct {
	want class // shared, dedicated or subscribed
	seq  uint64
	ch   chan grant // capacity 1

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

func (q *waitQueue) grant(g grant) {
	w := q.first
	q.remove(w)
	w.ch <- g
}

func (p *Pool) failWaitersLocked(err error) {
	for _, q := range []*waitQueue{&p.waitLane, &p.waitConn} {
		for q.n > 0 {
			q.grant(grant{err: err})
		}
	}
}

func (p *Pool) queueFor(want class) *waitQueue {
	if want == shared {
		return &p.waitLane
	}
	return &p.waitConn
}

// obtain waits for a conn of the class wanted, bounded by ctx and WaitTimeout.
func (p *Pool) obtain(ctx context.Context, want class) (*Conn, error) {
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
	w := &waiter{want: want, seq: p.seq, ch: make(chan grant, 1)}
	q := p.queueFor(want)
	q.push(w)
	p.serveLocked()
	if !w.listed {
		p.unlock()
		g := <-w.ch
		return g.conn, g.err
	}
	p.statistic.waits++
	p.emitLocked(Event{Kind: WaitBegan, Class: want.String()})
	p.unlock()
	return p.await(ctx, w, q)
}

// refusalLocked says why a caller may not even wait.
func (p *Pool) refusalLocked() error {
	if p.closed {
		return ErrClosed
	}
	if p.liveLocked() == 0 && p.backoff.waits() {
		return p.backoff.last
	}
	if p.cfg.MaxWaiters > 0 && p.waitLane.n+p.waitConn.n >= p.cfg.MaxWaiters {
		return fmt.Errorf("%w: %d callers wait already (%s)", ErrExhausted, p.cfg.MaxWaiters, p.stateLocked())
	}
	return nil
}

func (p *Pool) await(ctx context.Context, w *waiter, q *waitQueue) (*Conn, error) {
	began := time.Now()
	timer := time.NewTimer(p.cfg.WaitTimeout)
	defer timer.Stop()
	var g grant
	select {
	case g = <-w.ch:
		p.waitEnded(w, began, g.err)
		return g.conn, g.err
	case <-ctx.Done():
	case <-timer.C:
	}
	p.mu.Lock()
	if !q.remove(w) {
		// Granted in the same moment: it is here, and it is taken unless ctx ended.
		g = <-w.ch
		if g.err == nil && ctx.Err() != nil {
			p.giveBackLocked(g.conn, w.want)
			g = grant{err: p.ctxError(ctx)}
		}
	} else if ctx.Err() != nil {
		g.err = p.ctxError(ctx)
	} else {
		g.err = fmt.Errorf("%w within the wait timeout of %v (%s)", ErrExhausted, p.cfg.WaitTimeout, p.stateLocked())
	}
	p.serveLocked() // it may have been what the others waited behind
	p.unlock()
	p.waitEnded(w, began, g.err)
	return g.conn, g.err
}

func (p *Pool) ctxError(ctx context.Context) error {
	return &wire.Error{Op: "wait for a connection to", Addr: p.cfg.Addr,
		Err: fmt.Errorf("%w (%s)", ctx.Err(), p.stateLocked())}
}

func (p *Pool) waitEnded(w *waiter, began time.Time, err error) {
	took := time.Since(began)
	p.mu.Lock()
	p.statistic.waited += took
	p.statistic.longestWait = max(p.statistic.longestWait, took)
	if err != nil {
		p.statistic.waitsInVain++
	}
	p.emitLocked(Event{Kind: WaitEnded, Class: w.want.String(), Duration: took, Err: err})
	p.unlock()
}
