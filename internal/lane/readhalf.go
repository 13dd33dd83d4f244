package lane

// role states who owns the read half.
type role uint8

const (
	nobody     role = iota // the queue is empty
	caller                 // a caller that was alone reads its own reply
	background             // the lane's goroutine
	driven                 // the driver's loop
)

// shallowLimit is the number of consecutive replies for a lone caller after which the background reader returns the
// read half.
const shallowLimit = 4

// readHalf states who reads the connection: one goroutine at a time. Lane.mu guards it.
type readHalf struct {
	holder  role
	kicked  bool   // the reader was interrupted and not resumed
	failed  bool   // the lane has failed
	shallow int    // consecutive replies that the background reader read for a lone caller
	driver  Driver // nil: none
	conn    readable
	wake    chan struct{} // capacity 1: the background reader has the read half, or the lane has failed
}

// readable is the part of a connection that its read half uses.
type readable interface {
	InterruptRead()
	ResumeRead()
	Descriptor() int
}

func (r *readHalf) init(conn readable) { r.conn, r.wake = conn, make(chan struct{}, 1) }

// claim gives the read half to a caller, if nobody has it.
func (r *readHalf) claim() bool {
	if r.holder != nobody {
		return false
	}
	r.holder = caller
	return true
}

// give gives the read half of l to the driver, or else to the background reader. On a failed lane the background
// reader closes the connection.
func (r *readHalf) give(l *Lane) {
	r.shallow = 0
	if r.driver != nil && !r.failed {
		r.holder = driven
		r.driver.Take(l, r.conn.Descriptor())
		return
	}
	r.holder = background
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// free takes the read half from its holder, for the next caller.
func (r *readHalf) free() { r.holder, r.shallow = nobody, 0 }

// interrupt ends the read of the holder. A failed lane is interrupted for good.
func (r *readHalf) interrupt() {
	if !r.failed {
		r.kicked = true
		r.conn.InterruptRead()
	}
}

// resume reverts an interruption.
func (r *readHalf) resume() {
	if r.kicked && !r.failed {
		r.kicked = false
		r.conn.ResumeRead()
	}
}

// alone records a read of the background reader, and reports whether callers have been alone for long enough to read
// their own replies. lone: the read returned one reply, for a caller, and no other is pending; more: it returned
// several, or others are pending.
func (r *readHalf) alone(lone, more bool) bool {
	switch {
	case more:
		r.shallow = 0
	case lone:
		r.shallow++
	}
	return !more && r.shallow >= shallowLimit
}

// drive makes d read l from the end of the current read on.
func (r *readHalf) drive(d Driver, l *Lane) {
	r.driver = d
	switch r.holder {
	case nobody:
		r.give(l)
	case background:
		r.interrupt()
	}
}

// undrive ends the work of the driver.
func (r *readHalf) undrive(l *Lane) {
	r.driver = nil
	if r.holder == driven {
		r.give(l)
	}
}

// fail hands a failed lane to the background reader, when its current reader is done.
func (r *readHalf) fail(l *Lane) {
	r.failed = true
	switch r.holder {
	case nobody:
		r.give(l)
	case driven:
		r.driver.Drop(l)
	}
}
