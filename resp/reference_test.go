package resp_test

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// reference is a second, plainer reading of the protocol: patterns for lines, recursion for
// nesting. It gives the length of the frame at the start of in, or -1 if there is none.
func reference(in string) int {
	return referenceValue(in, 0)
}

var referenceLines = map[byte]*regexp.Regexp{
	'+': regexp.MustCompile(`^[^\r\n]*$`),
	'-': regexp.MustCompile(`^[^\r\n]*$`),
	':': regexp.MustCompile(`^[+-]?[0-9]+$`),
	',': regexp.MustCompile(`^[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|inf|nan)$`),
	'(': regexp.MustCompile(`^[^\r\n]*$`),
	'#': regexp.MustCompile(`^[tf]$`),
	'_': regexp.MustCompile(`^$`),
	'$': regexp.MustCompile(`^([0-9]+|-0*1|\?)$`),
	'!': regexp.MustCompile(`^[0-9]+$`),
	'=': regexp.MustCompile(`^[0-9]+$`),
	';': regexp.MustCompile(`^[0-9]+$`),
	'*': regexp.MustCompile(`^([0-9]+|-0*1|\?)$`),
	'%': regexp.MustCompile(`^([0-9]+|\?)$`),
	'~': regexp.MustCompile(`^([0-9]+|\?)$`),
	'>': regexp.MustCompile(`^[0-9]+$`),
	'|': regexp.MustCompile(`^[0-9]+$`),
}

func referenceValue(in string, depth int) int {
	line, rest, ok := strings.Cut(in, "\r\n")
	if !ok || line == "" {
		return -1
	}
	pattern := referenceLines[line[0]]
	if pattern == nil || line[0] == ';' || !pattern.MatchString(line[1:]) {
		return -1
	}
	most := map[byte]int{',': 512, '(': len(line), '+': len(line), '-': len(line)}[line[0]]
	if most == 0 {
		most = 32
	}
	if len(line)-1 > most {
		return -1
	}
	used := len(line) + 2
	switch line[0] {
	case ':':
		if _, err := strconv.ParseInt(line[1:], 10, 64); err != nil {
			return -1
		}
	case '$', '!', '=':
		body := referenceString(line, rest)
		if body < 0 {
			return -1
		}
		return used + body
	case '*', '%', '~', '>', '|':
		if line[0] == '>' && depth > 0 || depth >= resp.MaxDepth {
			return -1
		}
		body := referenceElements(line, rest, depth+1)
		if body < 0 {
			return -1
		}
		used += body
		if line[0] == '|' {
			value := referenceValue(in[used:], depth)
			if value < 0 {
				return -1
			}
			used += value
		}
	}
	return used
}

func referenceString(line, in string) int {
	if line[1] == '-' {
		return 0
	}
	if line[1:] != "?" {
		n, err := strconv.ParseInt(line[1:], 10, 64)
		if err != nil || n > int64(len(in))-2 || in[n:n+2] != "\r\n" {
			return -1
		}
		if line[0] == '=' && (n < 4 || in[3] != ':') {
			return -1
		}
		return int(n) + 2
	}
	for used := 0; ; {
		line, rest, ok := strings.Cut(in[used:], "\r\n")
		if !ok || !strings.HasPrefix(line, ";") || len(line) > 33 || !referenceLines[';'].MatchString(line[1:]) {
			return -1
		}
		used += len(line) + 2
		if strings.Trim(line[1:], "0") == "" {
			return used
		}
		body := referenceString(line, rest)
		if body < 0 {
			return -1
		}
		used += body
	}
}

func referenceElements(line, in string, depth int) int {
	if line[1] == '-' {
		return 0
	}
	stream := line[1:] == "?"
	count, err := strconv.ParseInt(line[1:], 10, 64)
	if !stream && (err != nil || (line[0] == '%' || line[0] == '|') && count > 1<<62-1) {
		return -1
	}
	if line[0] == '%' || line[0] == '|' {
		count *= 2
	}
	used := 0
	for n := int64(0); stream || n < count; n++ {
		if stream && strings.HasPrefix(in[used:], ".\r\n") {
			if line[0] == '%' && n%2 != 0 {
				return -1
			}
			return used + 3
		}
		element := referenceValue(in[used:], depth)
		if element < 0 {
			return -1
		}
		used += element
	}
	return used
}
