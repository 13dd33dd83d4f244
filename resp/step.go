package resp

import (
	"bytes"
	"math"
)

// resume continues a frame whose first byte is in b or came before it.
func (s *Scanner) resume(b []byte) (n int, done bool, err error) {
	if s.state == failed {
		return 0, false, s.err
	}
	for n < len(b) {
		used := s.step(b[n:])
		n += used
		s.size += int64(used)
		if s.state == failed {
			return n, false, s.err
		}
		if s.Limit > 0 {
			if claimed := add(s.size, s.Need()); claimed > s.Limit {
				s.err = &TooLargeError{Claimed: claimed, Limit: s.Limit}
				s.state = failed
				return n, false, s.err
			}
		}
		if s.state == atStart {
			if cap(s.outer) > keepDepth {
				s.outer = nil
			}
			return n, true, nil
		}
	}
	return n, false, nil
}

// step reads the bytes that the state expects and returns their number, at least 1. b is not empty.
func (s *Scanner) step(b []byte) int {
	switch s.state {
	case atKind:
		return s.stepKind(b)
	case atChunk:
		if Kind(b[0]) != chunk {
			s.fail("found %q in a streamed string: want %s", string(b[:1]), chunk.withArticle())
			return 1
		}
		s.tok, s.state = token{kind: chunk}, inLength
		return 1
	case inText:
		return s.stepText(b)
	case inBody:
		return s.stepBody(b)
	case atCR:
		s.expect('\r', b[0], atLF)
	case atLF:
		if s.expect('\n', b[0], atKind) {
			s.endLine()
		}
	case atBodyCR:
		s.expect('\r', b[0], atBodyLF)
	case atBodyLF:
		if s.expect('\n', b[0], atChunk) && s.tok.kind != chunk {
			s.endValue()
		}
	default:
		return s.stepLine(b)
	}
	return 1
}

// expect checks one byte of a CRLF and continues with state next.
func (s *Scanner) expect(want, c byte, next state) bool {
	if c != want {
		s.fail("found %q in %s: want %q", string([]byte{c}), s.tok.kind.withArticle(), string([]byte{want}))
		return false
	}
	s.state = next
	return true
}

// stepKind reads all complete scalars, or else the start of a value.
func (s *Scanner) stepKind(b []byte) int {
	if n := s.skipScalars(b); n > 0 {
		return n
	}
	k := Kind(b[0])
	next := lineState(k)
	switch {
	case next == atStart:
		s.fail("found %q: want the kind of a value", string(b[:1]))
		return 1
	case k == streamEnd && s.cur.left != streamed:
		s.fail("found %s where none is open", k.withArticle())
		return 1
	case k == streamEnd && s.owed:
		s.fail("found %s behind an attribute: want a value", k.withArticle())
		return 1
	case k == streamEnd && s.cur.kind == Map && s.cur.odd:
		s.fail("found the end of a streamed map: want the value of its last key")
		return 1
	case k == Push && (s.inner || s.cur.kind != 0):
		s.fail("found a push inside another value")
		return 1
	}
	if s.cur.kind == 0 && k != Attribute {
		s.kind = k
	}
	s.owed = false
	if k == streamEnd {
		s.pop()
	}
	if k.aggregate() {
		if count, size := countLine(b); size > 0 && count > 0 {
			s.open(k, int64(count))
			return size
		}
	}
	s.tok, s.state = token{kind: k, double: doubleStart}, next
	return 1
}

// skipScalars consumes the complete scalars at the start of b and returns their length.
func (s *Scanner) skipScalars(b []byte) (n int) {
	for s.state == atKind && n < len(b) {
		size := scalarLen(b[n:])
		if size == 0 {
			break
		}
		if s.cur.kind == 0 {
			s.kind = Kind(b[n])
		}
		n += size
		s.owed = false
		if s.cur.left > 1 {
			s.cur.left--
			continue
		}
		s.endValue()
	}
	return n
}

// stepLine reads the text of a line that contains a number, a length or a boolean.
func (s *Scanner) stepLine(b []byte) int {
	for i, c := range b {
		if c == '\r' {
			if !s.tok.whole(s.state) {
				s.fail("found %s without its text", s.tok.kind.withArticle())
				return i + 1
			}
			s.state = atLF
			return i + 1
		}
		if reason := s.tok.accept(s.state, c); reason != "" {
			s.fail("found %q in the first line of %s: want %s", string(b[i:i+1]), s.tok.kind.withArticle(), reason)
			return i + 1
		}
	}
	return len(b)
}

