package lane

import (
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// clock measures a lane's waits in ticks, so that a command costs no look at
// the time: a limit passes at most two ticks late. It stands still while the
// lane is idle and watched. Its fields are guarded by Lane.mu.
type clock struct {
	timer   *time.Timer
	period  time.Duration
	tick    int64
	running bool
	quiet   int64  // ticks in a row without progress while replies were due
	excused int64  // those among them that do not count as a stall
	askAt   int64  // the number of quiet ticks at which OnSuspect is called next
	queued  uint64 // Lane.queued at the last tick
	offered uint64 // Lane.offered at the last tick
	bytesIn uint64 // Lane.bytesIn at the last tick
}

const (
	minTick = 2 * time.Millisecond
	maxTick = 100 * time.Millisecond
)

// ticksEach is how finely a limit is measured.
const ticksEach = 16

// leastTicks is how finely Config.SuspectAfter is measured at least.
const leastTicks = 4

func tickFor(cfg *Config) time.Duration {
	period := maxTick
	for _, limit := range []time.Duration{cfg.ReplyTimeout, cfg.StallLimit, cfg.SuspectAfter * ticksEach / leastTicks} {
		if limit > 0 {
			period = min(period, limit/ticksEach)
		}
	}
	return max(period, minTick)
}

func (l *Lane) startClockLocked() {
	c := &l.clock
	if c.running {
		return
	}
	c.running = true
	if c.timer == nil {
		c.period = tickFor(l.cfg)
		c.timer = time.AfterFunc(c.period, l.onTick)
		return
	}
	c.timer.Reset(c.period)
}

// due is the tick at which a wait that begins now has lasted longer than timeout.
func (c *clock) due(timeout time.Duration, block command.Block) int64 {
	if timeout <= 0 || block.Forever() {
		return 0
	}
	timeout += time.Duration(block)
	return c.tick + int64((timeout+c.period-1)/c.period) + 1
}

func (c *clock) stop() {
	c.running = false
	if c.timer != nil {
		c.timer.Stop()
	}
}

// onTick ends waits that lasted too long, condemns a stalled lane, and sets
// the background reader to watch an idle one.
func (l *Lane) onTick() {
	l.mu.Lock()
	c := &l.clock
	if l.dead != nil || !c.running {
		l.mu.Unlock()
		return
	}
	c.tick++
	bytesIn := l.bytesIn.Load()
	active := l.queued != c.queued
	heard := bytesIn != c.bytesIn
	progress := heard || l.writingLocked()
	c.queued, c.offered, c.bytesIn = l.queued, l.offered, bytesIn
	if active || progress {
		l.noteUseLocked(heard)
	}
	l.tickProofLocked()
	l.expireLocked()
	ask := false
	switch l.silenceLocked(progress) {
	case stalled:
		stall := &StallError{Silent: l.cfg.StallLimit}
		l.mu.Unlock()
		l.Fail(stall)
		return
	case suspected:
		ask = l.cfg.OnSuspect != nil
	}
	if l.queue.n == 0 && l.reading == nobody && !active {
		l.giveLocked()
	}
	if l.queue.n > 0 || active || l.reading < background {
		c.timer.Reset(c.period)
	} else {
		c.running = false
		l.settleLocked()
	}
	l.mu.Unlock()
	if ask {
		l.cfg.OnSuspect(l)
	}
}

// expireLocked ends the waits that are over. Replies are due in the order of
// the queue, so the first one in time ends the search, but for those without
// a limit and blocking commands, whose limits differ.
func (l *Lane) expireLocked() {
	if l.cfg.ReplyTimeout <= 0 {
		return
	}
	var posted []failed
	defer func() { l.tellLocked(posted) }()
	for i := range l.queue.n {
		q := l.queue.at(i)
		if q.state.Load() != waiting {
			continue
		}
		if q.due == 0 || q.due > l.clock.tick {
			if q.due != 0 && q.block == 0 {
				return
			}
			continue
		}
		err := l.failure("wait for the reply of", true, &wire.TimeoutError{
			Text: fmt.Sprintf("no reply within the socket timeout of %v", l.cfg.ReplyTimeout)})
		if q.sink != nil {
			posted = q.fail(posted, left, err)
		} else if q.finish(left, err) && q.self {
			l.interruptReaderLocked()
		}
	}
}

// keepBuffer is the largest write buffer that an idle lane keeps.
const keepBuffer = 16 << 10

// settleLocked lets go of what an idle lane does not need.
func (l *Lane) settleLocked() {
	if !l.flushing && cap(l.wbuf) > keepBuffer {
		l.wbuf = nil
	}
	if cap(l.spare) > keepBuffer {
		l.spare = nil
	}
}
