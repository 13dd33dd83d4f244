package resp

import "bytes"

// fastDigits is the number of digits that are read without a check for overflow. The int of every
// platform holds numbers twice as large.
const fastDigits = 9

// scalarLen returns the length of the scalar frame at the start of b if that frame is complete,
// valid and of a common form. Otherwise it returns 0, which means nothing about the frame.
func scalarLen(b []byte) int {
	if len(b) < minValue {
		return 0
	}
	switch Kind(b[0]) {
	case BulkString:
		return bulkLen(b)
	case SimpleString, SimpleError:
		return textLen(b)
	case Integer:
		return integerLen(b)
	case Double:
		return doubleLen(b)
	case Null:
		if b[1] == '\r' && b[2] == '\n' {
			return 3
		}
	case Boolean:
		if len(b) > 3 && (b[1] == 't' || b[1] == 'f') && b[2] == '\r' && b[3] == '\n' {
			return 4
		}
	}
	return 0
}

// countLine reads the line of a short count. n is its value, and size is the length of the line
// from the kind to LF. size is 0 for any other line.
func countLine(b []byte) (n, size int) {
	for i := 1; i < len(b) && i <= fastDigits+1; i++ {
		if digit := b[i] - '0'; digit <= 9 {
			n = n*10 + int(digit)
			continue
		}
		if i > 1 && i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return n, i + 2
		}
		break
	}
	return 0, 0
}

func bulkLen(b []byte) int {
	n, size := countLine(b)
	if size == 0 {
		if len(b) >= 5 && string(b[:5]) == "$-1\r\n" {
			return 5
		}
		return 0
	}
	end := size + n
	if end+1 < len(b) && b[end] == '\r' && b[end+1] == '\n' {
		return end + 2
	}
	return 0
}

func textLen(b []byte) int {
	const near = 64
	end := -1
	for i := 1; i < len(b) && i < near; i++ {
		if c := b[i]; c == '\r' {
			end = i
			break
		} else if c == '\n' {
			return 0
		}
	}
	if end < 0 {
		if end = bytes.IndexByte(b, '\r'); end < 0 || bytes.IndexByte(b[:end], '\n') >= 0 {
			return 0
		}
	}
	if end+1 < len(b) && b[end+1] == '\n' {
		return end + 2
	}
	return 0
}

func integerLen(b []byte) int {
	i := 1
	if b[1] == '-' || b[1] == '+' {
		i = 2
	}
	const certain = 18 // an int64 holds every number of 18 digits
	for first := i; i < len(b) && i-first <= certain; i++ {
		if b[i]-'0' <= 9 {
			continue
		}
		if i > first && i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2
		}
		break
	}
	return 0
}

func doubleLen(b []byte) int {
	d := doubleStart
	for i := 1; i < len(b) && i <= maxNumber+1; i++ {
		if b[i] == '\r' {
			if d.whole() && i+1 < len(b) && b[i+1] == '\n' {
				return i + 2
			}
			break
		}
		if d = d.next(b[i]); d == doubleBad {
			break
		}
	}
	return 0
}
