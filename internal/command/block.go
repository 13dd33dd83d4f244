package command

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// timeout is the position and unit of a blocking command's timeout.
type timeout uint8

const (
	noTimeout timeout = iota
	firstSeconds
	lastSeconds
	lastMillis
	blockMillis
)

// Block is how long a server may hold the reply to a command back: not at all, for a time, or forever.
type Block time.Duration

// The special values of Block.
const (
	NoBlock      Block = 0
	BlockForever Block = math.MaxInt64
)

// longestBlock is the longest time that differs from forever.
const longestBlock = Block(100 * 365 * 24 * time.Hour)

// Forever reports whether b has no time limit.
func (b Block) Forever() bool { return b > longestBlock }

// String returns the time, "none" or "forever".
func (b Block) String() string {
	switch {
	case b == NoBlock:
		return "none"
	case b.Forever():
		return "forever"
	}
	return time.Duration(b).String()
}

// BlockFor returns how long a command blocks by its own timeout. A positive timeout is at least 1 ms, as at the
// server. Numbers may be of any integer or floating-point type, or text. It returns BlockForever for a blocking
// command with an unreadable timeout, because the server may be able to read it, such as 0x10. info may be nil.
//
// Inside a transaction no command blocks, whatever BlockFor returns.
func BlockFor(info *Info, args []any) Block {
	return blockFor(info, arguments{values: args})
}

// BlockForBytes is [BlockFor] for arguments in bytes.
func BlockForBytes(info *Info, args [][]byte) Block {
	return blockFor(info, arguments{raw: args})
}

// BlockSeconds returns how long a command with a timeout of s seconds blocks.
func BlockSeconds(s float64) Block {
	if d, ok := seconds(s, true); ok && d > 0 {
		return Block(d)
	}
	return BlockForever
}

func blockFor(info *Info, args arguments) Block {
	if info == nil {
		return NoBlock
	}
	var d time.Duration
	ok := false
	switch last := args.len() - 1; info.timeout {
	case firstSeconds:
		if last >= 1 {
			d, ok = seconds(args.number(1))
		}
	case lastSeconds:
		if last >= 1 {
			d, ok = seconds(args.number(last))
		}
	case lastMillis:
		if last >= 1 {
			d, ok = millis(args.integer(last))
		}
	case blockMillis:
		i := blockOption(args)
		if i <= 0 {
			return NoBlock
		}
		d, ok = millis(args.integer(i))
	}
	switch {
	case ok && d == 0, !ok && info.Class == Blocking:
		return BlockForever
	case ok:
		return Block(d)
	}
	return NoBlock
}

// WithBlock returns the arguments of a blocking command with another timeout; its own timeout is readable. args stay
// unchanged. A server rounds timeouts to milliseconds, so d becomes at least 1 ms.
func WithBlock(info *Info, args [][]byte, d time.Duration) [][]byte {
	ms := max(1, d.Milliseconds())
	at, text := len(args)-1, strconv.AppendInt(nil, ms, 10)
	switch info.timeout {
	case noTimeout:
		return args
	case firstSeconds:
		at = 1
		fallthrough
	case lastSeconds:
		text = strconv.AppendFloat(nil, float64(ms)/1000, 'f', 3, 64)
	case blockMillis:
		at = blockOption(arguments{raw: args})
	}
	if at < 1 {
		return args
	}
	args = slices.Clone(args)
	args[at] = text
	return args
}

// seconds returns a timeout of s seconds. Servers round it up to milliseconds, so only zero means forever.
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
