package lane

import (
	"fmt"
	"os"
	"time"
)

// StallError is the cause when a lane fails because it makes no progress. It matches os.ErrDeadlineExceeded.
type StallError struct {
	Silent time.Duration // minimum time without progress
	Reason StallReason
}

// StallReason states how a stall was detected.
type StallReason uint8

// The reasons.
const (
	AtLimit  StallReason = iota // no progress for Config.StallLimit
	DeadPath                    // the server answered on another connection
	NoPong                      // a quiet conn received no reply to a ping in time
)

func (e *StallError) Error() string {
	silent := e.Silent.Round(time.Millisecond)
	switch e.Reason {
	case DeadPath:
		return fmt.Sprintf("the server sent nothing for %v while replies were due and answered on another connection: the path of this one is dead", silent)
	case NoPong:
		return fmt.Sprintf("the server did not answer a ping within %v on this connection, which had been quiet", silent)
	}
	return fmt.Sprintf("the server sent nothing for the stall limit of %v while replies were due", silent)
}

// Timeout is always true.
func (e *StallError) Timeout() bool { return true }

// Is matches os.ErrDeadlineExceeded.
func (e *StallError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// silence is the finding of a tick.
type silence uint8

const (
	usual     silence = iota
	slow              // new requests should use another lane
	suspected         // the server or the path may have failed
	stalled           // the stall limit is over
)

// silenceLocked measures the time without progress while a reply is pending that the server does not hold back.
func (l *Lane) silenceLocked(progress bool) silence {
	c := &l.clock
	head := l.queue.front()
	if head == nil || progress {
		l.movesLocked()
		return usual
	}
	c.quiet++
	if head.q.block.Forever() {
		return usual
	}
	silent, block := l.silentLocked(), time.Duration(head.q.block)
	if limit := l.cfg.StallLimit; limit > 0 && silent-time.Duration(c.excused)*c.period >= limit+block {
		return stalled
	}
	after := l.cfg.SuspectAfter
	if after <= 0 || silent < after/2+block {
		return usual
	}
	found := slow
	if silent >= after+block {
		found = suspected
	}
	if l.silence != found {
		l.silence = found
		l.publishDepthLocked()
	}
	if found == slow || c.quiet < c.askAt {
		return slow
	}
	c.askAt = c.quiet + int64((after+c.period-1)/c.period)
	return suspected
}

// silentLocked returns the minimum time without progress. The first quiet tick may immediately follow the request.
func (l *Lane) silentLocked() time.Duration {
	return time.Duration(max(0, l.clock.quiet-1)) * l.clock.period
}

// movesLocked records progress.
func (l *Lane) movesLocked() {
	c := &l.clock
	c.quiet, c.excused, c.askAt = 0, 0, 0
	if l.silence != usual {
		l.silence = usual
		l.publishDepthLocked()
	}
}

// writingLocked reports whether the socket has accepted bytes of the first command with a pending reply since the
// last tick: a large command on a slow link. Bytes of later commands do not count, because a socket accepts bytes for
// a dead path too.
func (l *Lane) writingLocked() bool {
	c := &l.clock
	if l.offered == c.offered || l.queue.n == 0 {
		return false
	}
	end := l.queued
	if l.queue.n > 1 {
		end = l.queue.at(1).start
	}
	return c.offered < end
}

// noteUseLocked records the time of a tick with activity.
func (l *Lane) noteUseLocked(heard bool) {
	now := time.Now().UnixNano()
	l.usedAt.Store(now)
	if heard {
		l.heardAt.Store(now)
	}
}

// HeardAt returns the time of the last received byte, with the precision of a tick. At first it is the time of the
// handshake.
func (l *Lane) HeardAt() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytesIn.Load() != l.clock.bytesIn {
		return time.Now() // since the last tick
	}
	return time.Unix(0, l.heardAt.Load())
}

// Silence returns the time without progress while a reply is pending, and the number of bytes received before. It
// returns 0 unless the lane is suspected.
func (l *Lane) Silence() (d time.Duration, mark uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil || l.silence != suspected {
		return 0, 0
	}
	return l.silentLocked(), l.bytesIn.Load()
}

// Blocked reports whether the server may hold back the next pending reply.
func (l *Lane) Blocked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.queue.front()
	return head != nil && head.q.block != 0
}

// Excuse restarts the stall limit: the server explained on another connection why it does not reply here.
func (l *Lane) Excuse() {
	l.mu.Lock()
	l.clock.excused = l.clock.quiet
	l.mu.Unlock()
}

// lingers returns how long closing waits for the server. A stalled lane waits for less, because its path may never
// deliver the server's close.
func (l *Lane) lingers() time.Duration {
	d := l.cfg.LingerLimit
	if _, silent := l.Err().(*StallError); silent && l.cfg.StallLimit > 0 {
		d = min(d, max(l.cfg.StallLimit/10, time.Millisecond))
	}
	return d
}
