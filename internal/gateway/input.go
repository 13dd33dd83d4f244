package gateway

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
)

// input is the receiving side of a client: the scanner, the bytes that wait, and the counters by which the reaper sees
// progress. The client's lock guards it, except large.
type input struct {
	scanner      request.Scanner
	rest         []byte    // bytes that are not processed yet
	commands     uint64    // requests taken
	bytes        uint64    // bytes received
	reads        uint32    // calls of receive
	seenReads    uint32    // reads at the reaper's last look
	seenCommands uint64    // commands at the reaper's last look between requests
	lastAt       time.Time // of the last input or pending reply that the reaper saw
	wholeAt      time.Time // when the reaper last saw no incomplete request

	large   atomic.Bool // the scanner may have room for a read; written under the client's lock
	eof     bool        // the input has ended
	hungUp  bool        // the client sends no more, but some bytes may be unread
	stopped bool        // the link does not read until it calls Resume
	full    bool        // the last read filled the link's buffer
}

// receive counts bytes from the link.
func (in *input) receive(b []byte) {
	in.reads++
	in.bytes += uint64(len(b))
	in.full = len(b) == cap(b)
}

// between reports whether the client seems to have sent nothing after the last request that was processed.
func (in *input) between() bool { return !in.full && len(in.rest) == 0 && in.scanner.Idle() }

// stop keeps bytes for later. The link must not read until it has called Resume.
func (in *input) stop(b []byte) {
	in.rest = append(in.rest, b...)
	in.stopped = true
}

// unread returns the input from a request on, which the scanner has just returned. before and after are the bytes that it has
// read and not read.
func (in *input) unread(req request.Request, before, after []byte) []byte {
	n := len(req.Raw)
	if at := len(before) - n; at >= 0 && &before[at] == &req.Raw[0] {
		return before[at : len(before)+len(after)]
	}
	rest := slices.Concat(req.Raw, after)
	if req.Owned {
		request.Free(req.Raw)
	}
	_, _, _ = in.scanner.Next(nil) // frees the memory of the request
	return rest
}

// keep replaces the bytes that wait, and frees their memory if there are none.
func (in *input) keep(rest []byte) {
	if in.rest = rest; len(rest) == 0 {
		in.rest = nil
	}
}

// room returns the buffer for the next read: the rest of a large request, or b.
func (in *input) room(b []byte) []byte {
	if room := in.scanner.Room(); room != nil && len(in.rest) == 0 {
		return room
	}
	return b
}

// noteLarge records whether the scanner has room for a read.
func (in *input) noteLarge() {
	if large := in.scanner.Room() != nil; large != in.large.Load() {
		in.large.Store(large)
	}
}

// ended reports whether the input has ended and was processed.
func (in *input) ended() bool { return in.eof && len(in.rest) == 0 }

// held returns the bytes of input in memory.
func (in *input) held() int { return in.scanner.Held() + len(in.rest) }

// observe records progress for the reaper. busy reports that replies are pending.
func (in *input) observe(now time.Time, busy bool) {
	if in.reads != in.seenReads || busy {
		in.seenReads, in.lastAt = in.reads, now
	}
	if in.scanner.Idle() || in.stopped || in.commands != in.seenCommands {
		in.seenCommands, in.wholeAt = in.commands, now
	}
}

// idle returns for how long no input came. It is zero if some came since the reaper's last look.
func (in *input) idle(now time.Time) time.Duration {
	if in.reads != in.seenReads {
		return 0
	}
	return now.Sub(in.lastAt)
}
