package command

import (
	"math"
	"reflect"
	"strconv"
)

// arguments are the arguments of one command, as values or as bytes. This is not a type parameter: the arguments of
// generic code escape if another package inlines the call.
type arguments struct {
	values []any
	raw    [][]byte
}

func (a arguments) len() int { return len(a.values) + len(a.raw) }

// lookup returns the command in the table, or nil.
func (a arguments) lookup() *Info {
	if len(a.raw) > 0 {
		return LookupBytes(a.raw[0])
	}
	return lookupValue(a.values[0])
}

// appendName appends argument i in upper case, if the server can be queried about such a name.
func (a arguments) appendName(dst []byte, i int) (name []byte, ok bool) {
	from := len(dst)
	if len(a.raw) > 0 {
		dst, ok = appendUpper(dst, a.raw[i])
	} else {
		switch v := a.values[i].(type) {
		case string:
			dst, ok = appendUpper(dst, v)
		case []byte:
			dst, ok = appendUpper(dst, v)
		default:
			s, _ := named(v)
			dst, ok = appendUpper(dst, s)
		}
	}
	return dst, ok && len(dst) > from
}

func appendUpper[T string | []byte](dst []byte, name T) ([]byte, bool) {
	if len(name) > MaxName {
		return dst, false
	}
	for i := range len(name) {
		switch c := name[i]; c {
		case '|', ' ', '\r', '\n', 0:
			return dst, false
		default:
			dst = append(dst, toUpper(c))
		}
	}
	return dst, true
}

// sub returns the subcommand that argument 1 names.
func (a arguments) sub(container *Info) *Info {
	prefix := len(container.Name) + len(" ")
	for i := range container.subs {
		if sub := &container.subs[i]; a.is(1, sub.Name[prefix:]) {
			return sub
		}
	}
	return container
}

// is reports whether argument i is a keyword. keyword is in upper case.
func (a arguments) is(i int, keyword string) bool {
	if len(a.raw) > 0 {
		return equalFoldBytes(a.raw[i], keyword)
	}
	switch v := a.values[i].(type) {
	case string:
		return equalFold(v, keyword)
	case []byte:
		return equalFoldBytes(v, keyword)
	}
	s, ok := named(a.values[i])
	return ok && equalFold(s, keyword)
}

// option is is for an argument that the server reads only up to a zero byte.
func (a arguments) option(i int, keyword string) bool {
	if len(a.raw) > 0 {
		return equalFoldBytes(upToZero(a.raw[i]), keyword)
	}
	switch v := a.values[i].(type) {
	case string:
		return equalFold(upToZero(v), keyword)
	case []byte:
		return equalFoldBytes(upToZero(v), keyword)
	}
	s, ok := named(a.values[i])
	return ok && equalFold(upToZero(s), keyword)
}

func upToZero[T string | []byte](s T) T {
	for i := range len(s) {
		if s[i] == 0 {
			return s[:i]
		}
	}
	return s
}

// number parses an argument that the server reads as a floating-point number.
func (a arguments) number(i int) (float64, bool) {
	if len(a.raw) > 0 {
		f, err := strconv.ParseFloat(string(a.raw[i]), 64)
		return f, err == nil
	}
	switch v := reflect.ValueOf(a.values[i]); {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	s, ok := named(a.values[i])
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// integer parses an argument that the server reads as an integer. A floating-point number without a fraction is sent
// as an integer.
func (a arguments) integer(i int) (int64, bool) {
	if len(a.raw) > 0 {
		n, err := strconv.ParseInt(string(a.raw[i]), 10, 64)
		return n, err == nil
	}
	switch v := reflect.ValueOf(a.values[i]); {
	case v.CanInt():
		return v.Int(), true
	case v.CanUint():
		return int64(min(v.Uint(), math.MaxInt64)), true
	case v.CanFloat():
		f := v.Float()
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<62
	}
	s, ok := named(a.values[i])
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// named returns the text of a value whose type is based on string or []byte: such values reach the server as text
// too.
func named(value any) (s string, ok bool) {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return string(v.Bytes()), true
		}
	}
	return "", false
}
