package gateway

import "strconv"

// printable escapes and shortens an argument of a client for an error or a log.
func printable(b []byte) string {
	const longest = 64
	text := strconv.QuoteToASCII(string(b[:min(len(b), longest)]))
	return text[1 : len(text)-1]
}

var replyOK = []byte("+OK\r\n")
