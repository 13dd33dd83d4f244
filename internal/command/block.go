package command

import (
	"math"
	"time"
)

// timeout says where a command that blocks says for how long.
type timeout uint8

const (
	noTimeout timeout = iota
	firstSeconds
	lastSeconds
	lastMillis
	blockMillis
)

// BlockFor says for how long a command may block by its own timeout, as the server rounds
// it. forever is the server's meaning of zero. Numbers may be of any integer or floating-point
// type, or text. ok is false for a command that does not block, which includes one whose
// timeout the server will refuse. info may be nil.
//
// Inside a transaction nothing blocks, whatever BlockFor says.
func BlockFor(info *Info, args []any) (d time.Duration, forever, ok bool) {
	return blockFor(info, arguments{values: args})
}

// BlockForBytes is [BlockFor] for arguments in bytes.
func BlockForBytes(info *Info, args [][]byte) (d time.Duration, forever, ok bool) {
	return blockFor(info, arguments{raw: args})
}

func blockFor(info *Info, args arguments) (d time.Duration, forever, ok bool) {
	if info == nil || args.len() < 2 {
		return 0, false, false
	}
	switch info.timeout {
	case firstSeconds:
		d, ok = seconds(args.number(1))
	case lastSeconds:
		d, ok = seconds(args.number(args.len() - 1))
	case lastMillis:
		d, ok = millis(args.integer(args.len() - 1))
	case blockMillis:
		if i := blockOption(args); i > 0 {
			d, ok = millis(args.integer(i))
		}
	}
	return d, ok && d == 0, ok
}

// seconds is a timeout of s seconds. Servers round it up to milliseconds, so that only zero
// means forever.
func seconds(s float64, ok bool) (time.Duration, bool) {
	if !ok || s < 0 || math.IsInf(s, 0) || math.IsNaN(s) {
		return 0, false
	}
	if s >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64, true
	}
	d := time.Duration(math.Round(s * float64(time.Second)))
	if s > 0 {
		d = max(d, time.Millisecond)
	}
	return d, true
}

func millis(ms int64, ok bool) (time.Duration, bool) {
	if !ok || ms < 0 {
		return 0, false
	}
	if ms > math.MaxInt64/int64(time.Millisecond) {
		return math.MaxInt64, true
	}
	return time.Duration(ms) * time.Millisecond, true
}
