package pubsub

import "math"

// Message is what a channel carried, or a gap between messages.
type Message struct {
	Channel string
	Pattern string // the pattern that matched, of a subscription to patterns
	Payload string
	Gap     *Gap // set where messages are missing; the other fields are empty then
}

// Gap stands where messages are missing.
type Gap struct {
	Lost  int // how many; Unknown if nobody can tell
	Cause string
}

// Unknown is a number of messages that nobody can tell.
const Unknown = -1

// The causes of gaps.
const (
	Reconnected    = "reconnected"
	SlowSubscriber = "slow subscriber"
)

// mark is what is missing at one place between messages.
type mark struct {
	dropped int    // messages that found the buffer full
	loss    uint64 // number of the last loss of the connection; 0: none
}

// slot is a message and what is missing before it.
type slot struct {
	before mark
	msg    Message
}

// buffer holds messages and gaps in their order. Its size is bounded by limit
// whatever happens, since all that is missing at one place is one mark.
type buffer struct {
	limit int
	ring  []slot
	head  int
	n     int
	tail  mark // behind the last message
}

// allHealed shows every gap.
const allHealed = math.MaxUint64

// keepSlots is the size of the largest ring that an empty buffer keeps.
const keepSlots = 64

func (b *buffer) push(msg *Message) {
	if b.n == b.limit {
		b.tail.dropped++
		return
	}
	if b.n == len(b.ring) {
		b.grow()
	}
	b.ring[(b.head+b.n)%len(b.ring)] = slot{before: b.tail, msg: *msg}
	b.tail = mark{}
	b.n++
}

func (b *buffer) grow() {
	bigger := make([]slot, min(max(8, 2*len(b.ring)), b.limit))
	for i := range b.n {
		bigger[i] = b.ring[(b.head+i)%len(b.ring)]
	}
	b.ring, b.head = bigger, 0
}

// interrupt marks a loss of the connection behind the last message.
func (b *buffer) interrupt(loss uint64) { b.tail.loss = loss }

// first is the place that is looked at next.
func (b *buffer) first() *mark {
	if b.n == 0 {
		return &b.tail
	}
	return &b.ring[b.head].before
}

// ready reports whether take has something. Losses after healed keep what
// stands behind them back: the subscription is not whole again.
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

// take removes the next message or gap, where ready.
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
