// Package fifo is a list of those who wait, first come first served. An element holds its own links, so that
// joining and leaving cost no memory and no search. A list does not lock, and starts no goroutine.
package fifo

// Links are an element's place in a list. Embed them. The zero Links are in none.
type Links[T any] struct {
	prev, next *T
	listed     bool
}

// Place returns l, for the list.
func (l *Links[T]) Place() *Links[T] { return l }

// Next is the element that came next; nil if there is none.
func (l *Links[T]) Next() *T { return l.next }

// Listed reports whether the element is in a list.
func (l *Links[T]) Listed() bool { return l.listed }

// element is a *T with Links.
type element[T any] interface {
	*T
	Place() *Links[T]
}

// List is a queue of elements, each of which is in one list at most. The zero List is empty.
type List[T any, E element[T]] struct {
	first, last *T
	n           int
}

// First is the element that came first; nil if there is none.
func (q *List[T, E]) First() *T { return q.first }

// Len is the number of elements.
func (q *List[T, E]) Len() int { return q.n }

// Push adds x, which is in no list, at the end.
func (q *List[T, E]) Push(x *T) {
	l := E(x).Place()
	l.prev, l.listed = q.last, true
	if q.last == nil {
		q.first = x
	} else {
		E(q.last).Place().next = x
	}
	q.last = x
	q.n++
}

// Remove takes x out and reports whether it was in the list.
func (q *List[T, E]) Remove(x *T) bool {
	l := E(x).Place()
	if !l.listed {
		return false
	}
	if l.prev == nil {
		q.first = l.next
	} else {
		E(l.prev).Place().next = l.next
	}
	if l.next == nil {
		q.last = l.prev
	} else {
		E(l.next).Place().prev = l.prev
	}
	*l = Links[T]{}
	q.n--
	return true
}
