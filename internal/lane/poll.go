package lane

import (
	"runtime"
	"sync/atomic"
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
	firstRest  = 64 // waits
	mostRests  = 8  // rests double up to here
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
	} else if sleeping.Load() == 0 && polling.CompareAndSwap(false, true) {
		n, err := p.look(conn, b)
		polling.Store(false)
		if n > 0 || err != nil {
			return n, err
		}
	}
	// Sleeping leaves this processor to the server, if it is waiting for one.
	sleeping.Add(1)
	defer sleeping.Add(-1)
	return conn.Read(b)
}

// look polls until there is something, and returns nothing if that takes too
// long or others wait as well.
func (p *poller) look(conn source, b []byte) (n int, err error) {
	for range looks {
		if n, err = conn.TryRead(b); n > 0 || err != nil {
			p.credit, p.rests = min(p.credit+1, mostCredit), 0
			return n, err
		}
		if sleeping.Load() > 0 {
			return 0, nil
		}
		runtime.Gosched()
	}
	if p.credit -= missCosts; p.credit < -mostCredit {
		p.credit = -mostCredit / 2
		p.rest = firstRest << p.rests
		p.rests = min(p.rests+1, mostRests)
	}
	return 0, nil
}
