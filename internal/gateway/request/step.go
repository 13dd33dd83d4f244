package request

import "bytes"

// state is the position of the next byte in a request.
type state uint8

const (
	atStart  state = iota // first byte of a request
	inInline              // text of an inline command
	inLength              // text of a length: of the array if left is 0, or of an argument
	atLF                  // LF of a length
	inBody                // byte of an argument
	atBodyCR              // CR after an argument
	atBodyLF              // LF after an argument
)

// event is what the last byte completed.
type event uint8

const (
	nothing event = iota
	large         // a length that makes the request too large to buffer
	skipped       // a request without arguments
	ended         // a request or an inline command
)

// advance reads up to an event, a byte to correct, an error or the end of in, which is not empty.
func (s *Scanner) advance(in []byte) (n int) {
	s.event, s.fix = nothing, 0
	for n < len(in) && s.event == nothing && s.fix == 0 && s.err == nil {
		used := s.step(in[n:])
		n += used
		s.size += int64(used)
	}
	return n
}

// step reads the bytes for the current state and returns their number, at least 1. b is not empty.
func (s *Scanner) step(b []byte) int {
	switch s.state {
	case atStart:
		s.size, s.count, s.left = 0, 0, 0
		if b[0] == '*' {
			s.startLine(inLength)
		} else {
			s.startLine(inInline)
		}
		return s.stepLine(b)
	case inInline, inLength:
		return s.stepLine(b)
	case inBody:
		used := min(int64(len(b)), s.body)
		if s.body -= used; s.body == 0 {
			s.state = atBodyCR
		}
		return int(used)
	case atBodyCR:
		s.expect('\r', b[0])
		s.state = atBodyLF
	case atBodyLF:
		s.expect('\n', b[0])
		s.endArgument()
	case atLF:
		s.expect('\n', b[0])
		if s.left > 0 {
			s.endLength()
		} else {
			s.endCount()
		}
	}
	return 1
}

// expect notes that a byte of a CRLF must be corrected: Redis does not check it, but other servers may.
func (s *Scanner) expect(want, c byte) {
	if c != want {
		s.fix = want
	}
}

func (s *Scanner) startLine(state state) {
	s.state, s.line, s.num, s.hidden = state, 0, number{}, false
}

// stepLine reads text of a line up to its end: the LF of an inline command, or the CR of a length.
func (s *Scanner) stepLine(b []byte) int {
	if s.line == 0 {
		s.lead = b[0]
	}
	end := byte('\r')
	if s.state == inInline {
		end = '\n'
	}
	text := b[:min(len(b), s.Limits.line()+1-s.line)]
	length := bytes.IndexByte(text, end)
	if length >= 0 {
		text = text[:length]
	}
	s.hidden = s.hidden || bytes.IndexByte(text, 0) >= 0
	if length >= 0 && s.hidden {
		text, length = b[:length+1], -1 // not the end of the line
	}
	if s.state == inLength {
		s.num.read(text[min(len(text), max(0, 1-s.line)):])
	}
	s.line += len(text)
	switch {
	case length < 0 && s.line > s.Limits.line():
		s.failLine()
	case length < 0:
	case s.state == inInline:
		s.state, s.event = atStart, ended
		return length + 1
	default:
		s.state = atLF
		return length + 1
	}
	return len(text)
}

// failLine fails because a line is too long.
func (s *Scanner) failLine() {
	switch {
	case s.state == inInline:
		s.fail("too big inline request")
	case s.left == 0:
		s.fail("too big mbulk count string")
	default:
		s.fail("too big bulk count string")
	}
}

// endCount continues after the line of the array.
func (s *Scanner) endCount() {
	n, ok := s.num.int64()
	switch {
	case !ok || n > int64(s.Limits.args()):
		s.fail("invalid multibulk length")
	case s.Unauthenticated && n > unauthenticatedArgs:
		s.fail("unauthenticated multibulk length")
	case n <= 0:
		s.state, s.event = atStart, skipped
	default:
		s.count, s.left = int(n), int(n)
		s.startLine(inLength)
	}
}

// endLength continues after the line of an argument, whose last byte is not counted in size yet.
func (s *Scanner) endLength() {
	n, ok := s.num.int64()
	others := s.size + int64(len("\n\r\n")) // bytes of the request up to the end of this argument, without the argument
	switch {
	case s.lead != '$':
		s.failLead()
	case !ok || n < 0 || n > s.Limits.bulk():
		s.fail("invalid bulk length")
	case s.Unauthenticated && n > unauthenticatedBulk:
		s.fail("unauthenticated bulk length")
	case n > s.Limits.total()-others:
		s.end(ErrTooLarge)
	default:
		if !s.streaming && !s.Limits.held(others+n) {
			s.event = large
		}
		s.state, s.body = inBody, n
		if n == 0 {
			s.state = atBodyCR
		}
	}
}

// failLead fails because of the first byte of an argument's line. Like Redis, it replaces line ends in the error.
func (s *Scanner) failLead() {
	lead := s.lead
	if lead == '\r' || lead == '\n' {
		lead = ' '
	}
	s.fail("expected '$', got '" + string([]byte{lead}) + "'")
}

// endArgument continues after an argument.
func (s *Scanner) endArgument() {
	if s.left--; s.left > 0 {
		s.startLine(inLength)
		return
	}
	s.state, s.event = atStart, ended
}
