package resp

import (
	"fmt"
	"math"
)

// MaxDepth is the maximum nesting of aggregates, including attributes. Lua allows 8,000 levels in
// the reply of a script.
const MaxDepth = 8192

const (
	maxNumber = 512 // bytes of text in a double
	maxDigits = 32  // bytes of text in an integer or a length
	minValue  = 3   // bytes of the smallest value: a kind and CRLF
	keepDepth = 16  // levels whose memory an idle scanner keeps
)

// Scanner finds the ends of frames in a stream of bytes. It resumes at any byte, and neither copies
// nor retains its input, so its memory does not depend on the size of frames. Every frame that it
// accepts can be decoded.
//
// The zero Scanner is ready for use. A Scanner is not safe for concurrent use.
type Scanner struct {
	// Limit is the maximum size of a frame in bytes, including attributes. 0 means no limit. Set it
	// only between frames.
	Limit int64

	err   error
	size  int64 // bytes of the frame so far
	kind  Kind  // of the frame's value; 0 until it is known
	state state

	tok token // the token in progress
	// cur is the innermost open aggregate; its kind is 0 if none is open. outer contains the
	// enclosing aggregates, outermost first.
	cur   level
	outer []level
	owed  bool // an attribute is complete, and its value must follow

	inner    bool // the input is inside an aggregate
	attrOnly bool // a frame ends after its first attribute
}

// level is an open aggregate.
type level struct {
	left int64 // remaining elements, including the unfinished one, or streamed
	kind Kind
	odd  bool // streamed: the number of complete elements is odd

	around int64 // minimum bytes that the enclosing levels still need after this level
}

const streamed = -1

// state is the expected next byte.
type state uint8

const (
	atStart   state = iota // first byte of a frame
	atKind                 // a kind inside a frame
	atChunk                // start of a chunk, or of the end, of a streamed string
	inLength               // text of a length
	inInteger              // text of an integer
	inDouble               // text of a double
	inBoolean              // text of a boolean
	inText                 // text of a simple string, simple error or big number
	atCR                   // CR of a line without text
	atLF                   // LF of a line
	inBody                 // body of known length
	atBodyCR               // CR after a body
	atBodyLF               // LF after a body
	failed                 // after an error
)

// Scan reads the bytes that follow those of the last call. n is the number of bytes of b that
// belong to the frame. done reports that the frame is complete; otherwise n is len(b). After done,
// the next call starts a new frame.
//
// The error is a *ProtocolError or a *TooLargeError. Scan returns it again until Reset. The
// division of a stream into calls changes neither the ends of frames nor which frames Scan refuses.
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

// Kind returns the kind of the frame's value, which follows its attributes, or 0 until it is known.
// After done, it is valid until the next Scan.
func (s *Scanner) Kind() Kind { return s.kind }

// Size returns the number of bytes of the current frame that Scan has read. After done, it is the
// size of the frame until the next Scan.
func (s *Scanner) Size() int64 { return s.size }

// Reset discards an unfinished frame and an error. It keeps Limit.
func (s *Scanner) Reset() {
	*s = Scanner{Limit: s.Limit, inner: s.inner, attrOnly: s.attrOnly}
}

// Need returns the minimum number of bytes that the frame still needs: at least 1 inside a frame, 0
// between frames and after an error. It follows lengths that the sender claims, up to
// math.MaxInt64, so do not allocate by it.
func (s *Scanner) Need() int64 {
	if s.state == atStart || s.state == failed {
		return 0
	}
	var need int64
	var within Kind // the unfinished part of the current level
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

// need returns the minimum number of bytes that the level needs, without those of within, the
// unfinished value or attribute in it. owed states that a value must follow although none has
// begun.
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

// add returns a+b, at most math.MaxInt64. a and b are not negative.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// mul returns a*b, at most math.MaxInt64. a and b are not negative.
func mul(a, b int64) int64 {
	if a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}

// fail ends the scan. reason quotes one or two bytes of the input with %q.
func (s *Scanner) fail(reason string, args ...any) {
	s.err = &ProtocolError{Reason: fmt.Sprintf(reason, args...)}
	s.state = failed
}
