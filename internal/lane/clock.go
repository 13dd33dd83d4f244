package lane

import (
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// clock measures a lane's waits in ticks, so that a command does not read the time. A limit ends at most two ticks
// late. The clock stops while the lane is idle and the background reader or the driver watches it. Lane.mu guards its
// fields.
type clock struct {
	timer   *time.Timer
	period  time.Duration
	tick    int64
	running bool
	queued  uint64 // Lane.queued at the last tick
	offered uint64 // Lane.offered at the last tick
	bytesIn uint64 // Lane.bytesIn at the last tick
}

const (
	minTick = 2 * time.Millisecond
	maxTick = 100 * time.Millisecond
)

// ticksEach is the number of ticks in a limit.
const ticksEach = 16

// leastTicks is the minimum number of ticks in Config.SuspectAfter.
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

// due returns the tick at which a wait that begins now exceeds timeout.
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

// onTick ends waits beyond their limit, fails a stalled lane, and makes the background reader watch an idle one.
func (l *Lane) onTick() {
	l.mu.Lock()
	c := &l.clock
	if l.dead != nil || !c.running {
		l.mu.Unlock()
		return
	}
	c.tick++
	bytesIn := l.bytesIn.Load()
	active := l.out.queued != c.queued
	heard := bytesIn != c.bytesIn
	progress := heard || l.writingLocked()
	c.queued, c.offered, c.bytesIn = l.out.queued, l.out.offered, bytesIn
	if active || progress {
		l.noteUseLocked(heard)
	}
	l.proof.tick(c.period)
	l.expireLocked()
	silence, report := l.watchSilenceLocked(progress)
	if silence == stalled {
		l.mu.Unlock()
		l.Fail(&StallError{Silent: l.cfg.StallLimit})
		return
	}
	if l.queue.n == 0 && l.reading == nobody && !active {
		l.giveLocked()
	}
	if l.queue.n > 0 || active || l.reading < background {
		c.timer.Reset(c.period)
	} else {
		c.running = false
		l.out.shrink()
		if l.reading == background && l.roomy {
			l.interruptReaderLocked() // it releases its buffer
		}
	}
	l.mu.Unlock()
	if report && l.cfg.OnSuspect != nil {
		l.cfg.OnSuspect(l)
	}
}

// expireLocked ends the waits beyond their limit. Limits end in queue order, so the first one in time ends the
// search, except for requests without a limit and blocking commands.
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
		err := l.failure("wait for the reply of", true, &wire.TimeoutError{Text: l.timeoutText(q.block)})
		if q.sink != nil {
			posted = q.fail(posted, left, err)
		} else if q.finish(left, err) && q.self {
			l.interruptReaderLocked()
		}
	}
}

// timeoutText names the limits of a wait that has lasted too long.
func (l *Lane) timeoutText(block command.Block) string {
	limit := fmt.Sprintf("the socket timeout of %v", l.cfg.ReplyTimeout)
	if block == command.NoBlock {
		return "no reply within " + limit
	}
	return fmt.Sprintf("no reply within %s and the command's own timeout of %v", limit, block)
}