func (s *Scanner) stepText(b []byte) int {
	text, used := b, len(b)
	if end := bytes.IndexByte(b, '\r'); end >= 0 {
		text, used = b[:end], end+1
		s.state = atLF
	}
	if bytes.IndexByte(text, '\n') >= 0 {
		s.fail("found %q in %s: want %q before it", "\n", s.tok.kind.withArticle(), "\r")
		return used
	}
	return used
}

func (s *Scanner) stepBody(b []byte) int {
	used := int(min(int64(len(b)), s.tok.body))
	if s.tok.kind == Verbatim {
		const colon = 3 // its index in the body
		at := colon - (int64(s.tok.number) - s.tok.body)
		if at >= 0 && at < int64(used) && b[at] != ':' {
			s.fail("found %q in %s: want \":\" behind its format", string(b[at:at+1]), s.tok.kind.withArticle())
			return used
		}
	}
	if s.tok.body -= int64(used); s.tok.body == 0 {
		s.state = atBodyCR
	}
	return used
}

// endLine continues after the LF of a token's line.
func (s *Scanner) endLine() {
	t := &s.tok
	switch t.kind {
	case BulkString, BulkError, Verbatim:
		switch {
		case t.open:
			s.state = atChunk
		case t.neg:
			s.endValue()
		case t.kind == Verbatim && t.number < 4:
			s.fail("found a %v of %d bytes: want a format and \":\", which are 4", t.kind, t.number)
		default:
			s.body()
		}
	case chunk:
		if t.number > 0 {
			s.body()
			return
		}
		s.endValue()
	case Array, Map, Set, Push, Attribute:
		switch {
		case t.open:
			s.open(t.kind, streamed)
		case t.neg:
			s.endValue()
		default:
			s.open(t.kind, int64(t.number))
		}
	default:
		s.endValue()
	}
}

// body continues with the number of bytes in the token's line.
func (s *Scanner) body() {
	s.state, s.tok.body = inBody, int64(s.tok.number)
	if s.tok.body == 0 {
		s.state = atBodyCR
	}
}

// open enters an aggregate of kind k with count elements (or pairs), or a streamed one.
func (s *Scanner) open(k Kind, count int64) {
	depth := len(s.outer)
	if s.cur.kind != 0 {
		depth++
	}
	if s.inner {
		depth++
	}
	switch {
	case depth >= MaxDepth:
		s.fail("found %s inside %d others: want no more than %d levels", k.withArticle(), depth, MaxDepth)
		return
	case count == 0:
		s.endAggregate(k)
		return
	case k == Map || k == Attribute:
		if count > math.MaxInt64/2 {
			s.fail("found %s of %d pairs: want no more than %d", k.withArticle(), count, int64(math.MaxInt64/2))
			return
		}
		if count != streamed {
			count *= 2
		}
	}
	var around int64
	if s.cur.kind != 0 {
		around = add(s.cur.need(k, false), s.cur.around)
		s.outer = append(s.outer, s.cur)
	}
	s.cur = level{kind: k, left: count, around: around}
	s.state = atKind
}

// pop leaves the innermost aggregate and returns its kind.
func (s *Scanner) pop() Kind {
	k := s.cur.kind
	s.cur = level{}
	if last := len(s.outer) - 1; last >= 0 {
		s.cur, s.outer = s.outer[last], s.outer[:last]
	}
	return k
}

// endValue counts a complete value.
func (s *Scanner) endValue() {
	for {
		switch {
		case s.cur.kind == 0:
			s.state = atStart
			return
		case s.cur.left == streamed:
			s.cur.odd = !s.cur.odd
			s.state = atKind
			return
		case s.cur.left > 1:
			s.cur.left--
			s.state = atKind
			return
		}
		if k := s.pop(); k == Attribute {
			s.endAggregate(k)
			return
		}
	}
}

// endAggregate continues after an aggregate of kind k. An attribute is not a value; its value must
// follow.
func (s *Scanner) endAggregate(k Kind) {
	if k != Attribute {
		s.endValue()
		return
	}
	s.owed = true
	s.state = atKind
	if s.attrOnly && s.cur.kind == 0 {
		s.state = atStart
	}
}
