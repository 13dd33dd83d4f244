package session

import (
	"bytes"
	"strconv"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Constant replies.
var (
	replyOK        = []byte("+OK\r\n")
	replyPong      = []byte("+PONG\r\n")
	replyQueued    = []byte("+QUEUED\r\n")
	replyReset     = []byte("+RESET\r\n")
	replyEmpty     = []byte("*0\r\n")
	replyNullArray = []byte("*-1\r\n")
	replyNullBulk  = []byte("$-1\r\n")
	replyNull      = []byte("_\r\n")
)

func failure(text string) Step { return Step{Reply: resp.AppendError(nil, text)} }

func answer(reply []byte) Step { return Step{Reply: reply} }

func bulk(b []byte) []byte { return resp.AppendBulk(nil, b) }

func appendHeader(dst []byte, kind byte, n int) []byte {
	dst = append(dst, kind)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}

func appendInteger(dst []byte, n int64) []byte {
	dst = append(dst, ':')
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}

// makeRequest returns a request of the gateway.
func makeRequest(args ...string) []byte {
	b := resp.AppendArrayHeader(nil, len(args))
	for _, arg := range args {
		b = resp.AppendBulkString(b, arg)
	}
	return b
}

// errorText returns the text of an error reply without its first byte. ok is false for other replies.
func errorText(frame []byte) (text string, ok bool) {
	h, err := resp.ReadHead(frame)
	if err != nil || h.Kind != resp.SimpleError && h.Kind != resp.BulkError {
		return "", false
	}
	return string(h.Str), true
}

func isError(frame []byte) bool {
	_, ok := errorText(frame)
	return ok
}

// parseInt parses an integer as servers do: it accepts a minus sign, but no plus sign, spaces or leading zeros.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0, false
	}
	var text [20]byte
	return n, bytes.Equal(strconv.AppendInt(text[:0], n, 10), b)
}

// cString returns an argument as a server prints it with %s and a limit: up to a zero byte.
func cString(b []byte, limit int) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b[:min(len(b), limit)])
}

// equalFold compares an argument with a lower-case word, ignoring case. As on a server, the argument ends at a zero
// byte.
func equalFold(b []byte, lower string) bool {
	if len(b) > len(lower) && b[len(lower)] == 0 {
		b = b[:len(lower)]
	}
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
