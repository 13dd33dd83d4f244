package lane

import (
	"runtime"
	"sync/atomic"
	"time"
)

// One goroutine of the process polls at a time, and only while no other lane
// expects a reply: those who poll take a processor from those who have work,
// the server perhaps among them.
var (
	polling  atomic.Bool
	sleeping atomic.Int32 // lanes that expect a reply soon and sleep until it is there
)

// source is the read half of a connection.
type source interface {
	Read(b []byte) (int, error)    // waits
	TryRead(b []byte) (int, error) // does not; 0 for nothing yet
	CanTry() bool
}

// poller looks for a reply again and again for a while before it sleeps: a
// server nearby answers sooner than a sleeping thread is awake, and between two
// looks other goroutines run. It keeps account of what that brings and rests
// for longer and longer where replies take their time.
type poller struct {
	off    bool
	credit int // gained by replies that came in time, lost by others
	rest   int // waits still to go by without polling
	rests  int // in a row that brought nothing
}

const (
	looks      = 256 // at the socket, in one wait: some 100 us if nothing else is to run
	mostCredit = 128
	missCosts  = 2
	farCosts   = 16                     // for a reply that took
	far        = 500 * time.Microsecond // longer after the last look
	firstRest  = 512                    // waits
	mostRests  = 5                      // rests double up to here
)

// init switches polling off where it can't be done, and where a goroutine that
// is always ready would keep the only processor from asking for other sockets.
func (p *poller) init(conn source) { p.off = !conn.CanTry() || runtime.GOMAXPROCS(0) < 2 }

// read reads once, waiting for the first byte. With soon, a reply is expected:
// then it polls first.
func (p *poller) read(conn source, b []byte, soon bool) (int, error) {
	if !soon || p.off {
		return conn.Read(b)
	}
	if p.rest > 0 {
		p.rest--
		return p.sleep(conn, b)
	}
	if sleeping.Load() > 0 || !polling.CompareAndSwap(false, true) {
		return p.sleep(conn, b)
	}
	n, alone, err := look(conn, b)
	polling.Store(false)
	switch {
	case n > 0 || err != nil:
		p.credit, p.rests = min(p.credit+1, mostCredit), 0
		return n, err
	case !alone:
		return p.sleep(conn, b)
	}
	began := time.Now()
	n, err = p.sleep(conn, b)
	p.missed(time.Since(began))
	return n, err
}

// sleep reads. Sleeping leaves this processor to the server, if it waits for one.
func (p *poller) sleep(conn source, b []byte) (int, error) {
	sleeping.Add(1)
	defer sleeping.Add(-1)
	return conn.Read(b)
}

// missed takes note of a reply that came only so long after the last look.
func (p *poller) missed(after time.Duration) {
	if p.credit -= missCosts; after > far {
		p.credit -= farCosts
	}
	if p.credit < -mostCredit {
		p.credit = -mostCredit / 2
		p.rest = firstRest << p.rests
		p.rests = min(p.rests+1, mostRests)
	}
}

// look polls until there is something, and returns nothing if that takes too
// long, or if it is no longer alone.
func look(conn source, b []byte) (n int, alone bool, err error) {
	for range looks {
		if n, err = conn.TryRead(b); n > 0 || err != nil {
			return n, true, err
		}
		if sleeping.Load() > 0 {
			return 0, false, nil
		}
		runtime.Gosched()
	}
	return 0, true, nil
}
