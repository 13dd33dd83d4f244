package resp

import "io"

// Value is a decoded frame. Its byte slices alias the frame, except those of streamed strings.
type Value struct {
	Kind Kind
	Null bool // a null of any protocol: kind Null, or a BulkString or Array of length -1

	Str    []byte  // text of strings, errors and big numbers; a script's big number may be any text
	Format string  // of a verbatim string, such as "txt"; Str is without it
	Int    int64   // integers; booleans as 0 or 1
	Float  float64 // doubles; infinite if the text exceeds a float64
	Elems  []Value // of aggregates; those of maps alternate between key and value
	Attrs  []Value // keys and values of the attributes before the value
}

// Decode decodes the frame at the start of b and returns its length. If b ends before the frame
// does, the error is io.ErrUnexpectedEOF. Otherwise it is a *ProtocolError. Decode allocates memory
// for elements that b contains, never for a claimed length.
func Decode(b []byte) (v Value, n int, err error) {
	if n, err = FrameLen(b); err != nil {
		return Value{}, 0, err
	}
	r := reader{b: b[:n]}
	return r.value(), n, nil
}

// FrameLen returns the length of the frame at the start of b. If b ends before the frame does, the
// error is io.ErrUnexpectedEOF. Otherwise it is a *ProtocolError.
func FrameLen(b []byte) (int, error) {
	if n := scalarLen(b); n > 0 {
		return n, nil
	}
	var s Scanner
	n, done, err := s.Scan(b)
	switch {
	case err != nil:
		return 0, err
	case !done:
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}

// value reads a value with its attributes. Its recursion is at most MaxDepth deep, which the
// scanner has checked.
func (r *reader) value() Value {
	var v Value
	for Kind(r.b[r.at]) == Attribute {
		h := r.head()
		v.Attrs = r.values(v.Attrs, h)
	}
	h := r.head()
	v.Kind, v.Null, v.Format, v.Int, v.Float = h.Kind, h.Null, h.Format, h.Int, h.Float
	switch h.Kind {
	case Integer, Boolean, Double:
	case Array, Map, Set, Push:
		v.Int = 0
		if !h.Null {
			v.Elems = r.values(nil, h)
		}
	default:
		v.Str = h.Str
	}
	return v
}

// values appends the elements of the aggregate with head h.
func (r *reader) values(dst []Value, h Head) []Value {
	if h.Stream {
		for Kind(r.b[r.at]) != streamEnd {
			dst = append(dst, r.value())
		}
		r.line()
		return dst
	}
	count := h.elements()
	if dst == nil {
		dst = make([]Value, 0, count)
	}
	for range count {
		dst = append(dst, r.value())
	}
	return dst
}
