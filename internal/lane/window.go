package lane

import (
	"reflect"

	"github.com/seed-2b0d76a6/respool/internal/fifo"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

var errWindowTimeout = &wire.TimeoutError{Text: "the window stayed full for the socket timeout"}

// load is the part of the window that requests use.
type load struct{ replies, bytes int }

func (a *load) add(b load) { a.replies, a.bytes = a.replies+b.replies, a.bytes+b.bytes }

func (a *load) sub(b load) { a.replies, a.bytes = a.replies-b.replies, a.bytes-b.bytes }

// window limits the pending replies of a lane, and the bytes of their commands. Requests that find no room wait in
// order. Lane.mu guards it.
type window struct {
	due     load // of the requests in the queue
	granted load // room that waiting requests were granted and have not used
	limit   load
	waiting waitList
}

// fits reports whether one more request fits, with the pending replies of callers. At most one request exceeds the
// window.
func (w *window) fits(callers int) bool {
	return callers+w.granted.replies < w.limit.replies && w.due.bytes+w.granted.bytes < w.limit.bytes
}

// admit admits waiting requests while there is room. It reports whether it admitted any.
func (w *window) admit(callers int) (any bool) {
	for w.waiting.Len() > 0 && w.fits(callers) {
		w.granted.add(w.waiting.First().want)
		w.waiting.grant()
		any = true
	}
	return any
}

// sizeOf estimates the encoded size of args.
func sizeOf(args []any) int {
	const others = 16 // bytes of a number, or of the framing of a string
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
	fifo.Links[windowWait]
	ch       chan error // capacity 1: nil for room, or the error
	want     load
	reserved bool // has a reservation: draining does not refuse it
}

// waitList is the queue of waiting callers, in order of arrival.
type waitList struct {
	fifo.List[windowWait, *windowWait]
}

func (w *waitList) add(want load, reserved bool) *windowWait {
	x := &windowWait{ch: make(chan error, 1), want: want, reserved: reserved}
	w.Push(x)
	return x
}

func (w *waitList) grant() { w.decide(w.First(), nil) }

func (w *waitList) decide(x *windowWait, err error) {
	w.Remove(x)
	x.ch <- err
}

func (w *waitList) failAll(err error) {
	for w.Len() > 0 {
		w.decide(w.First(), err)
	}
}

// refuse fails the waits without a reservation.
func (w *waitList) refuse(err error) {
	for x := w.First(); x != nil; {
		next := x.Next()
		if !x.reserved {
			w.decide(x, err)
		}
		x = next
	}
}
