package keywatch

// queue is a first-in, first-out queue that keeps its memory while it is small.
type queue[T any] struct {
	items []T
	head  int // index of the first item
}

// mostKept is the capacity of the largest empty queue that keeps its memory.
const mostKept = 4096

func (q *queue[T]) len() int { return len(q.items) - q.head }

// all returns the items in order. They alias the queue.
func (q *queue[T]) all() []T { return q.items[q.head:] }

func (q *queue[T]) first() T { return q.items[q.head] }

func (q *queue[T]) push(x T) { q.items = append(q.items, x) }

func (q *queue[T]) pop() {
	var zero T
	q.items[q.head] = zero
	q.head++
	switch {
	case q.head == len(q.items):
		q.clear()
	case q.head > len(q.items)/2 && q.head >= mostKept:
		// Without this, a queue that is never empty would grow.
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
}

// keep removes the items for which wanted returns false.
func (q *queue[T]) keep(wanted func(T) bool) {
	kept := q.items[:0]
	for _, x := range q.all() {
		if wanted(x) {
			kept = append(kept, x)
		}
	}
	clear(q.items[len(kept):])
	q.items, q.head = kept, 0
}

func (q *queue[T]) clear() {
	clear(q.items)
	q.items, q.head = q.items[:0], 0
	if cap(q.items) > mostKept {
		q.items = nil
	}
}
