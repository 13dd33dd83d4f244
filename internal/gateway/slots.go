package gateway

import (
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

// slotState is how far a request has come.
type slotState uint8

const (
	posted   slotState = iota // on a lane
	queued                    // waits for the client's worker
	running                   // the worker carries it out
	answered                  // its reply is there
	broken                    // it gets none: in its turn the client's connection ends
)

// slot is the place of a request in its client's order.
type slot struct {
	state  slotState
	silent bool      // nobody gets its reply
	reads  bool      // it may be sent again
	level  pauseMode // the mildest pause that holds it back, if it is queued
	want   int       // frames that are still to come
	sent   int       // bytes of its reply that went out, or nowhere, before it was whole

	from, to uint64  // its bytes in the client's log, while it may have to be sent again
	at       int64   // when it was posted, of a sample, or left to the worker; unix nanoseconds
	behind   *ticket // the subscription that it waits for before it is carried out, if it is queued
	step     *stepSlot
	refusal  *engine.Refusal // that came already
	reply    []byte
}

// stepSlot is what a slot has more of a step that is no shared command.
type stepSlot struct {
	session.Step
	frames [][]byte
}

// slots is a client's requests that are not answered, in their order. They are known
// by numbers that rise by one.
type slots struct {
	buf  []slot // length a power of two
	head uint64 // number of the first
	n    int
}

// firstSlots is the size of a new ring.
const firstSlots = 4

func (s *slots) push() (tag uint64, at *slot) {
	if s.n == len(s.buf) {
		bigger := make([]slot, max(firstSlots, 2*len(s.buf)))
		for i := range s.n {
			tag := s.head + uint64(i)
			bigger[tag&uint64(len(bigger)-1)] = s.buf[tag&uint64(len(s.buf)-1)]
		}
		s.buf = bigger
	}
	tag = s.head + uint64(s.n)
	s.n++
	return tag, s.place(tag)
}

func (s *slots) place(tag uint64) *slot { return &s.buf[tag&uint64(len(s.buf)-1)] }

// at is the slot with a number, or nil if it was answered and is gone.
func (s *slots) at(tag uint64) *slot {
	if tag-s.head >= uint64(s.n) {
		return nil
	}
	return s.place(tag)
}

// front is the first one, or nil.
func (s *slots) front() *slot { return s.at(s.head) }

// undo takes the last one back.
func (s *slots) undo() {
	s.n--
	*s.place(s.head + uint64(s.n)) = slot{}
}

func (s *slots) pop() {
	*s.place(s.head) = slot{}
	s.head++
	s.n--
}
