package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"unicode"
	"unicode/utf16"
)

// JSON prints one object on a line of standard output.
func JSON(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, string(EscapeJSON(line)))
	return err
}

// EscapeJSON escapes unprintable characters in JSON. JSON allows control characters above ASCII,
// and terminals obey them.
func EscapeJSON(line []byte) []byte {
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
