package fifo

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type waiter struct {
	Links[waiter]
	id int
}

func ids(q *List[waiter, *waiter]) (list []int) {
	for w := q.First(); w != nil; w = w.Next() {
		list = append(list, w.id)
	}
	return list
}

// Whoever joins and leaves, the list holds the others in the order in which they came.
func TestTheListKeepsItsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q List[waiter, *waiter]
		var all, gone []*waiter
		var want []int
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(want) == 0 || rapid.Bool().Draw(t, "join") {
				w := &waiter{id: len(all)}
				all = append(all, w)
				want = append(want, w.id)
				q.Push(w)
				continue
			}
			i := rapid.IntRange(0, len(want)-1).Draw(t, "leaves")
			w := all[want[i]]
			want = slices.Delete(want, i, i+1)
			gone = append(gone, w)
			if !q.Remove(w) || w.Listed() {
				t.Fatalf("%d was not in the list", w.id)
			}
		}
		if got := ids(&q); !slices.Equal(got, want) || q.Len() != len(want) {
			t.Fatalf("%v, %d: want %v", got, q.Len(), want)
		}
		for _, w := range gone {
			if q.Remove(w) {
				t.Fatalf("%d left twice", w.id)
			}
		}
	})
}
