package pubsub

import "math"

// Message is a message of a channel, or a gap between messages.
type Message struct {
	Channel string
	Pattern string // the matching pattern, for a subscription to patterns
	Payload string
	Gap     *Gap // set if messages are missing; the other fields are empty then
}

// Gap replaces missing messages.
type Gap struct {
	Lost  int // number of missing messages; Unknown if it is not known
	Cause string
}

// Unknown is an unknown number of messages.
const Unknown = -1

// The causes of gaps.
const (
	Reconnected    = "reconnected"
	SlowSubscriber = "slow subscriber"
)

// mark records the messages missing at one place.
type mark struct {
	dropped int    // messages dropped because the buffer was full
	loss    uint64 // number of the last loss of the connection; 0: none
}

// slot is a message and the messages missing before it.
type slot struct {
	before mark
	msg    Message
}

// buffer holds messages and gaps in order. limit limits its size: all messages missing at one place are one mark.
type buffer struct {
	limit int
	ring  []slot
	head  int
	n     int
	tail  mark // after the last message
}

// allHealed makes every gap visible.
const allHealed = math.MaxUint64

// keepSlots is the size of the largest ring that an empty buffer keeps.
const keepSlots = 64

// push appends a message. With ahead it stands before the last loss of the connection, if that is the last element.
func (b *buffer) push(msg *Message, ahead bool) {
	if b.n == b.limit {
		b.tail.dropped++
		return
	}
	if b.n == len(b.ring) {
		b.grow()
	}
	before, after := b.tail, mark{}
	if ahead {
		before.loss, after.loss = 0, b.tail.loss
	}
	b.ring[(b.head+b.n)%len(b.ring)] = slot{before: before, msg: *msg}
	b.tail = after
	b.n++
}

func (b *buffer) grow() {
	bigger := make([]slot, min(max(8, 2*len(b.ring)), b.limit))
	for i := range b.n {
		bigger[i] = b.ring[(b.head+i)%len(b.ring)]
	}
	b.ring, b.head = bigger, 0
}

// interrupt records a loss of the connection after the last message.
func (b *buffer) interrupt(loss uint64) { b.tail.loss = loss }

// first returns the mark before the next message.
func (b *buffer) first() *mark {
	if b.n == 0 {
		return &b.tail
	}
	return &b.ring[b.head].before
}

// ready reports whether take can return something. A loss later than healed holds back the messages after it: the
// server has not confirmed all topics again.
func (b *buffer) ready(healed uint64) bool {
	at := b.first()
	switch {
	case at.dropped > 0:
		return true
	case at.loss > 0:
		return at.loss <= healed
	}
	return b.n > 0
}

// take removes and returns the next message or gap. ready must be true.
func (b *buffer) take() Message {
	at := b.first()
	switch {
	case at.dropped > 0:
		gap := &Gap{Lost: at.dropped, Cause: SlowSubscriber}
		at.dropped = 0
		return Message{Gap: gap}
	case at.loss > 0:
		at.loss = 0
		return Message{Gap: &Gap{Lost: Unknown, Cause: Reconnected}}
	}
	msg := b.ring[b.head].msg
	b.ring[b.head] = slot{}
	b.head = (b.head + 1) % len(b.ring)
	if b.n--; b.n == 0 && len(b.ring) > keepSlots {
		b.ring, b.head = nil, 0
	}
	return msg
}
