package resp

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// AppendCommand appends the command args[0] with its arguments as an array of bulk strings.
// Arguments may be strings, byte slices, integers, floats, booleans, and named types of these
// kinds. Booleans are encoded as 1 and 0, floats in the shortest form that parses to the same
// value.
//
// Any other argument is an *ArgumentError, and so are nil and an empty args. time.Duration and
// time.Time are errors too, because commands differ in their units. On an error, dst keeps its
// original length.
//
// args does not escape, so a caller that builds it in place allocates nothing. AppendCommand copies
// the arguments.
func AppendCommand(dst []byte, args []any) ([]byte, error) {
	if len(args) == 0 {
		return dst, &ArgumentError{}
	}
	before := len(dst)
	dst = AppendArrayHeader(dst, len(args))
	for i, arg := range args {
		var ok bool
		if dst, ok = appendArgument(dst, arg); !ok {
			return dst[:before], &ArgumentError{Index: i, Type: typeName(arg)}
		}
	}
	return dst, nil
}

// AppendArrayHeader appends the line that starts an array of n elements.
func AppendArrayHeader(dst []byte, n int) []byte {
	return appendLength(dst, Array, n)
}

// AppendBulk appends b as a bulk string. A nil b is an empty string.
func AppendBulk(dst, b []byte) []byte {
	dst = appendLength(dst, BulkString, len(b))
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// AppendBulkString appends s as a bulk string.
func AppendBulkString(dst []byte, s string) []byte {
	dst = appendLength(dst, BulkString, len(s))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendError appends a simple error. A text that begins with - contains its code; otherwise the
// code is ERR. Line breaks become spaces.
func AppendError(dst []byte, text string) []byte {
	if !strings.HasPrefix(text, "-") {
		dst = append(dst, "-ERR "...)
	}
	dst = append(dst, strings.NewReplacer("\r", " ", "\n", " ").Replace(text)...)
	return append(dst, '\r', '\n')
}

// AppendInteger appends an integer.
func AppendInteger(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, byte(Integer)), n, 10), '\r', '\n')
}

func appendLength(dst []byte, k Kind, n int) []byte {
	switch { // most lengths are short, and one append is faster than three
	case n < 10:
		return append(dst, byte(k), '0'+byte(n), '\r', '\n')
	case n < 100:
		return append(dst, byte(k), '0'+byte(n/10), '0'+byte(n%10), '\r', '\n')
	}
	dst = append(dst, byte(k))
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}

// appendArgument checks concrete types only: a call through an interface would make every argument
// escape.
func appendArgument(dst []byte, arg any) ([]byte, bool) {
	switch v := arg.(type) {
	case string:
		return AppendBulkString(dst, v), true
	case []byte:
		return AppendBulk(dst, v), true
	case int:
		return appendInt(dst, int64(v)), true
	case int8:
		return appendInt(dst, int64(v)), true
	case int16:
		return appendInt(dst, int64(v)), true
	case int32:
		return appendInt(dst, int64(v)), true
	case int64:
		return appendInt(dst, v), true
	case uint:
		return appendUint(dst, uint64(v)), true
	case uint8:
		return appendUint(dst, uint64(v)), true
	case uint16:
		return appendUint(dst, uint64(v)), true
	case uint32:
		return appendUint(dst, uint64(v)), true
	case uint64:
		return appendUint(dst, v), true
	case float32:
		return appendFloat(dst, float64(v), 32), true
	case float64:
		return appendFloat(dst, v, 64), true
	case bool:
		return appendBool(dst, v), true
	case nil, time.Duration, time.Time:
		return dst, false
	}
	return appendNamed(dst, arg)
}

// appendNamed appends an argument with a named type whose underlying type is basic.
func appendNamed(dst []byte, arg any) ([]byte, bool) {
	v := reflect.ValueOf(arg)
	switch v.Kind() {
	case reflect.String:
		return AppendBulkString(dst, v.String()), true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(dst, v.Int()), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return appendUint(dst, v.Uint()), true
	case reflect.Float32:
		return appendFloat(dst, v.Float(), 32), true
	case reflect.Float64:
		return appendFloat(dst, v.Float(), 64), true
	case reflect.Bool:
		return appendBool(dst, v.Bool()), true
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return AppendBulk(dst, v.Bytes()), true
		}
	}
	return dst, false
}

func appendInt(dst []byte, n int64) []byte {
	var text [20]byte
	return AppendBulk(dst, strconv.AppendInt(text[:0], n, 10))
}

func appendUint(dst []byte, n uint64) []byte {
	var text [20]byte
	return AppendBulk(dst, strconv.AppendUint(text[:0], n, 10))
}

// appendFloat avoids exponents in the common range, because some commands accept 1000000 as an
// integer, but not 1e+06.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return AppendBulkString(dst, "nan")
	case math.IsInf(f, 1):
		return AppendBulkString(dst, "inf")
	case math.IsInf(f, -1):
		return AppendBulkString(dst, "-inf")
	}
	format := byte('f')
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	var text [32]byte
	return AppendBulk(dst, strconv.AppendFloat(text[:0], f, format, -1, bits))
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return AppendBulkString(dst, "1")
	}
	return AppendBulkString(dst, "0")
}

func typeName(arg any) string {
	if arg == nil {
		return "nil"
	}
	return reflect.TypeOf(arg).String()
}
