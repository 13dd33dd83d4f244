package lane

import (
	"runtime"
	"sync/atomic"
	"time"
)

// One goroutine of the process polls at a time, and only while no other lane expects a reply. Polling takes a
// processor from goroutines with work, and possibly from the server.
var (
	polling  atomic.Bool
	sleeping atomic.Int32 // lanes that expect a reply soon and sleep
)

// source is the read half of a connection.
type source interface {
	Read(b []byte) (int, error)    // waits
	TryRead(b []byte) (int, error) // does not wait; 0 for nothing yet
	CanTry() bool
}

// poller checks the socket repeatedly before it sleeps: a nearby server replies before a sleeping thread wakes. Other
// goroutines run between two checks. It measures the benefit, and pauses for longer periods if replies take longer.
type poller struct {
	off    bool
	credit int // rises with replies in time, falls with others
	rest   int // remaining waits without polling
	rests  int // consecutive periods without benefit
}

const (
	looks      = 256 // checks of the socket in one wait: about 100 us if nothing else runs
	mostCredit = 128
	missCosts  = 2
	farCosts   = 16                     // for a reply that takes
	far        = 500 * time.Microsecond // longer than this after the last check
	firstRest  = 512                    // waits
	mostRests  = 5                      // pauses double up to this number
)

// init disables polling if the connection does not support it, and with one processor, where a goroutine that is
// always ready would prevent the check of other sockets.
func (p *poller) init(conn source) { p.off = !conn.CanTry() || runtime.GOMAXPROCS(0) < 2 }

// works reports whether a wait that is about to begin without polling would be shorter with it.
func (p *poller) works() bool {
	if p.rest > 0 {
		p.rest--
		return false
	}
	return !p.off
}

// read reads once and waits for the first byte. With soon it polls first.
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

// sleep reads without polling. It leaves the processor to other threads.
func (p *poller) sleep(conn source, b []byte) (int, error) {
	sleeping.Add(1)
	defer sleeping.Add(-1)
	return conn.Read(b)
}

// missed records a reply that arrived after the last check.
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

// look polls until bytes arrive. It returns none after the limit, or if another lane expects a reply.
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
