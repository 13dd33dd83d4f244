package keywatch

import (
	"time"

	"github.com/seed-2b0d76a6/respool/internal/fifo"
)

// wheel is a timer wheel for last-resort notifications. Each key is in the slot for the time of its next one, which is drawn
// from 3/4 to 5/4 of the interval, so that keys spread over the slots. A key costs no timer.
type wheel struct {
	slots  [wheelSlots]fifo.List[key, *key]
	width  time.Duration // of a slot
	cursor uint32        // tick of the last slot that was emptied
	n      int
	random func(time.Duration) time.Duration
}

const (
	wheelSlots = 256
	interval   = wheelSlots / 4 // the mean delay, in slots; a key may be added when the cursor is as late as that again
)

func (w *wheel) init(mean time.Duration, random func(time.Duration) time.Duration) {
	w.width = max(mean/interval, 1)
	w.random = random
}

func (w *wheel) tick(now time.Duration) uint32 { return uint32(now / w.width) }

// restart sets the time of an empty wheel.
func (w *wheel) restart(now time.Duration) { w.cursor = w.tick(now) }

// add adds a key that was looked at just now.
func (w *wheel) add(now time.Duration, k *key) {
	k.noted = w.tick(now)
	w.schedule(k, k.noted)
}

func (w *wheel) schedule(k *key, from uint32) {
	delay := interval*3/4 + uint32(w.random(interval/2+1))
	k.slot = uint8((from + delay) % wheelSlots)
	w.slots[k.slot].Push(k)
	w.n++
}

// dueAt returns the time of a key's slot, from the cursor on.
func (w *wheel) dueAt(k *key) time.Duration {
	ahead := uint8(uint32(k.slot) - w.cursor%wheelSlots)
	return time.Duration(w.cursor+uint32(ahead)) * w.width
}

func (w *wheel) remove(k *key) {
	if w.slots[k.slot].Remove(k) {
		w.n--
	}
}

// advance empties the slots up to now and schedules their keys again. It calls due for those that were not notified
// within the last half of an interval.
func (w *wheel) advance(now time.Duration, due func(*key)) {
	to := w.tick(now)
	if to > w.cursor+wheelSlots {
		w.cursor = to - wheelSlots
	}
	for w.cursor < to {
		w.cursor++
		slot := &w.slots[w.cursor%wheelSlots]
		for range slot.Len() {
			k := slot.First()
			w.remove(k)
			if age := to - k.noted; age < interval/2 {
				w.schedule(k, k.noted)
				continue
			}
			due(k)
			w.schedule(k, to)
		}
	}
}

// next returns the time of the first slot with keys.
func (w *wheel) next() (at time.Duration, ok bool) {
	if w.n == 0 {
		return 0, false
	}
	for tick := w.cursor + 1; ; tick++ {
		if w.slots[tick%wheelSlots].Len() > 0 {
			return time.Duration(tick) * w.width, true
		}
	}
}
