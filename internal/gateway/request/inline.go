package request

import (
	"bytes"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// blanks are the bytes for which isspace of C is true.
const blanks = " \t\n\v\f\r"

// encodeInline returns the array for the inline command on line, which ends with LF. The array is empty if there are no
// words. ok is false for unbalanced quotes.
func encodeInline(line []byte) (raw []byte, ok bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	text := make([]byte, 0, len(line)) // the words; unquoting never makes a word longer
	ends := make([]int, 0, minArgs)    // of the words in text
	for {
		line = bytes.TrimLeft(line, blanks)
		if len(line) == 0 {
			break
		}
		if text, line, ok = word(text, line); !ok {
			return nil, false
		}
		ends = append(ends, len(text))
	}
	if len(ends) == 0 {
		return nil, true
	}
	const around = len("$12345\r\n\r\n")
	raw = make([]byte, 0, len(text)+around*(len(ends)+1))
	raw = resp.AppendArrayHeader(raw, len(ends))
	start := 0
	for _, end := range ends {
		raw = resp.AppendBulk(raw, text[start:end])
		start = end
	}
	return raw, true
}

// word appends the word at the start of line to text. A quote may begin inside a word, and the word ends with it. ok is
// false if the closing quote is missing, or if no blank follows it.
func word(text, line []byte) (_, rest []byte, ok bool) {
	for i := 0; i < len(line); {
		switch c := line[i]; c {
		// As in Redis, all blanks may precede a word, but only these end it.
		case ' ', '\t', '\n', '\r':
			return text, line[i:], true
		case '"', '\'':
			used := 0
			if text, used = quoted(text, line[i+1:], c); used == 0 {
				return nil, nil, false
			}
			rest := line[i+1+used:]
			return text, rest, len(rest) == 0 || strings.IndexByte(blanks, rest[0]) >= 0
		default:
			text = append(text, c)
			i++
		}
	}
	return text, nil, true
}

// quoted appends the text before the closing quote. used is the number of bytes up to and including that quote, or 0 if
// it is missing.
func quoted(text, b []byte, quote byte) (_ []byte, used int) {
	for i := 0; i < len(b); {
		if b[i] == quote {
			return text, i + 1
		}
		c, n := b[i], 1
		if c == '\\' && quote == '"' {
			c, n = escape(b[i:])
		} else if c == '\\' && i+1 < len(b) && b[i+1] == quote {
			c, n = quote, 2
		}
		text = append(text, c)
		i += n
	}
	return text, 0
}

// escape returns the value and the length of the escape sequence at the start of b.
func escape(b []byte) (c byte, n int) {
	if len(b) == 1 {
		return b[0], 1
	}
	switch b[1] {
	case 'x':
		if len(b) > 3 {
			high, low := hex(b[2]), hex(b[3])
			if high >= 0 && low >= 0 {
				return byte(high<<4 | low), 4
			}
		}
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'b':
		return '\b', 2
	case 'a':
		return '\a', 2
	}
	return b[1], 2
}

// hex returns the value of a hex digit, or -1.
func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|' ' >= 'a' && c|' ' <= 'f':
		return int(c|' ') - 'a' + 10
	}
	return -1
}
