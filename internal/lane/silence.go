package lane

import (
	"fmt"
	"os"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
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

// stallClock counts the ticks without progress while a reply is pending that the server does not hold back. Lane.mu
// guards it.
type stallClock struct {
	limit   time.Duration // Config.StallLimit
	suspect time.Duration // Config.SuspectAfter
	period  time.Duration // of a tick

	quiet   int64 // consecutive ticks without progress
	excused int64 // the part of them that does not count as a stall
	askAt   int64 // number of quiet ticks for the next report of a suspicion
}

func (s *stallClock) init(cfg *Config) {
	s.limit, s.suspect, s.period = cfg.StallLimit, cfg.SuspectAfter, tickFor(cfg)
}

// moved records progress.
func (s *stallClock) moved() { s.quiet, s.excused, s.askAt = 0, 0, 0 }

// excuse restarts the stall limit.
func (s *stallClock) excuse() { s.excused = s.quiet }

// silent returns the minimum time without progress. The first quiet tick may immediately follow the request.
func (s *stallClock) silent() time.Duration { return time.Duration(max(0, s.quiet-1)) * s.period }

// tick records a tick without progress. block is how long the server may hold back the next pending reply. report: a
// suspicion is new, or Config.SuspectAfter older than at the last report.
func (s *stallClock) tick(block command.Block) (found silence, report bool) {
	s.quiet++
	if block.Forever() {
		return usual, false
	}
	silent, held := s.silent(), time.Duration(block)
	switch {
	case s.limit > 0 && silent-time.Duration(s.excused)*s.period >= s.limit+held:
		return stalled, false
	case s.suspect <= 0 || silent < s.suspect/2+held:
		return usual, false
	case silent < s.suspect+held:
		return slow, false
	case s.quiet < s.askAt:
		return suspected, false
	}
	s.askAt = s.quiet + int64((s.suspect+s.period-1)/s.period)
	return suspected, true
}

// watchSilenceLocked updates the lane's silence at a tick, and returns the finding. report: OnSuspect must be called.
func (l *Lane) watchSilenceLocked(progress bool) (found silence, report bool) {
	head := l.queue.front()
	if head == nil || progress {
		l.stall.moved()
	} else {
		found, report = l.stall.tick(head.q.block)
	}
	if found != l.silence && found != stalled {
		l.silence = found
		l.publishDepthLocked()
	}
	return found, report
}

// writingLocked reports whether the socket has accepted bytes of the first command with a pending reply since the
// last tick: a large command on a slow link. Bytes of later commands do not count, because a socket accepts bytes for
// a dead path too.
func (l *Lane) writingLocked() bool {
	c := &l.clock
	if l.out.offered == c.offered || l.queue.n == 0 {
		return false
	}
	end := l.out.queued
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
	return l.stall.silent(), l.bytesIn.Load()
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
	l.stall.excuse()
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
