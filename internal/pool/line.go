package pool

import (
	"cmp"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/fifo"
)

// waitQueue serves in order of arrival.
type waitQueue = fifo.List[waiter, *waiter]

// waitLine holds the waiters of all subpools. Waiters for dedicated conns are in one queue. Waiters for lanes are in
// the queue of their subpool, and the subpools are in the order of their first waiters. Pool.mu guards it.
type waitLine struct {
	waiting int // for lanes and conns
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
