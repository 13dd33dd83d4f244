package lane

import (
	"fmt"
	"os"
	"time"
)

// StallError condemns a lane on which nothing moves any more. It is an
// os.ErrDeadlineExceeded.
type StallError struct {
	Silent time.Duration // nothing moved for so long, at least
	Reason StallReason
}

// StallReason says how a stall was found.
type StallReason uint8

// The reasons.
const (
	AtLimit  StallReason = iota // nothing moved for Config.StallLimit
	DeadPath                    // the server answered on another connection meanwhile
	NoPong                      // a ping of a conn that was quiet was not answered in time
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

// Is makes the error an os.ErrDeadlineExceeded.
func (e *StallError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// silence is what a tick finds.
type silence uint8

const (
	usual     silence = iota
	slow              // for so long that newcomers are better off elsewhere
	suspected         // for so long that the server or the path may be in trouble
	stalled           // for the stall limit
)

// silenceLocked measures for how long nothing moved while a reply was due that the server
// does not hold back.
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

// silentLocked is for how long nothing has moved, at least: the first quiet tick may follow
// the request at once.
func (l *Lane) silentLocked() time.Duration {
	return time.Duration(max(0, l.clock.quiet-1)) * l.clock.period
}

// movesLocked ends a silence.
func (l *Lane) movesLocked() {
	c := &l.clock
	c.quiet, c.excused, c.askAt = 0, 0, 0
	if l.silence != usual {
		l.silence = usual
		l.publishDepthLocked()
	}
}

// writingLocked reports whether the socket has taken bytes since the last tick while it
// lacked a part of the first command whose reply is due: a large one on a slow link. What
// is behind that command says nothing, since a socket takes bytes for a dead path, too.
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

// noteUseLocked takes the time of a tick that saw activity.
func (l *Lane) noteUseLocked(heard bool) {
	now := time.Now().UnixNano()
	l.usedAt.Store(now)
	if heard {
		l.heardAt.Store(now)
	}
}

// HeardAt is when the last byte came, to within a tick: at first that of the handshake.
func (l *Lane) HeardAt() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytesIn.Load() != l.clock.bytesIn {
		return time.Now() // since the last tick
	}
	return time.Unix(0, l.heardAt.Load())
}

// Silence is for how long nothing has moved while a reply was due, and how many bytes had
// come before. It is 0 unless that is suspicious.
func (l *Lane) Silence() (d time.Duration, mark uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil || l.silence != suspected {
		return 0, 0
	}
	return l.silentLocked(), l.bytesIn.Load()
}

// Blocked reports whether the reply that is due next is one that the server may hold back.
func (l *Lane) Blocked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.queue.front()
	return head != nil && head.q.block != 0
}

// Excuse lets the stall limit begin anew: the server says that it works, and why it does
// not answer here.
func (l *Lane) Excuse() {
	l.mu.Lock()
	l.clock.excused = l.clock.quiet
	l.mu.Unlock()
}

// lingers is how long the closing of a lane waits for the server. One on which nothing moved is
// not worth the whole wait: what closes the server's side may never come through.
func (l *Lane) lingers() time.Duration {
	d := l.cfg.LingerLimit
	if _, silent := l.Err().(*StallError); silent && l.cfg.StallLimit > 0 {
		d = min(d, max(l.cfg.StallLimit/10, time.Millisecond))
	}
	return d
}
