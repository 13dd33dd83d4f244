package resp

import (
	"fmt"
	"math"
)

// MaxDepth is how deep aggregates may stand inside each other; attributes count. It is more
// than the 8,000 that Lua allows to a script's reply.
const MaxDepth = 8192

const (
	maxNumber = 512 // bytes of text in a double
	maxDigits = 32  // bytes of text in an integer or a length
	minValue  = 3   // bytes of the smallest value: a kind and CRLF
	keepDepth = 16  // levels whose memory an idle scanner keeps
)

// Scanner finds where frames end in a stream of bytes. It resumes in the
// middle of anything, copies nothing and retains nothing of its input, so its
// memory does not depend on the size of frames. A frame that it passes always
// decodes.
//
// The zero Scanner is ready for use. A Scanner is not safe for concurrent use.
type Scanner struct {
	// Limit is the most bytes that a frame may have, attributes included;
	// 0 means no limit. Set it between frames.
	Limit int64

	err   error
	size  int64 // bytes of the frame so far
	kind  Kind  // of the frame's value, once known
	state state

	tok token // what is being read
	// cur is the innermost open aggregate (its kind is 0 when none is open);
	// outer holds those around it, outermost first.
	cur   level
	outer []level
	owed  bool // an attribute is complete, and a value must follow it

	inner    bool // what is scanned stands inside an aggregate
	attrOnly bool // a frame ends with its first attribute
}

// level is an open aggregate.
type level struct {
	left int64 // elements to come, the unfinished one included; streamed if the end is marked
	kind Kind
	odd  bool // streamed: an odd number of elements is complete

	around int64 // bytes still missing from the enclosing levels once this level is complete
}

const streamed = -1

// state says what the next byte is.
type state uint8

const (
	atStart   state = iota // the first of a frame
	atKind                 // a kind, in mid-frame
	atChunk                // the start of a chunk, or of the end, of a streamed string
	inLength               // text of a length
	inInteger              // text of an integer
	inDouble               // text of a double
	inBoolean              // text of a boolean
	inText                 // text of a simple string, simple error or big number
	atCR                   // CR of a line without text
	atLF                   // LF of a line
	inBody                 // bytes whose number is known
	atBodyCR               // CR behind a body
	atBodyLF               // LF behind a body
	failed                 // nothing: there was an error
)

// Scan reads the bytes that follow those of the last call. n is how many of b
// belong to the frame, and done says whether the frame is whole: if not, n is
// len(b). After done the next call starts a new frame.
//
// The error is a *ProtocolError or a *TooLargeError; it is returned again until Reset.
// How a stream is cut into calls changes neither where frames end nor which frame is
// refused.
func (s *Scanner) Scan(b []byte) (n int, done bool, err error) {
	if s.state == atStart {
		if n := scalarLen(b); n > 0 && (s.Limit <= 0 || int64(n) <= s.Limit) {
			s.kind, s.size = Kind(b[0]), int64(n)
			return n, true, nil
		}
		if len(b) == 0 {
			return 0, false, nil
		}
		s.size, s.kind, s.owed, s.state = 0, 0, false, atKind
	}
	return s.resume(b)
}

// Kind is the kind of the frame's value, which stands behind its attributes:
// 0 until it is known. After done it stays valid until the next Scan.
func (s *Scanner) Kind() Kind { return s.kind }

// Size is how many bytes of the current frame have been seen. After done
// it is the frame's size until the next Scan.
func (s *Scanner) Size() int64 { return s.size }

// Reset forgets an unfinished frame and an error; Limit stays.
func (s *Scanner) Reset() {
	*s = Scanner{Limit: s.Limit, inner: s.inner, attrOnly: s.attrOnly}
}

// Need is how many bytes are certainly still missing from the frame: at least 1 in
// mid-frame, 0 between frames and after an error. It grows with lengths that the
// sender claims, up to math.MaxInt64: it is no number to allocate by.
func (s *Scanner) Need() int64 {
	if s.state == atStart || s.state == failed {
		return 0
	}
	var need int64
	var within Kind // what is unfinished inside the level at hand
	if s.state != atKind {
		need, within = s.tok.need(s.state), s.tok.kind
	}
	if s.cur.kind != 0 {
		need = add(need, add(s.cur.need(within, s.owed), s.cur.around))
		if within = s.cur.kind; len(s.outer) > 0 {
			within = s.outer[0].kind
		}
	}
	if within == 0 || within == Attribute {
		need = add(need, minValue)
	}
	return need
}

// need is the least number of bytes that the level lacks besides those of within,
// the unfinished value or attribute in it, if any. owed says that a value
// must follow although none has begun.
func (l *level) need(within Kind, owed bool) int64 {
	begun := within != 0 && within != Attribute
	if l.left != streamed {
		values := l.left
		if begun {
			values--
		}
		return mul(values, minValue)
	}
	need := int64(minValue) // the end mark
	odd := l.odd != begun
	if owed || within == Attribute {
		need += minValue
		odd = !odd
	}
	if l.kind == Map && odd {
		need += minValue
	}
	return need
}

// add is a+b for numbers that are not negative, or math.MaxInt64 where that is less.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// mul is a*b for numbers that are not negative, or math.MaxInt64 where that is less.
func mul(a, b int64) int64 {
	if a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}

// fail ends scanning. What the input holds goes into reason as %q of a byte or two.
func (s *Scanner) fail(reason string, args ...any) {
	s.err = &ProtocolError{Reason: fmt.Sprintf(reason, args...)}
	s.state = failed
}
