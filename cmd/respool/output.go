package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"
)

// What servers and their clients wrote is foreign text: nothing of it may
// reach a terminal as a control sequence.

// printable makes text of others harmless for a terminal, on one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// errorText is an error on one line, as harmless text.
func errorText(err error) string {
	text := strings.TrimPrefix(err.Error(), "respool: ")
	return cellText(strings.NewReplacer(":\n", ": ", "\n", "; ").Replace(text))
}

// printJSON prints one object on a line.
func printJSON(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, string(escaped(line)))
	return err
}

// escaped writes what can't be printed as JSON's strings may have it: JSON
// allows control characters above ASCII, and terminals obey them.
func escaped(line []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(line) {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}
