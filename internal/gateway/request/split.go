package request

import (
	"bytes"
	"slices"
)

const (
	minArg  = 6  // bytes of the smallest argument: $0 and two CRLF
	minArgs = 8  // least number of arguments for which memory is allocated
	certain = 18 // number of digits that always fits in an int64
)

// split appends the arguments of the array at the start of b, up to the first incomplete one. size is the size of the
// array if it is complete and in canonical form, and otherwise 0. longest is the length of the longest argument.
func split(args [][]byte, b []byte) (_ [][]byte, size, longest int) {
	if len(b) < minArg || b[0] != '*' {
		return args, 0, 0
	}
	count, at := lengthAt(b, 1)
	if at == 0 || count == 0 {
		return args, 0, 0
	}
	if count > int64(cap(args)-len(args)) {
		// The size of b limits the memory, whatever count the client sent.
		args = slices.Grow(args, max(minArgs, int(min(count, int64(len(b)/minArg)))))
	}
	for ; count > 0; count-- {
		if at >= len(b) || b[at] != '$' {
			return args, 0, 0
		}
		n, start := lengthAt(b, at+1)
		if start == 0 || n > int64(len(b)-start-2) {
			return args, 0, 0
		}
		end := start + int(n)
		if b[end] != '\r' || b[end+1] != '\n' {
			return args, 0, 0
		}
		args = append(args, b[start:end:end])
		longest = max(longest, int(n))
		at = end + 2
	}
	return args, at, longest
}

// lengthAt parses a number and CRLF. next is the index after them, or 0 if b contains anything else there, including a
// negative number or one with leading zeros.
func lengthAt(b []byte, at int) (n int64, next int) {
	if at+2 < len(b) && b[at+1] == '\r' && b[at+2] == '\n' && b[at]-'0' <= 9 {
		return int64(b[at] - '0'), at + 3
	}
	i := at
	for ; i < len(b) && i-at <= certain && b[i]-'0' <= 9; i++ {
		n = n*10 + int64(b[i]-'0')
	}
	if i == at || i-at > certain || b[at] == '0' || i+1 >= len(b) || b[i] != '\r' || b[i+1] != '\n' {
		return 0, 0
	}
	return n, i + 2
}

// attack reports whether Redis treats a command with this name as HTTP. Like Redis, it reads the name up to a zero
// byte.
func attack(name []byte) bool {
	if len(name) < len("post") || name[0]|' ' != 'p' && name[0]|' ' != 'h' {
		return false
	}
	name, _, _ = bytes.Cut(name, []byte{0})
	return equalFold(name, "post") || equalFold(name, "host:")
}

// equalFold compares a name with a lower-case word, ignoring the case of ASCII letters.
func equalFold(name []byte, word string) bool {
	if len(name) != len(word) {
		return false
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= ' '
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
