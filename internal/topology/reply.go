package topology

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// ErrorOf returns the error in a reply, or nil.
func ErrorOf(v resp.Value) *resp.ServerError {
	if v.Kind == resp.SimpleError || v.Kind == resp.BulkError {
		return resp.NewServerError(string(v.Str))
	}
	return nil
}

// TextOf returns a string's text, at most 256 bytes of it.
func TextOf(v resp.Value) string {
	switch v.Kind {
	case resp.SimpleString, resp.BulkString, resp.Verbatim:
		return string(v.Str[:min(len(v.Str), 256)])
	}
	return ""
}

// JoinAddr returns host:port. It reports whether host has only the characters of names and addresses, and whether port
// is a number from 1 to 65535.
func JoinAddr(host, port string) (string, bool) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" || len(host) > 255 {
		return "", false
	}
	for i := range len(host) {
		c := host[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune(".-_:%", rune(c)) {
			return "", false
		}
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), true
}

// Harmless truncates a server's text before its first quotation. Servers quote the arguments of unknown commands,
// including those of AUTH.
func Harmless(text string) string {
	if i := strings.IndexAny(text, "'\"`"); i >= 0 {
		text = strings.TrimRight(text[:i], " ,:") + " ..."
	}
	return Clip(text)
}

// Clip truncates a text of another program and removes line breaks.
func Clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > 160 {
		text = strings.ToValidUTF8(text[:160], "") + "..."
	}
	return text
}

// LocalError returns err, or nil if its text comes from a server and may contain anything.
func LocalError(err error) error {
	if _, ok := errors.AsType[*resp.ServerError](err); ok {
		return nil
	}
	if _, ok := errors.AsType[*resp.ProtocolError](err); ok {
		return nil
	}
	return err
}
