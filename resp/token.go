package resp

import "math"

// token is the line in progress, with its body.
type token struct {
	kind   Kind
	text   int    // bytes of the line's text so far
	digits int    // digits among them
	number uint64 // their value: a length or an integer's magnitude
	body   int64  // remaining bytes of the body
	neg    bool
	open   bool // the length is "?"
	double double
}

// need returns the minimum number of bytes from state st to the end of the token.
func (t *token) need(st state) int64 {
	var need int64
	switch st {
	case atChunk:
		return 4 // ";0\r\n"
	case inLength, inInteger, inDouble, inBoolean:
		need = 2
		if t.text == 0 {
			need = 3
		}
	case inText, atCR, atBodyCR:
		need = 2
	case atLF, atBodyLF:
		need = 1
	case inBody:
		need = add(t.body, 2)
	}
	if t.kind == chunk && st >= inBody {
		need = add(need, 4)
	}
	return need
}

// accept consumes the next byte of the line's text. If the byte is invalid, reason names the
// expected text.
func (t *token) accept(st state, c byte) (reason string) {
	switch st {
	case inLength:
		reason = t.acceptLength(c)
	case inInteger:
		reason = t.acceptInteger(c)
	case inDouble:
		if t.double = t.double.next(c); t.double == doubleBad {
			reason = "a floating-point number"
		} else if t.text >= maxNumber {
			reason = "the line's end"
		}
	case inBoolean:
		if t.text > 0 || (c != 't' && c != 'f') {
			reason = "t or f"
		}
	}
	t.text++
	return reason
}

func (t *token) acceptLength(c byte) (reason string) {
	switch {
	case t.open:
		return "the line's end"
	case t.text == 0 && c == '?' && t.kind.streams():
		t.open = true
		return ""
	case t.text == 0 && c == '-' && (t.kind == BulkString || t.kind == Array):
		t.neg = true
		return ""
	}
	if c-'0' <= 9 && t.neg && t.number*10+uint64(c-'0') > 1 {
		return "-1, the only negative length"
	}
	return t.acceptDigit(c, math.MaxInt64)
}

func (t *token) acceptInteger(c byte) (reason string) {
	if t.text == 0 && (c == '-' || c == '+') {
		t.neg = c == '-'
		return ""
	}
	if t.neg {
		return t.acceptDigit(c, -math.MinInt64)
	}
	return t.acceptDigit(c, math.MaxInt64)
}

func (t *token) acceptDigit(c byte, most uint64) (reason string) {
	digit := uint64(c - '0')
	switch {
	case c-'0' > 9:
		return "a digit"
	case t.text >= maxDigits:
		return "the line's end"
	case t.number > (most-digit)/10:
		return "a number of 64 bits"
	}
	t.number = t.number*10 + digit
	t.digits++
	return ""
}

// whole reports whether the line's text may end here.
func (t *token) whole(st state) bool {
	switch st {
	case inLength:
		return t.open || t.digits > 0 && (!t.neg || t.number == 1)
	case inDouble:
		return t.double.whole()
	case inBoolean:
		return t.text == 1
	}
	return t.digits > 0
}

// lineState returns the state after the kind k, or atStart if k starts no value.
func lineState(k Kind) state {
	switch k {
	case SimpleString, SimpleError, BigNumber: // a script may set any text
		return inText
	case BulkString, BulkError, Verbatim, Array, Map, Set, Push, Attribute:
		return inLength
	case Integer:
		return inInteger
	case Double:
		return inDouble
	case Boolean:
		return inBoolean
	case Null, streamEnd:
		return atCR
	}
	return atStart
}
