package request_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
)

// outcome is the result of reading a stream: its requests and its end.
type outcome struct {
	requests []string // in canonical form
	err      string   // empty at the end of the stream
	cause    error    // the scanner's error
}

func (o outcome) String() string { return strings.Join(append(slices.Clip(o.requests), o.err), "; ") }

func (o outcome) equal(other outcome) bool {
	return o.err == other.err && slices.Equal(o.requests, other.requests)
}

// reference is a second, simpler parser: it parses a whole stream at once, with a pattern for numbers and a loop for
// arrays. All fields of lim are set.
func reference(in string, lim request.Limits, unauthenticated bool) (out outcome) {
	for in != "" {
		var args []string
		var err string
		if in[0] == '*' {
			args, in, err = referenceArray(in, lim, unauthenticated)
		} else {
			args, in, err = referenceInline(in, lim)
		}
		if err == "" && len(args) > 0 {
			head := len(fmt.Sprintf("*%d\r\n$%d\r\n\r\n", len(args), len(args[0])))
			nameless := lim.Stream > 0 && int64(head+len(args[0])) > lim.Stream
			if name, _, _ := strings.Cut(args[0], "\x00"); httpName.MatchString(name) && !nameless {
				err = request.ErrAttack.Error()
			}
		}
		if err != "" {
			if err != incomplete {
				out.err = err
			}
			return out
		}
		if len(args) > 0 {
			out.requests = append(out.requests, strict(args))
		}
	}
	return out
}

const incomplete = "incomplete"

var (
	httpName  = regexp.MustCompile(`^(?i:post|host:)$`)
	numeral   = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	inlineRef = regexp.MustCompile(`^(?s:[^ \t\n\r"']*)`)
)

func strict(args []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}

// referenceLine splits in after the first line end, if no zero byte precedes it.
func referenceLine(in, end string, most int, what string) (line, rest, err string) {
	at := strings.Index(in, end)
	if zero := strings.IndexByte(in, 0); at < 0 || zero >= 0 && zero < at || at > most {
		if len(in) > most {
			return "", "", protocolError("too big " + what)
		}
		return "", "", incomplete
	}
	return in[:at], in[at+1:], ""
}

func protocolError(reason string) string {
	return (&request.ProtocolError{Reason: reason}).Error()
}

// referenceLength splits off a line with a number and the byte after its CR.
func referenceLength(in string, most int, what string) (lead string, n int64, ok bool, rest, err string) {
	line, rest, err := referenceLine(in, "\r", most, what)
	if err != "" {
		return "", 0, false, "", err
	}
	if rest == "" {
		return "", 0, false, "", incomplete
	}
	if line == "" {
		return "\r", 0, false, rest[1:], ""
	}
	n, parseErr := strconv.ParseInt(line[1:], 10, 64)
	return line[:1], n, parseErr == nil && numeral.MatchString(line[1:]), rest[1:], ""
}

func referenceArray(in string, lim request.Limits, unauthenticated bool) (args []string, rest, err string) {
	all := len(in)
	_, count, ok, in, err := referenceLength(in, lim.Line, "mbulk count string")
	switch {
	case err != "":
		return nil, "", err
	case !ok || count > int64(lim.Args):
		return nil, "", protocolError("invalid multibulk length")
	case unauthenticated && count > 10:
		return nil, "", protocolError("unauthenticated multibulk length")
	}
	for ; count > 0; count-- {
		if in == "" {
			return nil, "", incomplete
		}
		lead, n, ok, rest, err := referenceLength(in, lim.Line, "bulk count string")
		switch {
		case err != "":
			return nil, "", err
		case lead != "$":
			if lead == "\r" || lead == "\n" {
				lead = " "
			}
			return nil, "", protocolError("expected '$', got '" + lead + "'")
		case !ok || n < 0 || n > lim.Bulk:
			return nil, "", protocolError("invalid bulk length")
		case unauthenticated && n > 16384:
			return nil, "", protocolError("unauthenticated bulk length")
		case int64(all-len(rest))+n+2 > lim.Total:
			return nil, "", request.ErrTooLarge.Error()
		case n+2 > int64(len(rest)):
			return nil, "", incomplete
		}
		args = append(args, rest[:n])
		in = rest[n+2:]
	}
	return args, in, ""
}

func referenceInline(in string, lim request.Limits) (args []string, rest, err string) {
	line, rest, err := referenceLine(in, "\n", lim.Line, "inline request")
	if err != "" {
		return nil, "", err
	}
	line = strings.TrimSuffix(line, "\r")
	for {
		line = strings.TrimLeft(line, " \t\n\v\f\r")
		if line == "" {
			return args, rest, ""
		}
		arg := inlineRef.FindString(line)
		line = line[len(arg):]
		if line != "" && (line[0] == '"' || line[0] == '\'') {
			quoted := quotedRef[line[0]].FindString(line)
			line = line[len(quoted):]
			if quoted == "" || line != "" && strings.Trim(line[:1], " \t\n\v\f\r") != "" {
				return nil, "", protocolError("unbalanced quotes in request")
			}
			arg += escapeRef[quoted[0]].ReplaceAllStringFunc(quoted[1:len(quoted)-1], unescapeRef)
		}
		args = append(args, arg)
	}
}

var (
	quotedRef = map[byte]*regexp.Regexp{
		'"':  regexp.MustCompile(`^"(?s:\\.|[^"\\])*"`),
		'\'': regexp.MustCompile(`^'([^'\\]|\\+[^\\])*'`),
	}
	escapeRef = map[byte]*regexp.Regexp{
		'"':  regexp.MustCompile(`\\x[0-9a-fA-F]{2}|(?s:\\.)`),
		'\'': regexp.MustCompile(`\\'`),
	}
	escapes = map[byte]string{'n': "\n", 'r': "\r", 't': "\t", 'b': "\b", 'a': "\a"}
)

func unescapeRef(s string) string {
	if len(s) == 4 && s[1] == 'x' {
		n, _ := strconv.ParseUint(s[2:], 16, 8)
		return string([]byte{byte(n)})
	}
	if c, ok := escapes[s[1]]; ok {
		return c
	}
	return s[1:]
}
