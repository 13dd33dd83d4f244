package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"unicode"
	"unicode/utf16"
)

// Schema is the version of all JSON. It grows when a field is removed, renamed, or gets another meaning or unit:
// docs/json.md.
const Schema = 1

// Versioned encodes an object with the version as its first field.
type Versioned struct{ Object any }

// MarshalJSON implements json.Marshaler. The encoding of Object must be that of an object.
func (v Versioned) MarshalJSON() ([]byte, error) {
	raw, err := json.Marshal(v.Object)
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(raw, []byte("{"))
	if !ok {
		return nil, fmt.Errorf("the JSON of a %T is no object", v.Object)
	}
	first := fmt.Appendf(nil, `{"schema":%d`, Schema)
	if len(rest) > 1 {
		first = append(first, ',')
	}
	return append(first, rest...), nil
}

// JSON prints one object on a line of standard output.
func JSON(v any) error {
	line, err := json.Marshal(Versioned{v})
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
