package resp

// double is the state of a machine that reads the text of a double:
//
//	[+-] digits [. digits] [e [+-] digits]
//	[+-] inf
//	[+-] nan
//
// Digits are required on at least one side of the point. The C library of the server may print inf
// and nan with a sign.
type double uint8

const (
	doubleBad double = iota
	doubleStart
	doubleSign     // +
	doubleInt      // +1
	doublePoint    // +.
	doubleFraction // +1. or +.5
	doubleExp      // +1e
	doubleExpSign  // +1e-
	doubleExpInt   // +1e-7
	doubleI        // i
	doubleIn       // in
	doubleInf      // inf
	doubleN        // n
	doubleNa       // na
	doubleNan      // nan
)

// whole reports whether the text may end here.
func (d double) whole() bool {
	switch d {
	case doubleInt, doubleFraction, doubleExpInt, doubleInf, doubleNan:
		return true
	}
	return false
}

// next returns the state after one more byte, or doubleBad if no double continues with it.
func (d double) next(c byte) double {
	switch {
	case c-'0' <= 9:
		return d.digit()
	case c == '.':
		switch d {
		case doubleStart, doubleSign:
			return doublePoint
		case doubleInt:
			return doubleFraction
		}
	case c == '+' || c == '-':
		switch d {
		case doubleStart:
			return doubleSign
		case doubleExp:
			return doubleExpSign
		}
	case c == 'e' || c == 'E':
		if d == doubleInt || d == doubleFraction {
			return doubleExp
		}
	default:
		return d.letter(c)
	}
	return doubleBad
}

func (d double) digit() double {
	switch d {
	case doubleStart, doubleSign, doubleInt:
		return doubleInt
	case doublePoint, doubleFraction:
		return doubleFraction
	case doubleExp, doubleExpSign, doubleExpInt:
		return doubleExpInt
	}
	return doubleBad
}

func (d double) letter(c byte) double {
	starts := d == doubleStart || d == doubleSign
	switch {
	case starts && c == 'i':
		return doubleI
	case d == doubleI && c == 'n':
		return doubleIn
	case d == doubleIn && c == 'f':
		return doubleInf
	case starts && c == 'n':
		return doubleN
	case d == doubleN && c == 'a':
		return doubleNa
	case d == doubleNa && c == 'n':
		return doubleNan
	}
	return doubleBad
}
