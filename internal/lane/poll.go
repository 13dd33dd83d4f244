package lane

import (
	"runtime"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// polling is held by the one goroutine of the process that polls. A second
// one would take a processor from those who have work, the server perhaps
// among them.
var polling atomic.Bool

// poller looks for a reply again and again for a while before it sleeps: a
// server nearby answers sooner than a sleeping thread is awake, and between two
// looks other goroutines run. It keeps account of what that brings and rests
// for longer and longer where replies take their time.
type poller struct {
	credit int // gained by replies that came in time, lost by others
	rest   int // waits still to go by without polling
	rests  int // in a row that brought nothing
}

const (
	looks      = 256 // at the socket, in one wait: some 100 us if nothing else is to run
	mostCredit = 128
	missCosts  = 2
	firstRest  = 64 // waits
	mostRests  = 8  // rests double up to here
)

// read reads once, waiting for the first byte. It polls only if replies are due.
func (p *poller) read(conn *wire.Conn, b []byte, due bool) (int, error) {
	if !due || !conn.CanTry() {
		return conn.Read(b)
	}
	if p.rest > 0 {
		p.rest--
		return conn.Read(b)
	}
	if !polling.CompareAndSwap(false, true) {
		return conn.Read(b)
	}
	n, err := look(conn, b)
	polling.Store(false)
	if n > 0 || err != nil {
		p.credit, p.rests = min(p.credit+1, mostCredit), 0
		return n, err
	}
	if p.credit -= missCosts; p.credit < -mostCredit {
		p.credit = -mostCredit / 2
		p.rest = firstRest << p.rests
		p.rests = min(p.rests+1, mostRests)
	}
	// Sleeping now leaves this processor to the server, if it is waiting for one.
	return conn.Read(b)
}

// look polls until there is something, and returns nothing if that takes too long.
func look(conn *wire.Conn, b []byte) (n int, err error) {
	for range looks {
		if n, err = conn.TryRead(b); n > 0 || err != nil {
			return n, err
		}
		runtime.Gosched()
	}
	return 0, nil
}
