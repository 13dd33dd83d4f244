package request

import "math"

// number parses the text of a number in pieces. It accepts only the canonical form: no plus sign, blanks or leading
// zeros.
type number struct {
	value  uint64
	digits int
	neg    bool
	bad    bool
}

// maxDigits is the most digits of an int64. A uint64 can hold any number of so many digits.
const maxDigits = 19

func (n *number) read(text []byte) {
	for _, c := range text {
		switch {
		case c == '-' && n.digits == 0 && !n.neg:
			n.neg = true
			continue
		case c < '0' || c > '9',
			n.digits == maxDigits,
			n.digits > 0 && n.value == 0,
			n.neg && n.digits == 0 && c == '0':
			n.bad = true
			return
		}
		n.value = n.value*10 + uint64(c-'0')
		n.digits++
	}
}

func (n *number) int64() (int64, bool) {
	switch {
	case n.bad || n.digits == 0:
		return 0, false
	case n.neg:
		return -int64(n.value), n.value <= math.MaxInt64+1
	}
	return int64(n.value), n.value <= math.MaxInt64
}
