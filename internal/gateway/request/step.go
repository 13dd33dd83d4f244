package request

import "bytes"

// state says what the next byte is.
type state uint8

const (
	atStart  state = iota // the first of a request
	inInline              // text of an inline command
	inLength              // text of a length: of the array, when none of it is left, or of an argument
	atLF                  // LF of a length
	inBody                // a byte of an argument
	atBodyCR              // CR behind an argument
	atBodyLF              // LF behind an argument
)

// event says what the last byte was.
type event uint8

const (
	nothing event = iota
	large         // the end of the length with which the request is too large to be held
	skipped       // the end of a request without arguments
	ended         // the end of a request or of an inline command
)

// advance reads up to an event, a byte that must be another, an error or the end
// of in, which is not empty.
func (s *Scanner) advance(in []byte) (n int) {
	s.event, s.fix = nothing, 0
	for n < len(in) && s.event == nothing && s.fix == 0 && s.err == nil {
		used := s.step(in[n:])
		n += used
		s.size += int64(used)
	}
	return n
}

// step reads what the state expects and gives the number of bytes read, 1 at
// least. b is not empty.
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

// expect notes a byte of a CRLF that is another: Redis does not look at it, others may.
func (s *Scanner) expect(want, c byte) {
	if c != want {
		s.fix = want
	}
}

func (s *Scanner) startLine(state state) {
	s.state, s.line, s.num, s.hidden = state, 0, number{}, false
}

// stepLine reads text of a line, and its end: LF of an inline command, CR of a length.
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
		text, length = b[:length+1], -1 // it ends nothing
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

// failLine refuses a line without an end.
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

// endCount goes on behind the line of the array.
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

// endLength goes on behind the line of an argument, before the last byte of the line is counted.
func (s *Scanner) endLength() {
	n, ok := s.num.int64()
	others := s.size + int64(len("\n\r\n")) // bytes of the request up to this argument's end, without its own
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

// failLead refuses the first byte of an argument's line. Redis' errors have no line ends inside.
func (s *Scanner) failLead() {
	lead := s.lead
	if lead == '\r' || lead == '\n' {
		lead = ' '
	}
	s.fail("expected '$', got '" + string([]byte{lead}) + "'")
}

// endArgument goes on behind an argument.
func (s *Scanner) endArgument() {
	if s.left--; s.left > 0 {
		s.startLine(inLength)
		return
	}
	s.state, s.event = atStart, ended
}
