package blocking

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// kind is the family of a blocking command.
type kind uint8

const (
	listPop   kind = iota // BLPOP, BRPOP
	listMPop              // BLMPOP
	listMove              // BLMOVE, BRPOPLPUSH
	zsetPop               // BZPOPMIN, BZPOPMAX
	zsetMPop              // BZMPOP
	read                  // XREAD
	groupRead             // XREADGROUP
)

// end is the end of a list or sorted set that a command takes elements from.
type end uint8

const (
	left  end = iota // or the minimum
	right            // or the maximum
)

// Form is a blocking command, parsed. It is immutable. To replace the ID $ of XREAD by a real one, [Waits] uses a copy.
type Form struct {
	info    *command.Info
	kind    kind
	end     end
	from    uint16   // index of the first key in args
	nkeys   uint16   // number of keys in args
	count   int      // of BLMPOP and BZMPOP; 0: none
	args    [][]byte // the arguments that the non-blocking form needs, without its name
	group   []byte   // of XREADGROUP
	timeout time.Duration
	few     [2][]byte // the memory of args, if they are few
}

// Parse returns the form of a blocking command. It copies what it needs of args. ok is false for every other command,
// and for a blocking command with arguments that it does not understand: the server has to see those as they are, on
// a dedicated connection, because it may block.
func Parse(args [][]byte) (form *Form, ok bool) {
	if len(args) == 0 {
		return nil, false
	}
	info, class := command.ClassifyBytes(args)
	if info == nil || class != command.Blocking {
		return nil, false
	}
	if n := info.Arity; n > 0 && len(args) != n || n < 0 && len(args) < -n {
		return nil, false
	}
	f := &Form{info: info}
	last := len(args) - 1
	switch info.Name {
	case "BLPOP", "BRPOP":
		f.kind = listPop
		ok = f.timed(args[last]) && f.keep(args[1:last], 0, last-1)
	case "BZPOPMIN", "BZPOPMAX":
		f.kind = zsetPop
		ok = f.timed(args[last]) && f.keep(args[1:last], 0, last-1)
	case "BLMPOP":
		f.kind = listMPop
		ok = f.timed(args[1]) && f.counted(args[2:], "LEFT", "RIGHT")
	case "BZMPOP":
		f.kind = zsetMPop
		ok = f.timed(args[1]) && f.counted(args[2:], "MIN", "MAX")
	case "BLMOVE":
		f.kind = listMove
		ok = f.timed(args[last]) && isEnd(args[3]) && isEnd(args[4]) && f.keep(args[1:last], 0, 1)
	case "BRPOPLPUSH":
		f.kind = listMove
		ok = f.timed(args[last]) && f.keep(args[1:last], 0, 1)
	case "XREAD":
		f.kind = read
		ok = f.streams(args)
	case "XREADGROUP":
		f.kind = groupRead
		ok = f.streams(args)
	}
	if !ok {
		return nil, false
	}
	if info.Name == "BRPOP" || info.Name == "BZPOPMAX" {
		f.end = right
	}
	return f, true
}

// Command returns the name of the command in upper case.
func (f *Form) Command() string { return f.info.Name }

// Timeout returns the command's own timeout; 0 is forever.
func (f *Form) Timeout() time.Duration { return f.timeout }

// Keys returns the keys that the command waits for, in order. The caller must not change them.
func (f *Form) Keys() [][]byte { return f.args[f.from : f.from+f.nkeys] }

// resolved returns the arguments of the command, whose IDs $ may have been replaced by real ones since Parse.
func (f *Form) resolved(args [][]byte) [][]byte {
	n := int(f.nkeys)
	if f.kind != read || len(args) < n {
		return args
	}
	return append(slices.Clone(args[:len(args)-n]), f.args[len(f.args)-n:]...)
}

// timed reads a timeout in seconds. It accepts plain decimal numbers only, because the server's parser differs from
// Go's in others.
func (f *Form) timed(text []byte) bool {
	dots := 0
	for _, c := range text {
		if c == '.' {
			dots++
		} else if c < '0' || c > '9' {
			return false
		}
	}
	if dots > 1 || len(text) == dots || len(text) > 32 {
		return false
	}
	n, err := strconv.Atoi(string(text))
	s := float64(n)
	if err != nil {
		s, err = strconv.ParseFloat(string(text), 64)
	}
	if err != nil {
		return false
	}
	return f.limited(command.BlockSeconds(s), s == 0)
}

// limited sets the timeout.
func (f *Form) limited(b command.Block, forever bool) bool {
	if forever {
		return true
	}
	f.timeout = time.Duration(b)
	return !b.Forever() && b > 0
}

