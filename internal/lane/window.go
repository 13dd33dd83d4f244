package lane

import (
	"reflect"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

var errWindowTimeout = &wire.TimeoutError{Text: "the window stayed full for the socket timeout"}

// load is what requests take of the window.
type load struct{ replies, bytes int }

func (a *load) add(b load) { a.replies, a.bytes = a.replies+b.replies, a.bytes+b.bytes }

func (a *load) sub(b load) { a.replies, a.bytes = a.replies-b.replies, a.bytes-b.bytes }

// sizeOf is about how many bytes args take when they are encoded.
func sizeOf(args []any) int {
	const others = 16 // what a number takes, and the lines of a string
	n := others * len(args)
	for _, a := range args {
		switch v := a.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		default:
			if rv := reflect.ValueOf(a); rv.Kind() == reflect.String || rv.Kind() == reflect.Slice {
				n += rv.Len()
			}
		}
	}
	return n
}

// windowWait is a caller that waits for room in a full window.
type windowWait struct {
	ch         chan error // capacity 1: nil for a place, or why there will be none
	want       load
	reserved   bool // holds a promise: draining does not refuse it
	prev, next *windowWait
	listed     bool
}

// waitList is the queue of those, first come first served.
type waitList struct {
	first, last *windowWait
	n           int
}

func (w *waitList) add(want load, reserved bool) *windowWait {
	x := &windowWait{ch: make(chan error, 1), want: want, reserved: reserved, prev: w.last, listed: true}
	if w.last == nil {
		w.first = x
	} else {
		w.last.next = x
	}
	w.last = x
	w.n++
	return x
}

// remove reports whether x was still waiting.
func (w *waitList) remove(x *windowWait) bool {
	if !x.listed {
		return false
	}
	if x.prev == nil {
		w.first = x.next
	} else {
		x.prev.next = x.next
	}
	if x.next == nil {
		w.last = x.prev
	} else {
		x.next.prev = x.prev
	}
	x.prev, x.next, x.listed = nil, nil, false
	w.n--
	return true
}

func (w *waitList) grant() { w.decide(w.first, nil) }

func (w *waitList) decide(x *windowWait, err error) {
	w.remove(x)
	x.ch <- err
}

func (w *waitList) failAll(err error) {
	for w.n > 0 {
		w.decide(w.first, err)
	}
}

// refuse fails those who hold no promise.
func (w *waitList) refuse(err error) {
	for x := w.first; x != nil; {
		next := x.next
		if !x.reserved {
			w.decide(x, err)
		}
		x = next
	}
}
