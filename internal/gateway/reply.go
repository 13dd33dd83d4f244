package gateway

import (
	"strconv"
	"strings"
)

// errorReply makes an error of a text, which may begin with - and a code of its own.
func errorReply(text string) []byte {
	if !strings.HasPrefix(text, "-") {
		text = "-ERR " + text
	}
	return append([]byte(strings.NewReplacer("\r", " ", "\n", " ").Replace(text)), '\r', '\n')
}

// printable is a client's word as it may stand in an error or a log.
func printable(b []byte) string {
	const longest = 64
	text := strconv.QuoteToASCII(string(b[:min(len(b), longest)]))
	return text[1 : len(text)-1]
}

func integer(n int64) []byte { return append(strconv.AppendInt([]byte{':'}, n, 10), '\r', '\n') }

var replyOK = []byte("+OK\r\n")