// counted reads the arguments of BLMPOP and BZMPOP from the number of keys on.
func (f *Form) counted(args [][]byte, first, second string) bool {
	n, ok := integer(args[0])
	if !ok || n < 1 || n > int64(len(args)-2) {
		return false
	}
	rest := args[1+n:]
	switch {
	case is(rest[0], first):
	case is(rest[0], second):
		f.end = right
	default:
		return false
	}
	switch {
	case len(rest) == 1:
	case len(rest) == 3 && is(rest[1], "COUNT"):
		count, ok := integer(rest[2])
		if !ok || count < 1 || count > 1<<31 {
			return false
		}
		f.count = int(count)
	default:
		return false
	}
	return f.keep(args[1:1+n], 0, int(n))
}

// streams reads the arguments of XREAD and XREADGROUP as the server does, except that it refuses what the server
// refuses, and options that it does not know.
func (f *Form) streams(args [][]byte) bool {
	var options [][]byte
	group := -1
	for i := 1; i < len(args)-1; i++ {
		switch {
		case is(args[i], "BLOCK"):
			i++
			ms, ok := integer(args[i])
			if !ok || ms < 0 {
				return false
			}
			f.timeout = 0
			if !f.limited(command.BlockForBytes(f.info, args[:i+1]), ms == 0) {
				return false
			}
		case is(args[i], "COUNT"):
			options = append(options, args[i], args[i+1])
			i++
		case is(args[i], "GROUP") && f.kind == groupRead && i+2 < len(args):
			group = len(options) + 1
			options = append(options, args[i:i+3]...)
			i += 2
		case is(args[i], "NOACK") && f.kind == groupRead:
			options = append(options, args[i])
		case is(args[i], "STREAMS"):
			n := len(args) - i - 1
			if n%2 != 0 || n == 0 || (group < 0) == (f.kind == groupRead) {
				return false
			}
			f.count = 0
			options = append(options, args[i:]...)
			if !f.keep(options, len(options)-n, n/2) {
				return false
			}
			if group >= 0 {
				f.group = f.args[group]
			}
			return true
		default:
			return false
		}
	}
	return false
}

// keep copies the arguments that f needs, into two pieces of memory.
func (f *Form) keep(args [][]byte, from, keys int) bool {
	if len(args) > 1<<16-1 {
		return false
	}
	size := 0
	for _, a := range args {
		size += len(a)
	}
	block := make([]byte, 0, size)
	if f.args = f.few[:0]; len(args) > len(f.few) {
		f.args = make([][]byte, 0, len(args))
	}
	for _, a := range args {
		at := len(block)
		block = append(block, a...)
		f.args = append(f.args, block[at:len(block):len(block)])
	}
	f.from, f.nkeys = uint16(from), uint16(keys)
	return true
}

// same reports whether two forms send the same commands, so that a reply to one may serve the other.
func (f *Form) same(g *Form) bool {
	if f == g {
		return true
	}
	if f.info != g.info || f.end != g.end || f.count != g.count || f.from != g.from || len(f.args) != len(g.args) {
		return false
	}
	for i := range f.args {
		if !bytes.Equal(f.args[i], g.args[i]) {
			return false
		}
	}
	return true
}

// takes reports whether f removes elements, of which one command can take several.
func (f *Form) takes() bool {
	switch f.kind {
	case listPop, listMPop, zsetPop, zsetMPop:
		return true
	}
	return false
}

// countable reports whether one command can serve several waiters.
func (f *Form) countable() bool { return f.kind == listPop || f.kind == zsetPop }

// zset reports whether f takes from sorted sets.
func (f *Form) zset() bool { return f.kind == zsetPop || f.kind == zsetMPop }

// accepts reports whether elements that g took from a key may serve f.
func (f *Form) accepts(g *Form) bool {
	return f.takes() && g.takes() && f.zset() == g.zset() && f.end == g.end
}

// want returns how many elements one waiter takes at most.
func (f *Form) want() int { return max(1, f.count) }

// counts reports whether XREADGROUP limits the number of entries, so that there may be more.
func (f *Form) counts() bool {
	for i := 0; i < int(f.from); i++ {
		switch {
		case is(f.args[i], "COUNT"):
			return true
		case is(f.args[i], "GROUP"):
			i += 2
		}
	}
	return false
}

func isEnd(arg []byte) bool { return is(arg, "LEFT") || is(arg, "RIGHT") }

// is reports whether arg is a keyword, in any case.
func is(arg []byte, keyword string) bool {
	return len(arg) == len(keyword) && bytes.EqualFold(arg, []byte(keyword))
}

// integer parses an integer as strictly as the server.
func integer(text []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == string(text)
}
